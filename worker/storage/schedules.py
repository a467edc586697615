"""Schedules: added, replaced, paused, due."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from worker.domain.schedules import (
    SPEC_VERSION,
    FiringState,
    Schedule,
    ScheduleSpec,
)
from worker.errors import Conflict, NotFound, UnreadableRow
from worker.records import from_row
from worker.storage.tables.schedules import firings, schedules
from worker.storage.types import UtcTime, storable
from worker.storage.unreadable import readable, reading_row, unreadable


def add_schedule(
    conn: Connection, name: str, spec: ScheduleSpec, *, next_at: datetime | None, now: datetime
) -> Schedule:
    """Raises Conflict where there is one of this name."""
    values = {
        "name": name,
        "version": 1,
        "spec": spec.plain,
        "spec_version": SPEC_VERSION,
        "next_at": next_at,
        "added_at": now,
        "changed_at": now,
    }
    try:
        with conn.begin_nested():
            conn.execute(insert(schedules).values(values))
    except IntegrityError as error:
        raise Conflict(f"there is a schedule {name!r} already") from error
    return get_schedule(conn, name)


def replace_schedule(
    conn: Connection, name: str, spec: ScheduleSpec, *, next_at: datetime | None, now: datetime
) -> Schedule:
    """Replace its settings; its history stays. Raises NotFound."""
    changed = conn.execute(
        update(schedules)
        .where(schedules.c.name == name)
        .values(
            spec=spec.plain,
            spec_version=SPEC_VERSION,
            version=schedules.c.version + 1,
            next_at=next_at,
            changed_at=now,
        )
    )
    if not changed.rowcount:
        raise _unknown(name)
    return get_schedule(conn, name)


def get_schedule(conn: Connection, name: str) -> Schedule:
    """Raises NotFound."""
    row = conn.execute(select(schedules).where(schedules.c.name == name)).first()
    if row is None:
        raise _unknown(name)
    return _schedule(row)


def find_schedule(conn: Connection, name: str) -> Schedule | None:
    """The same, or None."""
    row = conn.execute(select(schedules).where(schedules.c.name == name)).first()
    return None if row is None else _schedule(row)


def list_schedules(conn: Connection) -> list[Schedule]:
    """By name."""
    return readable(conn.execute(select(schedules).order_by(schedules.c.name)), _schedule)


def pause_schedule(conn: Connection, name: str, *, now: datetime, reason: str | None = None) -> bool:
    """No firing of it comes any more. False: it was paused already. Raises NotFound."""
    get_schedule(conn, name)
    changed = conn.execute(
        update(schedules)
        .where(schedules.c.name == name, schedules.c.paused_at.is_(None))
        .values(paused_at=now, paused_reason=None if reason is None else storable(reason))
    )
    return bool(changed.rowcount)


def resume_schedule(conn: Connection, name: str, *, next_at: datetime | None) -> bool:
    """It fires again, first at ``next_at``. False: it was not paused. Raises NotFound."""
    get_schedule(conn, name)
    changed = conn.execute(
        update(schedules)
        .where(schedules.c.name == name, schedules.c.paused_at.is_not(None))
        .values(paused_at=None, paused_reason=None, next_at=next_at)
    )
    return bool(changed.rowcount)


def remove_schedule(conn: Connection, name: str) -> None:
    """Forget it, its firings and what it has seen; its batches stay. Raises NotFound."""
    if not conn.execute(delete(schedules).where(schedules.c.name == name)).rowcount:
        raise _unknown(name)


def due_schedules(conn: Connection, *, now: datetime) -> list[str]:
    """Names of those whose time has come."""
    return list(
        conn.scalars(
            select(schedules.c.name)
            .where(
                schedules.c.next_at <= bindparam("now", now, type_=UtcTime), schedules.c.paused_at.is_(None)
            )
            .order_by(schedules.c.next_at, schedules.c.name)
        )
    )


def unfired(conn: Connection, *, now: datetime) -> list[tuple[str, datetime]]:
    """Schedules whose time has come, by name, and since when: no firing was begun, or its documents are not read yet."""
    at = bindparam("now", now, type_=UtcTime)
    rows = conn.execute(
        select(schedules.c.name, schedules.c.next_at).where(
            schedules.c.next_at <= at, schedules.c.paused_at.is_(None)
        )
    )
    late: dict[str, datetime] = {row.name: row.next_at for row in rows}
    begun = conn.execute(
        select(schedules.c.name, func.min(firings.c.fire_at))
        .join(firings, firings.c.schedule_id == schedules.c.id)
        .where(
            firings.c.state.in_((str(FiringState.DUE), str(FiringState.READING))),
            or_(firings.c.token_until.is_(None), firings.c.token_until < at),
        )
        .group_by(schedules.c.name)
    )
    for name, since in begun:
        late[name] = min(since, late.get(name) or since)
    return sorted(late.items())


def lock_schedule(conn: Connection, name: str) -> Schedule | None:
    """As it stands, kept so until the transaction ends; None where it is gone."""
    row = conn.execute(select(schedules).where(schedules.c.name == name).with_for_update()).first()
    return None if row is None else _schedule(row)


def move_on(conn: Connection, schedule_id: int, *, next_at: datetime | None) -> None:
    """When it fires next."""
    conn.execute(update(schedules).where(schedules.c.id == schedule_id).values(next_at=next_at))


def _unknown(name: str) -> NotFound:
    return NotFound(f"no schedule {name!r}; caravan schedule list shows them")


def _schedule(row: Row[Any]) -> Schedule:
    with reading_row("schedules", row.name):
        return from_row(Schedule, row, spec=ScheduleSpec.parse(row.spec))


def unreadable_schedules(conn: Connection) -> list[UnreadableRow]:
    """Those that this version cannot read."""
    return unreadable(conn.execute(select(schedules).order_by(schedules.c.name)), _schedule)
