"""What an operator does to a batch or some of its jobs, looped over in chunks: nobody waits long for a lock."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from api_schemas.jobs import JobDefaults, check_defaults
from worker.clock import Clock
from worker.domain.batches import BatchState
from worker.domain.jobs import JobFilter, Priority
from worker.errors import CODES, Code, InputRefused, Problem
from worker.maintenance.operate import run_operation
from worker.maintenance.promote import promote_batches
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit
from worker.storage import actions, pauses
from worker.storage.actions import HELD, OPEN, Step, by_batch, retried_states
from worker.storage.batches import cancel_batch, get_batch
from worker.storage.counts import count_outside
from worker.storage.engine import Connection, Database

CHUNK = 2000
"""Jobs in one transaction."""

BY_HAND = "by hand"
"""The reason of a pause that somebody asked for."""

Progress = Callable[[int], None]
"""Told how many jobs were changed so far."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What an action came to."""

    jobs: int
    running: int = 0
    """Jobs that run and were told to stop; their workers hang up within seconds."""
    batches: tuple[int, ...] = ()
    """Those whose jobs were changed."""


def count_cancellable(database: Database, chosen: JobFilter) -> int:
    """Jobs that ``cancel_jobs`` and ``prioritise_jobs`` would change: those that have not ended."""
    return _count(database, chosen.among(OPEN))


def count_held(database: Database, chosen: JobFilter) -> int:
    """Jobs that ``unhold_jobs`` would let go."""
    return _count(database, chosen.among(HELD))


def count_retriable(database: Database, chosen: JobFilter) -> int:
    """Jobs that ``retry_jobs`` would ask again: failed, cancelled, expired, held or answered, as the filter says."""
    return _count(database, chosen.among(retried_states(chosen)))


def _count(database: Database, chosen: JobFilter) -> int:
    with database.read() as conn:
        return actions.count_matching(conn, chosen)


def cancel_jobs(
    database: Database, chosen: JobFilter, *, clock: Clock, progress: Progress | None = None
) -> Changed:
    """Cancel jobs that have not ended. A whole batch is cancelled with them and takes no more.

    Cancelling is final until somebody retries: a late answer of a running job is not stored. Raises NotFound;
    Conflict for a whole batch of which nothing is left to cancel.

    A whole batch is over at once; its rows follow in chunks, which the service ``operations`` continues should this
    process end.
    """
    if chosen.whole_batch and chosen.batch_id is not None:
        with database.write() as conn:
            operation = cancel_batch(conn, chosen.batch_id, now=clock.now())
        emit("batch.cancelled", batch=chosen.batch_id, jobs=operation.total)
        watch = None if progress is None else lambda step: progress(step.done)
        operation = run_operation(database, operation.id, clock=clock, watch=watch)
        return Changed(operation.done, operation.running, (chosen.batch_id,))
    changed = _each(
        database,
        chosen,
        lambda conn, part, after: actions.cancel_some(conn, part, now=clock.now(), after=after, limit=CHUNK),
        progress,
    )
    if changed.batches:
        emit("job.cancelled", batches=list(changed.batches), jobs=changed.jobs, running=changed.running)
    return changed


def unhold_jobs(
    database: Database, chosen: JobFilter, *, clock: Clock, progress: Progress | None = None
) -> Changed:
    """Let held jobs go, as if nothing had befallen them; those of a paused batch wait until it is resumed."""
    changed = _each(
        database,
        chosen,
        lambda conn, part, after: actions.unhold_some(conn, part, after=after, limit=CHUNK),
        progress,
    )
    promote_batches(database, changed.batches, clock)
    if changed.batches:
        emit("job.unheld", batches=list(changed.batches), jobs=changed.jobs)
    return changed


def bound_jobs(database: Database, batch_id: int, inside: Set[int] | None, *, clock: Clock) -> int:
    """Let nothing of a batch be asked but ``inside``: what else waits is held. None: all of it may be asked again.

    Returns how many others run; they end by themselves. Idempotent.
    """
    outside = frozenset({str(Code.OUTSIDE_LIMIT)})
    running = 0
    if inside is not None:
        reason = CODES[Code.OUTSIDE_LIMIT].meaning
        held = _each(
            database,
            JobFilter(batch_id),
            lambda conn, part, after: actions.hold_some(
                conn, part, inside, code=Code.OUTSIDE_LIMIT, reason=reason, after=after, limit=CHUNK
            ),
            None,
        )
        running = held.running
        if held.jobs:
            emit("batch.limited", batch=batch_id, jobs=held.jobs)
    with database.read() as conn:
        some = count_outside(conn, batch_id)
    if some and inside != frozenset():
        job_ids = None if inside is None else frozenset(inside)
        unhold_jobs(database, JobFilter(batch_id, job_ids, codes=outside), clock=clock)
    return running


