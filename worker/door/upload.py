"""Stores a new batch: lines validated one by one, stored in chunks, sealed when all are there.

Until the seal every job is ``scheduled``, so a refused or interrupted upload leaves nothing that a host could claim.
The same key is the same batch for ever: an interrupted upload goes on where it stopped, a finished one is left alone.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from api_schemas.submissions import Submission
from worker.clock import Clock
from worker.domain.batches import Batch, BatchOrigin, BatchState
from worker.domain.jobs import NewJob
from worker.door.chains import link_jobs_of, mark_parents
from worker.door.intake import Intake
from worker.door.observer import SILENT, CheckModels, Observer
from worker.door.rows import InputLine
from worker.errors import Conflict, DatabaseFailure, NoHost, SettingsRefused
from worker.maintenance.operate import run_operation
from worker.maintenance.promote import promote_batches
from worker.observability.events import emit
from worker.records import record
from worker.storage.batches import batch_of_key, create_batch, seal_batch
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection, Database
from worker.storage.extend import stored_jobs
from worker.storage.ids import place_of
from worker.storage.jobs import insert_jobs
from worker.storage.models import model_facts
from worker.storage.operations import open_operation
from worker.storage.refusals import forget_refused, refuse_batch

CHUNK = 5000
AT_ONCE = 50_000
"""Jobs that whoever submits makes eligible: work for a long while, in which the service does the rest."""
DROPPING = 2.0
"""Seconds that whoever submits spends on dropping the lines of a refused batch; the service drops the rest."""


@record
class Uploaded:
    """A batch that was stored. ``created`` is false where its key was known already."""

    batch: Batch
    created: bool
    reader: Intake | None = None
    """What was read, where it was."""


def upload(
    database: Database,
    submission: Submission,
    lines: Iterable[bytes | str | InputLine],
    *,
    key: str,
    name: str,
    source: str | None,
    origin: BatchOrigin,
    clock: Clock,
    observer: Observer = SILENT,
    check_models: CheckModels | None = None,
    keeps_refused: bool = True,
) -> Uploaded:
    """Store one job per line and model; blank lines are passed over but counted.

    ``check_models`` is called once, before the seal, with each model and the first line that names it. ``keeps_refused``:
    what is refused stays as a batch that says why; else nothing of it is left.
    Raises InputRefused with every problem found (at most 20 are kept), or what ``check_models`` raises, and nothing of the
    batch can run then; Conflict where somebody ends the batch meanwhile; DatabaseFailure, after which the same call goes on
    where it stopped.
    """
    began = clock.monotonic()
    _drop_refused_lines(database, key, clock)
    batch, created = database.transact(
        lambda conn: create_batch(conn, key=key, name=name, source=source, now=clock.now(), origin=origin)
    )
    match batch.state:
        case BatchState.REFUSED:
            created = (
                True  # its key says that its lines are the same, so they are read again for their problems
            )
        case BatchState.RECEIVING:
            pass
        case _:
            return Uploaded(batch, created=False)
    with database.read() as conn:
        known = model_facts(conn)
    intake = Intake(submission, observer, known)
    chunk: list[NewJob] = []
    with _Storing(database, batch.id, intake, clock, observer) as storing:
        for job in intake.read(lines):
            if len(chunk) >= CHUNK and intake.line_of(job) != intake.line_of(chunk[-1]):
                storing.begin(chunk)
                chunk = []
            chunk.append(job)
        storing.end(chunk)
    intake.check_whole()
    if check_models is not None and not intake.problems:
        try:
            missing = check_models(intake.models)
        except (NoHost, SettingsRefused):
            _refuse(database, batch, intake, clock, keep=keeps_refused)
            raise
        for problem in missing:
            intake.problems.add(problem)
    if not intake.problems:
        for problem in link_jobs_of(database, batch.id, intake):
            intake.problems.add(problem)
    if intake.problems:
        intake.problems.first.sort(key=lambda problem: problem.line)
        _refuse(database, batch, intake, clock, keep=keeps_refused)
        raise intake.problems.refusal
    mark_parents(database, batch.id)

    def seal(conn: Connection) -> Batch:
        # another upload of this key may have stored lines that this one, a pilot perhaps, did not read
        stored = intake.accepted if created else batch_progress(conn, batch.id).total
        return seal_batch(conn, batch.id, jobs=stored, now=clock.now())

    sealed = database.transact(seal)
    promote_batches(database, [sealed.id], clock, most=AT_ONCE)
    emit("batch.submitted", batch=sealed.id, jobs=intake.accepted, seconds=clock.monotonic() - began)
    return Uploaded(sealed, created, intake)


def _refuse(database: Database, batch: Batch, intake: Intake, clock: Clock, *, keep: bool) -> None:
    """Nothing of the batch can run any more, and its stored lines are deleted. ``keep``: the batch itself stays, and the
    service deletes what is left after ``DROPPING``."""
    operation = database.transact(
        lambda conn: refuse_batch(conn, batch.id, intake.problems.first, now=clock.now())
    )
    emit("batch.refused", batch=batch.id, problems=len(intake.problems.first) + intake.problems.more)
    with suppress(DatabaseFailure):  # the service continues it; what is wrong with the input is known
        if operation is not None:
            run_operation(database, operation.id, clock=clock, most_seconds=DROPPING if keep else None)
        if not keep:
            database.transact(lambda conn: forget_refused(conn, batch.key))


def _drop_refused_lines(database: Database, key: str, clock: Clock) -> None:
    """Before a refused batch begins again, its stored lines are deleted."""
    with database.read() as conn:
        batch = batch_of_key(conn, key)
        operation = None
        if batch is not None and batch.state is BatchState.REFUSED:
            operation = open_operation(conn, batch.id)
    if operation is not None:
        run_operation(database, operation.id, clock=clock)


class _Storing:
    """Inserts chunk after chunk, each in a thread of its own while the next one is read.

    The database's constraint finds names that stand in the batch already; their lines are wrong. Once a line of the batch
    is refused nothing is stored any more, and names are only looked for.
    """

    def __init__(
        self, database: Database, batch_id: int, intake: Intake, clock: Clock, observer: Observer
    ) -> None:
        self._database, self._batch_id, self._intake = database, batch_id, intake
        self._clock, self._observer = clock, observer
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: tuple[Sequence[NewJob], Future[None]] | None = None

    def __enter__(self) -> "_Storing":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def begin(self, chunk: Sequence[NewJob]) -> None:
        """Store a chunk once the one before is. Raises what went wrong with that one."""
        self._finish()
        if self._intake.problems:
            self._without_duplicates(chunk)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._under_way = chunk, self._pool.submit(self._insert, chunk)

    def end(self, chunk: Sequence[NewJob]) -> None:
        """Store the last chunk."""
        self._finish()
        if self._intake.problems:
            self._without_duplicates(chunk)
        elif chunk:
            self._outcome(chunk, lambda: self._insert(chunk))

    def _finish(self) -> None:
        if self._under_way is not None:
            chunk, future = self._under_way
            self._under_way = None
            self._outcome(chunk, future.result)
            self._observer.stored(chunk[-1].seq)

    def _outcome(self, chunk: Sequence[NewJob], insert: Callable[[], None]) -> None:
        try:
            insert()
        except Conflict as error:
            if "custom_id" not in str(error):
                raise  # somebody sealed or cancelled the batch meanwhile: the lines are not at fault
            self._without_duplicates(chunk)
        else:
            self._intake.forget_names(chunk[-1])

    def _insert(self, chunk: Sequence[NewJob]) -> None:
        self._database.transact(lambda conn: insert_jobs(conn, self._batch_id, chunk, now=self._clock.now()))

    def _without_duplicates(self, chunk: Sequence[NewJob]) -> None:
        if not chunk:
            return
        intake = self._intake
        with self._database.read() as conn:
            places = {
                name: place_of(stored.id)
                for name, stored in stored_jobs(
                    conn, self._batch_id, [job.custom_id for job in chunk]
                ).items()
            }
        lines = {
            intake.line_of(job) for job in chunk if places.get((job.custom_id, job.model), job.seq) != job.seq
        }
        if lines:
            wrong = [job for job in chunk if intake.line_of(job) in lines]
            own = {job.seq for job in wrong}
            intake.take_back(wrong, {name: place for name, place in places.items() if place not in own})
        if not intake.problems:
            self._insert([job for job in chunk if intake.line_of(job) not in lines])
            intake.forget_names(chunk[-1])
