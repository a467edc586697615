"""Continues operations on many jobs: they are cancelled, deleted, asked again, … in chunks, each a short transaction.

Whoever began one works it off for a moment, or until it ends; the service goes on where that process stopped.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from worker.clock import Clock
from worker.domain.batches import BatchState
from worker.domain.jobs import Priority
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import DatabaseFailure, in_words
from worker.maintenance.number import number_all
from worker.maintenance.service import Counts, each
from worker.observability.events import emit
from worker.storage import pauses
from worker.storage.actions import Step, cancel_some, last_job, prioritise_some, retry_some
from worker.storage.batches import get_batch, promote_batch
from worker.storage.engine import Connection, Database
from worker.storage.ids import SEQ_BITS
from worker.storage.jobs import lock_batch
from worker.storage.model_operations import end_parts_of_gone_hosts
from worker.storage.operations import (
    forget_operations,
    keep_error,
    keep_progress,
    open_operations,
    read_operation,
)
from worker.storage.refusals import drop_lines

CHUNK = 2000
"""Jobs that are changed in one transaction."""
LINES = 500
"""Jobs that are deleted in one transaction, or lines that are dropped."""
WINDOW = 25
"""A chunk looks at so many times as many ids as it may change: few may match, and the jobs of a batch are very many."""
LONGEST_PASS = 5.0
"""Seconds of one pass of the service, shared by the operations that go on."""
WAIT_RUNNING = 15.0
"""Seconds that running jobs have to stop, before they are deleted all the same."""
RETENTION = timedelta(days=7)
"""How long an operation is on record after its end."""
MOST_FORGOTTEN = 1000
"""Records that one pass deletes."""

Rest = Callable[[float], None]
"""Waits so many seconds."""


def pause(seconds: float) -> None:
    """Let others have the database for so long."""
    threading.Event().wait(seconds)


def operate(database: Database, clock: Clock) -> Counts:
    """The service: some chunks of every operation that goes on. Those that ended long ago are forgotten."""
    with database.read() as conn:
        waiting = open_operations(conn)

    def work(operation: Operation) -> int:
        try:
            after = run_operation(
                database, operation.id, clock=clock, most_seconds=LONGEST_PASS / len(waiting)
            )
        except DatabaseFailure:
            raise
        except Exception as error:
            with database.write() as conn:
                keep_error(conn, operation.id, in_words(error))
            raise
        return after.done - operation.done

    changed = each(waiting, work, name=lambda operation: f"{operation.verb} of batch {operation.batch_id}")
    with database.write() as conn:
        forget_operations(conn, before=clock.now() - RETENTION, limit=MOST_FORGOTTEN)
        end_parts_of_gone_hosts(conn, now=clock.now())
    return {"changed": changed}


def run_operation(
    database: Database,
    operation_id: int,
    *,
    clock: Clock,
    rest: Rest = pause,
    wait: float = WAIT_RUNNING,
    most_seconds: float | None = None,
) -> Operation:
    """Work an operation off, beside anybody else who does; with ``most_seconds`` as far as it gets. After each chunk it
    rests for as long as that took where there is one writer at a time, else shortly."""
    began = clock.monotonic()
    with database.read() as conn:
        operation = read_operation(conn, operation_id)
    if operation.verb is Verb.DELETE and operation.ended_at is None:
        number_all(database)  # what it comes to is counted before it goes
    while operation.ended_at is None:
        at, before = clock.monotonic(), operation
        operation, ours = database.transact(
            lambda conn: take_step(conn, operation_id, now=clock.now(), wait=timedelta(seconds=wait))
        )
        if operation.ended_at is not None and ours:
            report(operation)
        if most_seconds is not None and (operation == before or clock.monotonic() - began >= most_seconds):
            break
        if operation.ended_at is None:
            took = clock.monotonic() - at
            rest(0.2 if operation == before else took if database.dialect == "sqlite" else took / 10)
    if operation.verb is Verb.DELETE and operation.ended_at is not None:
        from worker.storage.keeping import leave_no_trace  # few operations delete

        leave_no_trace(database)
    return operation


def take_step(
    conn: Connection, operation_id: int, *, now: datetime, wait: timedelta
) -> tuple[Operation, bool]:
    """One chunk of an operation: where it stands then, and whether it had not ended before. The same where there is
    nothing to do but wait."""
    lock_batch(conn, read_operation(conn, operation_id).batch_id)
    operation = read_operation(conn, operation_id)  # as whoever held the batch left it
    if operation.ended_at is not None:
        return operation, False
    return keep_progress(conn, advance(conn, operation, now=now, wait=wait)), True


def advance(conn: Connection, operation: Operation, *, now: datetime, wait: timedelta) -> Operation:
    """One chunk of an operation whose batch the caller has locked, which need not be stored."""
    batch = operation.batch_id
    match operation.verb:
        case Verb.CANCEL:
            return _by_rows(conn, operation, partial(cancel_some, now=now), now)
        case Verb.SET:
            priority = Priority(operation.arguments["priority"])
            return _by_rows(conn, operation, partial(prioritise_some, priority=priority), now)
        case Verb.RETRY:
            return _retry(conn, operation, now)
        case Verb.PAUSE:
            return _until_none(operation, pauses.withdraw_batch(conn, batch, limit=CHUNK), now)
        case Verb.RESUME:
            return _until_none(operation, promote_batch(conn, batch, limit=CHUNK, now=now), now)
        case Verb.REFUSE:
            last = last_job(conn, batch)
            until = min(max(operation.position, batch << SEQ_BITS) + LINES, last)
            dropped = drop_lines(conn, batch, after=operation.position, until=until)
            return _moved_on(replace(operation, done=operation.done + dropped), until, last, now)
        case Verb.DELETE:
            return _delete(conn, operation, now, wait)


def _until_none(operation: Operation, changed: int, now: datetime) -> Operation:
    return replace(operation, done=operation.done + changed, ended_at=now if changed < CHUNK else None)


def _moved_on(operation: Operation, position: int, last: int, now: datetime) -> Operation:
    """It has looked at all jobs up to ``position``; it ends at the ``last``."""
    return replace(operation, position=position, ended_at=now if position >= last else None)


def _by_rows(conn: Connection, operation: Operation, change: Callable[..., Step], now: datetime) -> Operation:
    """The next rows in the order of their ids."""
    chosen, until, last = _portion(conn, operation, CHUNK)
    step = change(conn, chosen, after=operation.position, until=until, limit=CHUNK)
    operation = replace(
        operation, done=operation.done + step.changed, running=operation.running + step.running
    )
    return _moved_on(operation, until if step.after is None else step.after, last, now)


def _portion(conn: Connection, operation: Operation, limit: int) -> tuple[Selection, int, int]:
    """Which jobs a chunk looks at: the filter, the last id, and the last id of all. Of jobs that were chosen by their ids
    no more than a query takes."""
    chosen = operation.chosen
    if chosen.job_ids is None:
        last = last_job(conn, operation.batch_id)
        start = max(operation.position, operation.batch_id << SEQ_BITS)
        return chosen, min(start + limit * WINDOW, last), last
    ids = sorted(chosen.job_ids)
    some = [job for job in ids if job > operation.position][:limit]
    return replace(chosen, job_ids=frozenset(some)), max(some, default=ids[-1]), ids[-1]


def _retry(conn: Connection, operation: Operation, now: datetime) -> Operation:
    """A batch that had paused by itself goes on when the last of them is asked again, and its brakes begin again."""
    options = operation.arguments.get("options")
    operation = _by_rows(conn, operation, partial(retry_some, now=now, options=options), now)
    if operation.ended_at is not None and operation.done:
        batch = get_batch(conn, operation.batch_id)
        if batch.state is BatchState.PAUSED and batch.pause_code is not None:
            pauses.reopen_batch(conn, batch.id)
        else:
            pauses.forgive(conn, batch.id)
    return operation


def _delete(conn: Connection, operation: Operation, now: datetime, wait: timedelta) -> Operation:
    """In the order of their ids. Then those that still run are waited for and ended; and those that others went on from,
    which were cancelled after them, have a second round."""
    from worker.storage.keeping import close_pruned, end_running, forget_jobs, marked_jobs, unfinished

    batch, arguments = operation.batch_id, operation.arguments
    running = list(arguments.get("running", ()))
    if not arguments.get("looked"):
        chosen, until, last = _portion(conn, operation, LINES)
        ids = marked_jobs(conn, chosen, after=operation.position, until=until, limit=LINES)
        left, gone = [], 0
        if ids:
            cancel_some(conn, Selection(batch, frozenset(ids)), now=now, limit=len(ids) + 1)
            left = unfinished(conn, ids)
            gone = forget_jobs(conn, batch, ids)
        position = ids[-1] if len(ids) == LINES else until
        return replace(
            operation,
            done=operation.done + gone,
            running=operation.running + len(left),
            position=position,
            arguments={
                "running": running + left,
                "kept": arguments.get("kept", 0) + len(ids) - len(left) - gone,
                "again": arguments.get("again", False),
                "looked": position >= last,
            },
        )
    if running:
        if unfinished(conn, running[:LINES]) and now - operation.created_at < wait:
            return operation
        end_running(conn, batch, running[:LINES], now=now)
        gone = forget_jobs(conn, batch, running[:LINES])
        return replace(
            operation, done=operation.done + gone, arguments={**arguments, "running": running[LINES:]}
        )
    if arguments.get("kept") and not arguments.get("again"):
        return replace(operation, position=0, arguments={"again": True})
    close_pruned(conn, batch, now=now)
    return replace(operation, ended_at=now)


_EVENTS: Mapping[Verb, str] = {
    Verb.DELETE: "job.deleted",
    Verb.RETRY: "batch.retried",
    Verb.SET: "job.prioritised",
}
"""Events of operations that have ended. What stops or resumes a whole batch is reported when it is decided."""


def report(operation: Operation) -> None:
    """Emit the event of an operation that has ended, where it changed anything."""
    figures: dict[str, object] = {"batches": [operation.batch_id], "jobs": operation.done}
    if not (operation.done or operation.running):
        return
    if operation.verb is Verb.CANCEL and operation.selection is not None:
        emit("job.cancelled", **figures, running=operation.running)
    elif operation.verb is Verb.SET:
        emit("job.prioritised", **figures, priority=Priority(operation.arguments["priority"]).name.lower())
    elif operation.verb in _EVENTS:
        emit(_EVENTS[operation.verb], **figures)
