"""Continues operations on whole batches: their jobs are cancelled, deleted or dropped in chunks, each a short transaction.

Whoever began one works it off while it waits; should that process end, the service goes on where it stopped.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from worker.clock import Clock
from worker.domain.jobs import JobFilter
from worker.domain.operations import Operation, Verb
from worker.errors import DatabaseUnavailable
from worker.maintenance.number import number_all
from worker.maintenance.service import Counts, each
from worker.storage.actions import cancel_some
from worker.storage.batches import drop_lines
from worker.storage.engine import Connection, Database
from worker.storage.jobs import lock_batch
from worker.storage.keeping import (
    close_pruned,
    end_running,
    forget_jobs,
    leave_no_trace,
    marked_jobs,
    unfinished,
    unfinished_of,
)
from worker.storage.operations import keep_error, keep_progress, open_operations, read_operation

CHUNK = 2000
"""Jobs that are cancelled in one transaction."""
LINES = 500
"""Jobs that are deleted in one transaction, or lines that are dropped."""
LONGEST_PASS = 2.0
"""Seconds of one pass of the service for one operation."""
WAIT_RUNNING = 15.0
"""Seconds that jobs which run and were told to stop have for it, before they are deleted all the same."""

Rest = Callable[[float], None]
"""Waits so many seconds."""
Watch = Callable[[Operation], None]
"""Told after each chunk how far an operation has come."""


def pause(seconds: float) -> None:
    """Let others have the database for so long."""
    threading.Event().wait(seconds)


def operate(database: Database, clock: Clock) -> Counts:
    """The service: some chunks of every operation that goes on."""
    with database.read() as conn:
        waiting = open_operations(conn)

    def work(operation: Operation) -> int:
        try:
            after = run_operation(database, operation.id, clock=clock, most_seconds=LONGEST_PASS)
        except DatabaseUnavailable:
            raise  # the operation is not at fault
        except Exception as error:
            with database.write() as conn:
                keep_error(conn, operation.id, f"{error or type(error).__name__}")
            raise
        return after.done - operation.done

    changed = each(waiting, work, name=lambda operation: f"{operation.verb} of batch {operation.batch_id}")
    return {"changed": changed}


def run_operation(
    database: Database,
    operation_id: int,
    *,
    clock: Clock,
    rest: Rest = pause,
    wait: float = WAIT_RUNNING,
    most_seconds: float | None = None,
    watch: Watch | None = None,
) -> Operation:
    """Work an operation off, beside anybody else who does; with ``most_seconds`` as far as it gets. After each chunk it
    rests for as long as that took where there is one writer at a time, else shortly."""
    began = clock.monotonic()
    with database.read() as conn:
        operation = read_operation(conn, operation_id)
    if operation.verb is Verb.DELETE and operation.ended_at is None:
        number_all(database)  # what it comes to is counted before it goes
    while operation.ended_at is None:
        at = clock.monotonic()
        before = operation
        operation = database.transact(
            lambda conn: take_step(conn, operation_id, now=clock.now(), wait=timedelta(seconds=wait))
        )
        if watch is not None:
            watch(operation)
        if most_seconds is not None and (operation == before or clock.monotonic() - began > most_seconds):
            break
        if operation.ended_at is None:
            took = clock.monotonic() - at
            rest(0.2 if operation == before else took if database.dialect == "sqlite" else took / 10)
    if operation.verb is Verb.DELETE and operation.ended_at is not None:
        leave_no_trace(database)
    return operation


def take_step(conn: Connection, operation_id: int, *, now: datetime, wait: timedelta) -> Operation:
    """One chunk of an operation, and where it stands then; the same where there is nothing to do but wait."""
    lock_batch(conn, read_operation(conn, operation_id).batch_id)
    operation = read_operation(conn, operation_id)  # as whoever held the batch left it
    if operation.ended_at is not None:
        return operation
    match operation.verb:
        case Verb.CANCEL:
            return keep_progress(conn, _cancel(conn, operation, now))
        case Verb.REFUSE:
            dropped = drop_lines(conn, operation.batch_id, limit=LINES)
            ended = None if dropped == LINES else now
            return keep_progress(conn, replace(operation, done=operation.done + dropped, ended_at=ended))
        case Verb.DELETE:
            return keep_progress(conn, _delete(conn, operation, now, wait))


def _cancel(conn: Connection, operation: Operation, now: datetime) -> Operation:
    step = cancel_some(conn, JobFilter(operation.batch_id), now=now, after=operation.position, limit=CHUNK)
    return replace(
        operation,
        done=operation.done + step.changed,
        running=operation.running + step.running,
        position=operation.position if step.after is None else step.after,
        ended_at=now if step.after is None else None,
    )


def _delete(conn: Connection, operation: Operation, now: datetime, wait: timedelta) -> Operation:
    """In the order of their ids; what still runs is waited for, ended and deleted by a second round."""
    batch = operation.batch_id
    ids = marked_jobs(conn, JobFilter(batch), after=operation.position, limit=LINES)
    if ids:
        cancel_some(conn, JobFilter(batch, frozenset(ids)), now=now, limit=len(ids) + 1)
        running = len(unfinished(conn, ids))
        gone = forget_jobs(conn, batch, ids)
        return replace(
            operation, done=operation.done + gone, running=operation.running + running, position=ids[-1]
        )
    if not operation.running:
        close_pruned(conn, batch, now=now)
        return replace(operation, ended_at=now)
    left = unfinished_of(conn, batch, limit=LINES)
    if left and now - operation.created_at < wait:
        return operation
    if left:
        end_running(conn, batch, left, now=now)
    return replace(operation, position=0, running=len(left) if len(left) == LINES else 0)
