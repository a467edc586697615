"""Takes a batch in: lines validated one by one, stored in chunks, sealed when all are there.

Until the seal every job is ``scheduled``, so a refused or interrupted upload leaves nothing that a host could claim.
The same key is the same batch for ever: an interrupted upload goes on where it stopped, a finished one is left alone.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from api_schemas.jobs import JobDefaults, LineProblem, ParsedLine, read_job_line
from worker.clock import Clock
from worker.domain.batches import Batch, BatchState
from worker.domain.jobs import NewJob, Priority
from worker.domain.runners import normalise_model, runner_key
from worker.errors import Conflict, InputRefused, Problem
from worker.observability.events import emit
from worker.storage.batches import create_batch, known_seqs, promote_sealed, refuse_batch, seal_batch
from worker.storage.engine import Database
from worker.storage.ids import MOST_JOBS
from worker.storage.jobs import insert_jobs

CHUNK = 5000
PROBLEMS_SHOWN = 20
NOTES_SHOWN = 3

CheckModels = Callable[[Mapping[str, int]], list[Problem]]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch that was taken in. ``created`` is false where its key was known already."""

    batch: Batch
    created: bool
    noted: int = 0
    """Lines that were odd and taken all the same."""
    notes: tuple[str, ...] = ()
    """What was odd about the first of them."""


def submit_lines(
    database: Database,
    lines: Iterable[bytes | str],
    *,
    key: str,
    name: str,
    source: str | None,
    defaults: JobDefaults,
    clock: Clock,
    max_attempts: int = 3,
    check_models: CheckModels | None = None,
    progress: Callable[[int], None] | None = None,
) -> Submitted:
    """Submit one job per line; blank lines are passed over but counted.

    ``check_models`` is asked once, before the seal, with each model and the first line that names it.
    Raises InputRefused with every problem found (at most 20 are kept), and nothing of the batch can run then; Conflict
    where somebody ends the batch meanwhile; DatabaseUnavailable, after which the same call goes on where it stopped.
    """
    began = clock.monotonic()
    with database.write() as conn:
        batch, created = create_batch(conn, key=key, name=name, source=source, now=clock.now())
    match batch.state:
        case BatchState.REFUSED:
            created = (
                True  # its key says that its lines are the same, so they are read again for their problems
            )
        case BatchState.RECEIVING:
            pass
        case _:
            return Submitted(batch, created=False)
    with database.read() as conn:
        known = known_seqs(conn, batch.id)
    intake = _Intake(defaults, max_attempts)
    chunk: list[NewJob] = []
    try:
        for job in intake.read(lines):
            if job.seq > known and not intake.problems:
                chunk.append(job)
            if len(chunk) == CHUNK:
                _insert(database, batch.id, chunk, clock)
                if progress is not None:
                    progress(job.seq)
                chunk = []
        if not intake.accepted and not intake.problems:
            intake.refuse(Problem(0, "", "empty", "the input holds no job: expected one JSON object a line"))
        if check_models is not None and not intake.problems:
            for problem in check_models(intake.models):
                intake.refuse(problem)
        if not intake.problems and chunk:
            _insert(database, batch.id, chunk, clock)
    except Conflict as error:
        if "custom_id" not in str(error):
            raise  # somebody sealed or cancelled the batch meanwhile: the lines are not at fault
        intake.refuse(Problem(0, "custom_id", "duplicate_custom_id", str(error)))
    if intake.problems:
        with database.write() as conn:
            refuse_batch(conn, batch.id, intake.problems, now=clock.now())
        emit("batch.refused", batch=batch.id, problems=len(intake.problems) + intake.left_out)
        raise InputRefused(intake.problems, left_out=intake.left_out)
    with database.write() as conn:
        batch = seal_batch(conn, batch.id, jobs=intake.accepted, now=clock.now())
    _promote(database, clock)
    emit("batch.submitted", batch=batch.id, jobs=intake.accepted, seconds=clock.monotonic() - began)
    return Submitted(batch, created, intake.noted, tuple(intake.notes))


def _promote(database: Database, clock: Clock) -> None:
    """Make the jobs eligible, in chunks; should we die between two, the next tick goes on."""
    while True:
        with database.write() as conn:
            if promote_sealed(conn, limit=4 * CHUNK, now=clock.now()) == 0:
                return


def _insert(database: Database, batch_id: int, chunk: list[NewJob], clock: Clock) -> None:
    with database.write() as conn:
        insert_jobs(conn, batch_id, chunk, now=clock.now())


class _Intake:
    """Reads lines into jobs and keeps what was wrong, bounded however bad the input is."""

    def __init__(self, defaults: JobDefaults, max_attempts: int) -> None:
        self._defaults = defaults
        self._max_attempts = max_attempts
        self._seen: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}
        self.models: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.left_out = 0
        self.accepted = 0
        self.noted = 0
        self.notes: list[str] = []

    def refuse(self, problem: Problem) -> None:
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(problem)
        else:
            self.left_out += 1

    def read(self, lines: Iterable[bytes | str]) -> Iterable[NewJob]:
        number = 0
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            if number > MOST_JOBS:
                self.refuse(
                    Problem(
                        number, "", "too_large", f"a batch takes at most {MOST_JOBS:,} lines; split the input"
                    )
                )
                return
            parsed = read_job_line(raw, line=number, defaults=self._defaults)
            if isinstance(parsed, list):
                for problem in parsed:
                    self.refuse(_problem(problem))
                continue
            model = self._model(parsed.model)
            first = self._seen.setdefault((parsed.custom_id, model), number)
            if first != number:
                self.refuse(
                    Problem(
                        number,
                        "custom_id",
                        "duplicate_custom_id",
                        f"custom_id {parsed.custom_id!r} stands on line {first} already; it must be unique per model",
                    )
                )
                continue
            self.models.setdefault(model, number)
            self.accepted += 1
            if parsed.notes:
                self.noted += 1
                if len(self.notes) < NOTES_SHOWN:
                    self.notes += [f"line {number}: {note}" for note in parsed.notes]
            yield self._job(number, model, parsed)

    def _model(self, written: str) -> str:
        """The normalised name; a file names few models, many times."""
        known = self._names.get(written)
        if known is None:
            known = self._names[written] = normalise_model(written)
        return known

    def _job(self, number: int, model: str, parsed: ParsedLine) -> NewJob:
        request = parsed.request
        return NewJob(
            seq=number,
            custom_id=parsed.custom_id,
            model=model,
            runner_key=runner_key(model, request).text,
            priority=Priority(parsed.priority),
            prompt=parsed.prompt,
            request=request,
            metadata=parsed.metadata,
            deadline=parsed.deadline,
            max_attempts=self._max_attempts,
            prefix_group=_prefix_group(request),
            estimate=len(parsed.prompt) // 3 + 1,
        )


def _prefix_group(request: Mapping[str, object]) -> int:
    """A hash of what stands before the prompt: equal where a host's prefix cache would serve the next job."""
    system, template = request.get("system"), request.get("template")
    if not system and not template:
        return 0
    return zlib.crc32(f"{system}\0{template}".encode("utf-8", "replace"))


def _problem(problem: LineProblem) -> Problem:
    return Problem(problem.line, problem.field, problem.code, problem.message)
