"""Operations on whole batches: begun, advanced, ended. At most one of a batch goes on.

A batch on which one goes on starts nothing: nobody claims its jobs, and they are no work that waits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Row, insert, select, update
from sqlalchemy.engine import Connection

from worker.domain.operations import Operation, Verb
from worker.errors import Conflict
from worker.storage.ids import id_range
from worker.storage.tables import operations
from worker.storage.types import storable

OPERATING = "SELECT batch_id FROM operations WHERE ended_at IS NULL"
"""Batches whose rows still follow a decision about all of them."""

Range = tuple[int, int]
"""Ids of jobs: from the first up to, but not, the second."""


def begin_operation(conn: Connection, batch_id: int, verb: Verb, *, total: int, now: datetime) -> Operation:
    """Begin one, in the transaction that changes the batch and holds it locked. One that goes on is superseded."""
    conn.execute(
        update(operations)
        .where(operations.c.batch_id == batch_id, operations.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    row = conn.execute(
        insert(operations)
        .values(batch_id=batch_id, verb=str(verb), total=total, created_at=now)
        .returning(operations)
    ).one()
    return _operation(row)


def open_operation(conn: Connection, batch_id: int) -> Operation | None:
    """The one that goes on with a batch."""
    row = conn.execute(
        select(operations).where(operations.c.batch_id == batch_id, operations.c.ended_at.is_(None))
    ).first()
    return None if row is None else _operation(row)


def read_operation(conn: Connection, operation_id: int) -> Operation:
    """As it stands."""
    return _operation(conn.execute(select(operations).where(operations.c.id == operation_id)).one())


def open_operations(conn: Connection) -> list[Operation]:
    """All that go on, those that this version knows, the oldest first."""
    known = operations.c.verb.in_([str(verb) for verb in Verb])
    rows = conn.execute(
        select(operations).where(operations.c.ended_at.is_(None), known).order_by(operations.c.id)
    )
    return [_operation(row) for row in rows]


def keep_progress(conn: Connection, operation: Operation) -> Operation:
    """Store how far it has come, in the transaction that changed the rows."""
    conn.execute(
        update(operations)
        .where(operations.c.id == operation.id)
        .values(
            done=operation.done,
            running=operation.running,
            position=operation.position,
            ended_at=operation.ended_at,
            error=None,
        )
    )
    return replace(operation, error=None)


def keep_error(conn: Connection, operation_id: int, error: str) -> None:
    """Store why a step failed."""
    conn.execute(
        update(operations).where(operations.c.id == operation_id).values(error=storable(error)[:1000])
    )


def refuse_while_operating(conn: Connection, batch_id: int) -> None:
    """Raise Conflict while an operation on the batch goes on."""
    operation = open_operation(conn, batch_id)
    if operation is not None:
        raise Conflict(
            f"batch {batch_id}: {operation.verb} still goes on ({operation.done:,} of {operation.total:,} jobs); "
            f"wait until caravan status {batch_id} no longer says so, then try again"
        )


def free_ranges(conn: Connection, batch_id: int | None = None) -> Sequence[Range]:
    """The ids of all jobs (of the jobs of ``batch_id``) without those of batches on which an operation goes on: a query
    jumps over these, however many they are."""
    whole = id_range(batch_id)
    stopped = conn.scalars(
        select(operations.c.batch_id)
        .where(operations.c.ended_at.is_(None))
        .order_by(operations.c.batch_id)
        .distinct()
    ).all()
    return tuple(_between((whole["low"], whole["high"]), stopped))


def _between(whole: Range, stopped: Sequence[int]) -> Iterator[Range]:
    low, high = whole
    for batch in stopped:
        taken = id_range(batch)
        if low < min(taken["low"], high):
            yield low, min(taken["low"], high)
        low = max(low, taken["high"])
    if low < high:
        yield low, high


def _operation(row: Row[tuple[object, ...]]) -> Operation:
    return Operation(
        id=row.id,
        batch_id=row.batch_id,
        verb=Verb(row.verb),
        total=row.total,
        done=row.done,
        running=row.running,
        position=row.position,
        created_at=row.created_at,
        ended_at=row.ended_at,
        error=row.error,
    )
