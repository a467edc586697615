"""Firings: each time of a schedule comes to one, and each firing to one batch."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from worker.domain.schedules import (
    OPEN_FIRINGS,
    Firing,
    FiringState,
    Schedule,
    Tallies,
)
from worker.errors import NotFound, UnreadableRow
from worker.records import from_row
from worker.storage.tables.schedules import firings, schedules
from worker.storage.types import UtcTime, storable
from worker.storage.unreadable import readable, reading_row, unreadable

_ENDED = tuple(sorted(str(state) for state in FiringState if state not in OPEN_FIRINGS))


def failed_firings(conn: Connection) -> list[tuple[str, datetime, str]]:
    """Schedules that are not paused and whose last firing failed, by name: when it was due, and why it failed.

    One that was passed over does not count: the one before it is the last.
    """
    ended = select(func.max(firings.c.fire_at)).where(
        firings.c.schedule_id == schedules.c.id, firings.c.state != str(FiringState.SKIPPED)
    )
    rows = conn.execute(
        select(schedules.c.name, firings.c.fire_at, firings.c.reason)
        .join(firings, firings.c.schedule_id == schedules.c.id)
        .where(
            schedules.c.paused_at.is_(None),
            firings.c.state == str(FiringState.FAILED),
            firings.c.fire_at == ended.correlate(schedules).scalar_subquery(),
        )
        .order_by(schedules.c.name)
    )
    return [(row.name, row.fire_at, row.reason or "no reason is known") for row in rows]


def open_firing(
    conn: Connection,
    schedule: Schedule,
    fire_at: datetime,
    *,
    state: FiringState,
    now: datetime,
    missed: int = 0,
    by_hand: bool = False,
    reason: str | None = None,
) -> Firing | None:
    """A firing for this time; None where there is one already."""
    values = {
        "schedule_id": schedule.id,
        "fire_at": fire_at,
        "by_hand": by_hand,
        "version": schedule.version,
        "state": str(state),
        "missed": missed,
        "reason": reason,
        "ended_at": None if state in OPEN_FIRINGS else now,
    }
    try:
        with conn.begin_nested():
            conn.execute(insert(firings).values(values))
    except IntegrityError:
        return None
    row = conn.execute(
        _firings().where(firings.c.schedule_id == schedule.id, firings.c.fire_at == fire_at)
    ).one()
    return _firing(row)


def open_firings(conn: Connection, schedule_id: int | None = None) -> list[Firing]:
    """Those that have not ended, the oldest first."""
    query = _firings().where(firings.c.ended_at.is_(None)).order_by(firings.c.schedule_id, firings.c.fire_at)
    if schedule_id is not None:
        query = query.where(firings.c.schedule_id == schedule_id)
    return readable(conn.execute(query), _firing)


def get_firing(conn: Connection, firing_id: int) -> Firing:
    """Raises NotFound."""
    row = conn.execute(_firings().where(firings.c.id == firing_id)).first()
    if row is None:
        raise NotFound(f"no firing {firing_id}")
    return _firing(row)


def list_firings(conn: Connection, schedule_id: int, *, limit: int = 20) -> list[Firing]:
    """The newest first."""
    query = (
        _firings().where(firings.c.schedule_id == schedule_id).order_by(firings.c.fire_at.desc()).limit(limit)
    )
    return readable(conn.execute(query), _firing)


def let_begin(conn: Connection, firing_id: int) -> bool:
    """A queued firing has its turn."""
    changed = conn.execute(
        update(firings)
        .where(firings.c.id == firing_id, firings.c.state == str(FiringState.QUEUED))
        .values(state=str(FiringState.DUE))
    )
    return bool(changed.rowcount)


def take_firing(
    conn: Connection, firing_id: int, *, token: str, now: datetime, lease: timedelta
) -> Firing | None:
    """Be the one that works on it: reads its documents, or settles it. None where somebody else is, or it has ended."""
    held_by_none: ColumnElement[bool] = or_(
        firings.c.token.is_(None), firings.c.token_until <= bindparam("now", now, type_=UtcTime)
    )
    takeable = (str(FiringState.DUE), str(FiringState.READING), str(FiringState.RUNNING))
    reading = firings.c.state != str(FiringState.RUNNING)
    row = conn.execute(
        select(firings.c.id, reading.label("reading"))
        .where(firings.c.id == firing_id, firings.c.state.in_(takeable), held_by_none)
        .with_for_update()
    ).first()
    if row is None:
        return None
    values: dict[str, Any] = {"token": token, "token_until": now + lease}
    if row.reading:
        values |= {
            "state": str(FiringState.READING),
            "tries": firings.c.tries + 1,
            "began_at": func.coalesce(firings.c.began_at, bindparam("began", now, type_=UtcTime)),
        }
    conn.execute(update(firings).where(firings.c.id == firing_id).values(values))
    return get_firing(conn, firing_id)


def keep_firing(conn: Connection, firing_id: int, *, token: str, until: datetime) -> bool:
    """Hold it for longer; False where it is no longer ours."""
    return bool(
        conn.execute(update(firings).where(_ours(firing_id, token)).values(token_until=until)).rowcount
    )


def let_firing_go(conn: Connection, firing_id: int, *, token: str) -> None:
    """Somebody else may work on it, or we again."""
    conn.execute(update(firings).where(_ours(firing_id, token)).values(token=None, token_until=None))


def run_firing(
    conn: Connection,
    firing_id: int,
    *,
    token: str,
    batch_id: int | None,
    tallies: Tallies,
    report: dict[str, Any],
) -> bool:
    """Its documents are read and its batch is there; False where it is no longer ours."""
    changed = conn.execute(
        update(firings)
        .where(_ours(firing_id, token))
        .values(
            state=str(FiringState.RUNNING),
            token=None,
            token_until=None,
            batch_id=batch_id,
            report=report,
            **_counts(tallies),
        )
    )
    return bool(changed.rowcount)


def _counts(tallies: Tallies) -> dict[str, int]:
    """The columns of the table."""
    counts = asdict(tallies)
    return {"found": counts.pop("matches"), **counts}


def end_firing(
    conn: Connection,
    firing_id: int,
    state: FiringState,
    *,
    token: str,
    now: datetime,
    report: dict[str, Any] | None = None,
    reason: str | None = None,
) -> bool:
    """It is over; False where it is no longer ours."""
    values: dict[str, Any] = {"state": str(state), "token": None, "token_until": None, "ended_at": now}
    if report is not None:
        values["report"] = report
    if reason is not None:
        values["reason"] = storable(reason)[:2000]
    return bool(conn.execute(update(firings).where(_ours(firing_id, token)).values(values)).rowcount)


def _ours(firing_id: int, token: str) -> ColumnElement[bool]:
    return and_(firings.c.id == firing_id, firings.c.token == token)


def _firings() -> Any:
    return select(firings, schedules.c.name.label("schedule")).join(
        schedules, schedules.c.id == firings.c.schedule_id
    )


def _firing(row: Row[Any]) -> Firing:
    with reading_row("firings", row.id):
        return from_row(
            Firing,
            row,
            state=FiringState(row.state),
            tallies=from_row(Tallies, row, matches=row.found),
            report=row.report or {},
        )


def unreadable_firings(conn: Connection) -> list[UnreadableRow]:
    """Those that have not ended and that this version cannot read."""
    return unreadable(conn.execute(_firings().where(firings.c.state.not_in(_ENDED))), _firing)
