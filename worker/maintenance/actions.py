"""What an operator does to a batch or some of its jobs, looped over in chunks: nobody waits long for a lock."""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import timedelta
from typing import Any

from api_schemas.jobs import JobDefaults, check_defaults
from worker.clock import Clock
from worker.domain.jobs import JobState, Priority
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import CODES, Code, InputRefused, Problem
from worker.maintenance.operate import WAIT_RUNNING, advance, report, run_operation
from worker.maintenance.promote import promote_batches
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit
from worker.records import record
from worker.storage import actions, pauses
from worker.storage.actions import OPEN, Step, by_batch, each_batch, retried_states
from worker.storage.batches import cancel_batch
from worker.storage.counts import count_outside
from worker.storage.engine import Connection, Database
from worker.storage.jobs import lock_batch
from worker.storage.operations import begin_operation, open_operation, same_operation

CHUNK = 2000
"""Jobs in one transaction."""

BY_HAND = "by hand"
"""The reason of a pause that somebody asked for."""


@record
class Changed:
    """What an action came to."""

    jobs: int
    running: int = 0
    """Running jobs that were asked to stop; their workers hang up within seconds."""
    batches: tuple[int, ...] = ()
    """Those whose jobs were changed."""
    remaining: int = 0
    """Jobs that follow in the background."""


def count_cancellable(database: Database, chosen: Selection) -> int:
    """Jobs that ``cancel_jobs`` and ``prioritise_jobs`` would change: those that have not ended."""
    return _count(database, chosen.among(OPEN))


def count_retriable(database: Database, chosen: Selection) -> int:
    """Jobs that ``retry_jobs`` would ask again: failed, cancelled, expired, held or answered, as the filter says."""
    return _count(database, chosen.among(retried_states(chosen)))


def _count(database: Database, chosen: Selection) -> int:
    with database.read() as conn:
        return actions.count_matching(conn, chosen)


def cancel_jobs(
    database: Database,
    chosen: Selection,
    *,
    clock: Clock,
    principal: str | None = None,
    most_seconds: float | None = None,
) -> Changed:
    """Cancel jobs that have not ended. A whole batch is cancelled with them and takes no more.

    Cancelling is final until somebody retries: a late answer of a running job is not stored. Raises NotFound;
    Conflict for a whole batch of which nothing is left to cancel, and where another operation goes on with the batch of
    some jobs.

    A whole batch is over at once; its rows follow in chunks. What is not done after ``most_seconds``, or when this
    process ends, is continued by the service ``operations``.
    """
    if not chosen.whole_batch or chosen.batch_id is None:
        return _operate(database, Verb.CANCEL, chosen, OPEN, clock, principal, most_seconds)
    with database.read() as conn:
        goes_on = open_operation(conn, chosen.batch_id)
    if goes_on is not None and goes_on.verb is Verb.DELETE and goes_on.selection is not None:
        run_operation(database, goes_on.id, clock=clock)
    batch_id = chosen.batch_id
    operation = database.transact(
        lambda conn: cancel_batch(conn, batch_id, now=clock.now(), principal=principal)
    )
    emit("batch.cancelled", batch=batch_id, jobs=operation.total)
    return _changed([run_operation(database, operation.id, clock=clock, most_seconds=most_seconds)])


def unhold_jobs(database: Database, chosen: Selection, *, clock: Clock) -> Changed:
    """Release held jobs, as if nothing had happened to them; those of a paused batch wait until it is resumed."""
    changed = _each(
        database,
        chosen,
        lambda conn, part, after: actions.unhold_some(conn, part, after=after, limit=CHUNK),
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
            Selection(batch_id),
            lambda conn, part, after: actions.hold_some(
                conn, part, inside, code=Code.OUTSIDE_LIMIT, reason=reason, after=after, limit=CHUNK
            ),
        )
        running = held.running
        if held.jobs:
            emit("batch.limited", batch=batch_id, jobs=held.jobs)
    with database.read() as conn:
        some = count_outside(conn, batch_id)
    if some and inside != frozenset():
        job_ids = None if inside is None else frozenset(inside)
        unhold_jobs(database, Selection(batch_id, job_ids, codes=outside), clock=clock)
    return running


def retry_jobs(
    database: Database,
    chosen: Selection,
    *,
    clock: Clock,
    options: Mapping[str, Any] | None = None,
    principal: str | None = None,
    most_seconds: float | None = None,
) -> Changed:
    """Ask jobs again that failed, were cancelled, expired or are held, as the filter's states say, and those that
    succeeded where the filter names that state or something about their answers. Their answers stay until there are
    new ones.

    ``options`` are set in their requests (None takes one away). A batch that had ended is open again, and one that had
    paused by itself goes on; one that somebody paused stays so. What is not done after ``most_seconds``, or when this
    process ends, is continued by the service ``operations``. Raises InputRefused for options no host would take;
    Conflict for a batch that was never sealed, and where another operation goes on with it; NotFound.
    """
    if options:
        check_options(options)
    arguments = {"options": dict(options)} if options else {}
    states = retried_states(chosen)
    changed = _operate(
        database, Verb.RETRY, chosen, states, clock, principal, most_seconds, arguments=arguments
    )
    if not changed.remaining:
        promote_batches(database, changed.batches, clock)
    return changed


def check_options(options: Mapping[str, Any]) -> None:
    """Raises InputRefused where no host would take them."""
    changes = {name: value for name, value in options.items() if value is not None}
    problems = check_defaults(JobDefaults(model="any", options=changes))
    if problems:
        raise InputRefused([Problem(p.line, p.field, p.code, p.message) for p in problems])


