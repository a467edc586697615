"""Deadlines that are set after a batch was submitted."""

from datetime import datetime

from sqlalchemy import Boolean, bindparam, select, text, update
from sqlalchemy.engine import Connection

from worker.storage.ids import id_range
from worker.storage.jobs import lock_batch
from worker.storage.picking import change_picked
from worker.storage.tables import batches
from worker.storage.types import UtcTime

_GIVE = change_picked(
    "SELECT id FROM jobs WHERE id > :after AND id < :high AND state IN ('queued', 'scheduled', 'waiting', 'held') "
    "AND (deadline IS NULL OR deadline = :old) ORDER BY id LIMIT :limit",
    "deadline = :deadline, expires = coalesce(:expires, expires)",
    "jobs.id",
    wait=True,
)


def batch_deadline(conn: Connection, batch_id: int) -> datetime | None:
    """When all of it is wanted, where somebody said."""
    return conn.scalar(select(batches.c.deadline).where(batches.c.id == batch_id))


def give_deadline(
    conn: Connection,
    batch_id: int,
    deadline: datetime,
    *,
    instead_of: datetime | None,
    expires: bool | None,
    after: int,
    limit: int,
) -> int | None:
    """Jobs of the batch, at most ``limit`` beyond the id ``after``, are wanted by ``deadline``: those that have not started
    and have no deadline, or the one that the batch gave them (``instead_of``).

    ``expires`` None leaves that as it is. Returns where to go on, None at the end. Raises NotFound.
    """
    lock_batch(conn, batch_id)
    ids = id_range(batch_id)
    changed = conn.scalars(
        _STATEMENTS[conn.dialect.name],
        {
            "after": max(after, ids["low"]),
            "high": ids["high"],
            "old": instead_of,
            "deadline": deadline,
            "expires": expires,
            "limit": limit,
        },
    ).all()
    return max(changed) if len(changed) == limit else None


def keep_deadline(conn: Connection, batch_id: int, deadline: datetime) -> None:
    """The batch as a whole is wanted by then."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(deadline=deadline))


_STATEMENTS = {
    dialect: text(statement).bindparams(
        bindparam("old", type_=UtcTime),
        bindparam("deadline", type_=UtcTime),
        bindparam("expires", type_=Boolean),
    )
    for dialect, statement in _GIVE.items()
}