def retry_jobs(
    database: Database,
    chosen: JobFilter,
    *,
    clock: Clock,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Changed:
    """Ask jobs again that failed, were cancelled, expired or are held, as the filter's states say, and those that
    succeeded where the filter names that state or something about their answers. Their answers stay until there are
    new ones.

    ``options`` are set in their requests (None takes one away). A batch that had ended is open again, and one that had
    paused by itself goes on; one that somebody paused stays so. Raises InputRefused for options no host would take;
    Conflict for a batch that was never sealed; NotFound.
    """
    if options:
        check_options(options)
    changed = _each(
        database,
        chosen,
        lambda conn, part, after: actions.retry_some(
            conn, part, now=clock.now(), options=options, after=after, limit=CHUNK
        ),
        progress,
    )
    for batch in changed.batches:
        with database.write() as conn:
            found = get_batch(conn, batch)
            if found.state is BatchState.PAUSED and found.pause_code is not None:
                pauses.resume_batch(conn, batch)
            else:
                pauses.forgive(conn, batch)
    promote_batches(database, changed.batches, clock)
    if changed.batches:
        emit("batch.retried", batches=list(changed.batches), jobs=changed.jobs)
    return changed


def check_options(options: Mapping[str, Any]) -> None:
    """Raises InputRefused where no host would take them."""
    given = {name: value for name, value in options.items() if value is not None}
    problems = check_defaults(JobDefaults(model="any", options=given))
    if problems:
        raise InputRefused([Problem(p.line, p.field, p.code, p.message) for p in problems])


def prioritise_jobs(
    database: Database, chosen: JobFilter, priority: Priority, *, progress: Progress | None = None
) -> Changed:
    """Change how urgent jobs are that have not ended; returns how many were otherwise before."""
    changed = _each(
        database,
        chosen,
        lambda conn, part, after: actions.prioritise_some(conn, part, priority, after=after, limit=CHUNK),
        progress,
    )
    if changed.batches:
        emit(
            "job.prioritised",
            batches=list(changed.batches),
            jobs=changed.jobs,
            priority=priority.name.lower(),
        )
    return changed


def pause_batch(database: Database, batch_id: int, *, reason: str = BY_HAND) -> int:
    """Start no more jobs of a batch; those that run end by themselves. Returns how many were taken back.

    Paused again, it finishes what an interrupted pause left. Raises Conflict for a batch that is not open; NotFound.
    """
    with database.write() as conn:
        paused = pauses.pause_batch(conn, batch_id, code=None, reason=reason)
    jobs = withdraw(database)
    if paused:
        emit("batch.paused", batch=batch_id, jobs=jobs)
    return jobs


def resume_batch(database: Database, batch_id: int, *, clock: Clock) -> None:
    """Let a paused batch go on; jobs that waited out a back-off keep their time. Raises Conflict, NotFound."""
    with database.write() as conn:
        pauses.resume_batch(conn, batch_id)
    promote_batches(database, [batch_id], clock)
    emit("batch.resumed", batch=batch_id)


def _change(
    change: Callable[[Connection, JobFilter, int], Step], part: JobFilter, after: int, conn: Connection
) -> Step:
    return change(conn, part, after)


def _each(
    database: Database,
    chosen: JobFilter,
    change: Callable[[Connection, JobFilter, int], Step],
    progress: Progress | None,
) -> Changed:
    jobs = running = 0
    touched: list[int] = []
    for part in by_batch(chosen):
        after: int | None = 0
        while after is not None:
            step = database.transact(partial(_change, change, part, after))
            jobs, running, after = jobs + step.changed, running + step.running, step.after
            if (step.changed or step.running) and part.batch_id not in touched and part.batch_id is not None:
                touched.append(part.batch_id)
            if progress is not None:
                progress(jobs + running)
    return Changed(jobs, running, tuple(touched))