def prioritise_jobs(
    database: Database,
    chosen: Selection,
    priority: Priority,
    *,
    clock: Clock,
    principal: str | None = None,
    most_seconds: float | None = None,
) -> Changed:
    """Change how urgent jobs are that have not ended; returns how many were otherwise before. What is not done after
    ``most_seconds`` is continued as in ``cancel_jobs``. Raises Conflict where another operation goes on; NotFound."""
    arguments = {"priority": int(priority)}
    return _operate(database, Verb.SET, chosen, OPEN, clock, principal, most_seconds, arguments=arguments)


def pause_batch(
    database: Database,
    batch_id: int,
    *,
    clock: Clock,
    reason: str = BY_HAND,
    principal: str | None = None,
    most_seconds: float | None = None,
) -> Changed:
    """Start no more jobs of a batch, from now on; those that run end by themselves. Tells how many were taken back.

    Paused again, it finishes what an interrupted pause left. Raises Conflict for a batch that is not open; NotFound.
    """

    def pause(conn: Connection) -> tuple[int | None, Operation | None]:
        queued = pauses.pause_batch(
            conn, batch_id, code=None, reason=reason, now=clock.now(), principal=principal
        )
        return queued, open_operation(conn, batch_id)

    queued, operation = database.transact(pause)
    if queued is not None:
        emit("batch.paused", batch=batch_id, jobs=queued)
    if operation is None or operation.verb is not Verb.PAUSE:
        return Changed(withdraw(database), batches=(batch_id,))
    return _changed([run_operation(database, operation.id, clock=clock, most_seconds=most_seconds)])


def resume_batch(
    database: Database,
    batch_id: int,
    *,
    clock: Clock,
    principal: str | None = None,
    most_seconds: float | None = None,
) -> Changed:
    """Let a paused batch go on; jobs that waited out a back-off keep their time. Raises Conflict, NotFound."""

    def resume(conn: Connection) -> Operation | None:
        pauses.resume_batch(conn, batch_id, now=clock.now(), principal=principal)
        return open_operation(conn, batch_id)

    operation = database.transact(resume)
    emit("batch.resumed", batch=batch_id)
    if operation is None or operation.verb is not Verb.RESUME:
        return Changed(promote_batches(database, [batch_id], clock), batches=(batch_id,))
    return _changed([run_operation(database, operation.id, clock=clock, most_seconds=most_seconds)])


def _operate(
    database: Database,
    verb: Verb,
    chosen: Selection,
    states: Collection[JobState],
    clock: Clock,
    principal: str | None,
    most_seconds: float | None,
    *,
    arguments: Mapping[str, Any] | None = None,
) -> Changed:
    """Change the jobs of ``chosen`` that are in one of ``states``: those of each batch by an operation, unless one chunk
    does it."""
    ends = []
    for part in each_batch(chosen):
        assert part.batch_id is not None
        total = _count(database, part.among(states))
        operation = begin(
            database,
            Operation(
                0,
                part.batch_id,
                verb,
                total,
                clock.now(),
                selection=None if part.whole_batch else part,
                arguments=arguments or {},
                principal=principal,
            ),
            clock,
        )
        if operation.ended_at is None:
            operation = run_operation(database, operation.id, clock=clock, most_seconds=most_seconds)
        ends.append(operation)
    return _changed(ends)


def begin(database: Database, new: Operation, clock: Clock) -> Operation:
    """Do the first chunk of an operation, and store it where more are left; where the same goes on already, that one.

    Raises Conflict where another goes on with the batch; NotFound.
    """
    with database.read() as conn:
        goes_on = open_operation(conn, new.batch_id)
    if goes_on is not None and goes_on.verb in (Verb.PAUSE, Verb.RESUME):
        run_operation(
            database, goes_on.id, clock=clock
        )  # the batch has that state already: only its rows follow

    def decide(conn: Connection) -> Operation:
        lock_batch(conn, new.batch_id)
        goes_on = same_operation(conn, new)
        if goes_on is not None:
            return goes_on
        first = advance(conn, new, now=clock.now(), wait=timedelta(seconds=WAIT_RUNNING))
        return begin_operation(conn, first) if first.ended_at is None else first

    operation = database.transact(decide)
    if operation.ended_at is not None:
        report(operation)
    return operation


def _changed(operations: Sequence[Operation]) -> Changed:
    return Changed(
        sum(operation.done for operation in operations),
        sum(operation.running for operation in operations),
        tuple(operation.batch_id for operation in operations if operation.done or operation.running),
        sum(
            max(0, operation.total - operation.done) for operation in operations if operation.ended_at is None
        ),
    )


def _take(
    database: Database, change: Callable[[Connection, Selection, int], Step], part: Selection, after: int
) -> Step:
    return database.transact(lambda conn: change(conn, part, after))


def _each(
    database: Database, chosen: Selection, change: Callable[[Connection, Selection, int], Step]
) -> Changed:
    jobs = running = 0
    touched: list[int] = []
    for part in by_batch(chosen):
        after: int | None = 0
        while after is not None:
            step = _take(database, change, part, after)
            jobs, running, after = jobs + step.changed, running + step.running, step.after
            if (step.changed or step.running) and part.batch_id not in touched and part.batch_id is not None:
                touched.append(part.batch_id)
    return Changed(jobs, running, tuple(touched))
