"""A command about an input that is a batch already: what it gives is applied to that batch, or refused by its name."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from api_schemas.job_line import PRIORITIES
from api_schemas.submissions import Submission
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.jobs import FINAL, Priority
from worker.domain.keeping import FOREVER, parse_keep
from worker.domain.runners import RunnerKey
from worker.domain.selection import Selection
from worker.door.changes import beside
from worker.door.intake import Intake
from worker.door.observer import CheckModels
from worker.door.rows import InputLine
from worker.door.upload import CHUNK
from worker.errors import Code, InputRefused, Problem
from worker.maintenance.actions import prioritise_jobs, unhold_jobs
from worker.maintenance.windows import set_windows
from worker.policy.windows import Windows, parse_windows
from worker.storage.answers import answer_counts
from worker.storage.batches import fail_cut_answers, set_keep
from worker.storage.counts import open_priorities
from worker.storage.deadlines import batch_deadline, give_deadline, keep_deadline
from worker.storage.engine import Database
from worker.storage.reports import jobs_by_runner_key
from worker.storage.reuse import want_reuse

_APPLIED = frozenset({"deadline", "fail_on_cut"})
"""Terms that a batch takes on when it is there already (``apply_terms``)."""


def check_terms(database: Database, batch: Batch, submission: Submission) -> None:
    """Refuse, before anything is changed, what a batch that is there cannot take on any more. Raises InputRefused."""
    with database.read() as conn:
        cut = answer_counts(conn, batch.id).cut
        deadline = batch_deadline(conn, batch.id)
    if submission.name is not None and submission.name != batch.name:
        raise _cannot_apply("--name", f"{submission.name!r} is not its name", batch)
    for name in batch.terms.keys() - _APPLIED:
        value, before = getattr(submission, name), batch.terms[name]
        if value is not None and value != before:
            made = "without one" if before is None else f"with {before!r}"
            raise _cannot_apply(f"--{name.replace('_', '-')}", f"it was made {made}", batch)
    if submission.fail_on_cut and cut:
        raise _cannot_apply("--fail-on-cut", f"{cut:,} of its answers were cut and are kept", batch)
    if submission.expires and submission.deadline is None and deadline is None:
        raise _cannot_apply("--expire", "it has no deadline; --by TIME gives it one", batch)


def apply_terms(
    database: Database,
    batch: Batch,
    submission: Submission,
    *,
    clock: Clock,
    check_models: CheckModels | None,
) -> Batch:
    """What holds from now on for a batch that was there: deadline, hours, keeping, and models that are pulled for it.

    Raises InputRefused where models cannot be pulled.
    """
    if submission.pull_missing and check_models is not None:
        _with_models(database, batch, check_models, clock)
    if submission.keep is not None:
        seconds = keep_seconds(submission)
        database.transact(lambda conn: set_keep(conn, batch.id, seconds))
    if submission.fail_on_cut:
        database.transact(lambda conn: fail_cut_answers(conn, batch.id))
    windows = windows_of(submission)
    if windows is not None:
        set_windows(database, batch.id, windows, clock=clock)
    return _with_deadline(database, batch, submission)


def apply_to_rows(
    database: Database,
    batch: Batch,
    submission: Submission,
    lines: Iterable[InputLine],
    intake: Callable[[], Intake],
    *,
    clock: Clock,
) -> Intake | None:
    """What holds for single rows of an input that is a batch already: their priority, stored answers that they may take,
    and the lines that are wrong, which are set aside or refused. None where the command gives none of these.

    Raises InputRefused for lines that are wrong, unless they are to be skipped.
    """
    with database.read() as conn:
        left = open_priorities(conn, batch.id)
    level = submission.priority
    priority = level is not None and bool(left - {PRIORITIES[level]})
    reuse = bool(left) and bool(submission.reuse)
    if not (priority or reuse or submission.on_bad_line):
        return None
    reader = intake()
    urgent: dict[Priority, set[int]] = {}
    reusing: list[int] = []
    for chunk, there in beside(database, batch.id, reader.read(lines)):
        for job in chunk:
            stored = there.get((job.custom_id, job.model))
            if stored is None or stored.state in FINAL:
                continue
            urgent.setdefault(job.priority, set()).add(stored.id)
            if job.reuse:
                reusing.append(stored.id)
    if submission.on_bad_line == "refuse":
        reader.problems.check()
    if priority:
        for urgency, ids in urgent.items():
            prioritise_jobs(database, Selection(batch.id, frozenset(ids)), urgency, clock=clock)
    for start in range(0, len(reusing), CHUNK):
        database.transact(partial(want_reuse, job_ids=reusing[start : start + CHUNK]))
    return reader


def windows_of(submission: Submission) -> Windows | None:
    """The hours in which its jobs may start; None: at any time. Raises InputRefused."""
    return parse_windows(submission.window, submission.tz, submission.blackout)


def keep_seconds(submission: Submission) -> int:
    """How long a batch is kept once it has ended, 0 for ever. Raises InputRefused."""
    try:
        return int(parse_keep(submission.keep or FOREVER).total_seconds())
    except ValueError as error:
        raise InputRefused([Problem(0, "--keep", "invalid_value", f"--keep {error}")]) from error


def _cannot_apply(option: str, why: str, batch: Batch) -> InputRefused:
    message = (
        f"{option} cannot apply: this input is batch {batch.id} ({batch.name}) already, and {why}. "
        f"Leave {option} out to go on with that batch, or give --new for a batch of its own"
    )
    return InputRefused([Problem(0, option, "cannot_apply", message)])


def _with_models(database: Database, batch: Batch, check_models: CheckModels, clock: Clock) -> None:
    """The models of jobs that have not ended are there, and jobs that were held because they were missing go on."""
    with database.read() as conn:
        keys = [key for key, states in jobs_by_runner_key(conn, batch.id).items() if set(states) - FINAL]
    by_model = dict.fromkeys((RunnerKey.parse(key).model for key in keys), 0)
    problems = check_models(by_model) if by_model else []
    if problems:
        raise InputRefused(problems)
    missing = frozenset({str(Code.MODEL_MISSING)})
    unhold_jobs(database, Selection(batch.id, codes=missing), clock=clock)


def _with_deadline(database: Database, batch: Batch, submission: Submission) -> Batch:
    """A batch that was there already is wanted by another time from now on, where one is given."""
    with database.read() as conn:
        before = batch_deadline(conn, batch.id)
    # --expire alone goes by the deadline that the batch has
    deadline = submission.deadline or (before if submission.expires else None)
    if deadline is None:
        return batch
    if before == deadline and submission.expires is None:
        return batch
    after: int | None = 0
    while after is not None:
        after = database.transact(
            partial(
                give_deadline,
                batch_id=batch.id,
                deadline=deadline,
                instead_of=before,
                expires=submission.expires,
                after=after,
                limit=CHUNK,
            )
        )
    database.transact(lambda conn: keep_deadline(conn, batch.id, deadline))
    return replace(batch, terms={**batch.terms, "deadline": deadline})
