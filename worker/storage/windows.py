"""The hours of batches and hosts: which batches open or close now, and their queued jobs taken back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.engine import Connection

from worker.policy.windows import is_open, stored_windows
from worker.storage.host_rows import unknown_host
from worker.storage.jobs import lock_batch
from worker.storage.tables import batches, hosts

_UNSETTLED = "state IN ('receiving', 'open', 'paused')"
"""In the words of the partial index: SQLite takes it for no others."""


def batch_windows(conn: Connection, batch_id: int) -> Mapping[str, Any] | None:
    """As they are stored."""
    return conn.scalar(select(batches.c.windows).where(batches.c.id == batch_id))


def set_batch_windows(
    conn: Connection, batch_id: int, windows: Mapping[str, Any] | None, *, now: datetime
) -> None:
    """Other hours from now on, or none. Raises NotFound."""
    lock_batch(conn, batch_id)
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(windows=windows, closed=not is_open(stored_windows(windows), now))
    )


def set_host_windows(conn: Connection, name: str, windows: Mapping[str, Any] | None) -> None:
    """Hours in which it takes work, or none: always. Raises NotFound."""
    if not conn.execute(update(hosts).where(hosts.c.name == name).values(windows=windows)).rowcount:
        raise unknown_host(conn, name)


def turning_batches(conn: Connection, *, now: datetime) -> list[tuple[int, bool]]:
    """Batches whose windows open or close: number, and whether it is closed from now on."""
    rows = conn.execute(
        select(batches.c.id, batches.c.windows, batches.c.closed)
        .where(text(f"windows IS NOT NULL AND {_UNSETTLED}"))
        .order_by(batches.c.id)
    )
    turning = []
    for batch_id, windows, closed in rows:
        should = not is_open(stored_windows(windows), now)
        if should != closed:
            turning.append((batch_id, should))
    return turning


def turn_batch(conn: Connection, batch_id: int, *, closed: bool) -> None:
    """Open or close it; who claims or promotes sees it from the commit on."""
    lock_batch(conn, batch_id)
    conn.execute(update(batches).where(batches.c.id == batch_id).values(closed=closed))
