"""Operations on many jobs of a batch: begun, advanced, ended, forgotten. At most one of a batch goes on.

Where one stops its batch, nobody claims jobs of it meanwhile, and they are no work that waits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.engine import Connection

from worker.domain.numbers import count_of
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import Conflict, UnreadableRow
from worker.records import from_row
from worker.storage.ids import id_range
from worker.storage.tables import operations
from worker.storage.types import storable
from worker.storage.unreadable import readable, reading_row, unreadable

OPERATING = "SELECT batch_id FROM operations WHERE ended_at IS NULL AND stops"
"""Batches that start nothing, since their rows still follow a decision about all of them."""

_OPEN = operations.c.ended_at.is_(None) & operations.c.batch_id.is_not(None)
"""Those that go on with a batch; ``storage/model_operations.py`` has those on models."""

Range = tuple[int, int]
"""Ids of jobs: from the first up to, but not, the second."""


def begin_operation(conn: Connection, operation: Operation) -> Operation:
    """Store one that begins, in the transaction that changes the batch and holds it locked. One that goes on is
    superseded."""
    o = operations.c
    conn.execute(
        update(operations)
        .where(o.batch_id == operation.batch_id, o.ended_at.is_(None))
        .values(ended_at=operation.created_at, error=f"superseded: {operation.verb}")
    )
    selection = operation.selection
    row = conn.execute(
        insert(operations)
        .values(
            batch_id=operation.batch_id,
            verb=str(operation.verb),
            total=operation.total,
            done=operation.done,
            running=operation.running,
            position=operation.position,
            selection=None if selection is None else selection.stored,
            arguments=dict(operation.arguments) or None,
            principal=None if operation.principal is None else storable(operation.principal)[:200],
            stops=operation.stops,
            created_at=operation.created_at,
        )
        .returning(operations)
    ).one()
    return _operation(row)


def open_operation(conn: Connection, batch_id: int) -> Operation | None:
    """The one that goes on with a batch. Raises UnreadableRow."""
    row = conn.execute(
        select(operations).where(operations.c.batch_id == batch_id, operations.c.ended_at.is_(None))
    ).first()
    return None if row is None else _operation(row)


def read_operation(conn: Connection, operation_id: int) -> Operation:
    """As it stands. Raises UnreadableRow."""
    return _operation(conn.execute(select(operations).where(operations.c.id == operation_id)).one())


def open_operations(conn: Connection) -> list[Operation]:
    """All that go on, those that this version can read, the oldest first."""
    rows = conn.execute(select(operations).where(_OPEN).order_by(operations.c.id))
    return readable(rows, _operation)


def unreadable_operations(conn: Connection) -> list[UnreadableRow]:
    """Those that go on and that this version cannot read; another one has to continue them."""
    return unreadable(conn.execute(select(operations).where(_OPEN)), _operation)


def keep_progress(conn: Connection, operation: Operation) -> Operation:
    """Store how far it has come, in the transaction that changed the rows."""
    conn.execute(
        update(operations)
        .where(operations.c.id == operation.id)
        .values(
            done=operation.done,
            running=operation.running,
            position=operation.position,
            arguments=dict(operation.arguments) or None,
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


def same_operation(conn: Connection, operation: Operation) -> Operation | None:
    """The operation that goes on with the batch, where it does what is wanted; None where none goes on. Raises Conflict
    where another does."""
    under_way = open_operation(conn, operation.batch_id)
    if under_way is None or under_way.means_the_same(operation):
        return under_way
    raise Conflict(_busy(under_way))


def refuse_while_operating(conn: Connection, batch_id: int) -> None:
    """Raise Conflict while an operation on the batch goes on."""
    operation = open_operation(conn, batch_id)
    if operation is not None:
        raise Conflict(_busy(operation))


def _busy(operation: Operation) -> str:
    return (
        f"batch {operation.batch_id}: {operation.verb} still goes on ({operation.done:,} of {count_of(operation.total, 'job')}); "
        f"wait until caravan status {operation.batch_id} no longer says so, then try again"
    )


def forget_operations(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete operations that ended before; returns how many."""
    o = operations.c
    old = select(o.id).where(o.ended_at < before).order_by(o.id).limit(limit)
    return conn.execute(delete(operations).where(o.id.in_(old))).rowcount


def free_ranges(conn: Connection, batch_id: int | None) -> Sequence[Range]:
    """The ids of all jobs (of the jobs of ``batch_id``) without those of batches that an operation stops: a query jumps
    over these, however many they are."""
    whole = id_range(batch_id)
    stopped = conn.scalars(
        select(operations.c.batch_id)
        .where(operations.c.ended_at.is_(None), operations.c.stops)
        .order_by(operations.c.batch_id)
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


def _operation(row: Row[Any]) -> Operation:
    with reading_row("operations", row.id):
        return from_row(
            Operation,
            row,
            verb=Verb(row.verb),
            selection=None if row.selection is None else Selection.parse(row.selection),
            arguments=row.arguments or {},
        )
