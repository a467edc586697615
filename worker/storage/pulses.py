"""The last sign of life of each process, and the last messages about the health."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.health import DEFECT_RETENTION, DEFECTS, Pulse
from worker.errors import in_words
from worker.storage.tables import pulses
from worker.storage.types import UtcTime

PROBE = "probe"
_PROBE_BYTES = 32_768
"""More than the free space that the pages of a full database may still have."""


_RECORD = text(
    "INSERT INTO pulses (name, at, detail) VALUES (:name, :at, :detail) "
    "ON CONFLICT (name) DO UPDATE SET at = excluded.at, detail = excluded.detail"
).bindparams(bindparam("at", type_=UtcTime), bindparam("detail", type_=pulses.c.detail.type))


def record_pulse(conn: Connection, name: str, *, now: datetime, detail: Mapping[str, Any]) -> None:
    """``name`` is alive."""
    conn.execute(_RECORD, {"name": name, "at": now, "detail": dict(detail)})


def forget_pulse(conn: Connection, name: str) -> None:
    """``name`` has ended as it should, and is not missed."""
    conn.execute(delete(pulses).where(pulses.c.name == name))


def read_pulses(conn: Connection) -> dict[str, Pulse]:
    """The last sign of life of each."""
    rows = conn.execute(select(pulses.c.name, pulses.c.at, pulses.c.detail))
    return {name: Pulse(name, at, detail or {}) for name, at, detail in rows}


def questions(conn: Connection, prefix: str) -> dict[str, Pulse]:
    """Those whose names begin so."""
    rows = conn.execute(
        select(pulses.c.name, pulses.c.at, pulses.c.detail).where(pulses.c.name.startswith(prefix))
    )
    return {name: Pulse(name, at, detail or {}) for name, at, detail in rows}


def take_turn(
    conn: Connection, name: str, *, last: Pulse | None, now: datetime, detail: Mapping[str, Any]
) -> bool:
    """Replace the pulse ``last`` of ``name``; False where another process was faster, so that only one of many acts."""
    if last is None:
        first = text(
            "INSERT INTO pulses (name, at, detail) VALUES (:name, :at, :detail) ON CONFLICT (name) DO NOTHING"
        ).bindparams(bindparam("at", type_=UtcTime), bindparam("detail", type_=pulses.c.detail.type))
        return bool(conn.execute(first, {"name": name, "at": now, "detail": dict(detail)}).rowcount)
    taken = conn.execute(
        update(pulses)
        .where(pulses.c.name == name, pulses.c.at == last.at)
        .values(at=now, detail=dict(detail))
    )
    return bool(taken.rowcount)


def probe(conn: Connection, *, now: datetime) -> None:
    """Write what needs room, and give the room back. Raises DatabaseUnavailable (by its caller) where there is none."""
    record_pulse(conn, PROBE, now=now, detail={"filler": "x" * _PROBE_BYTES})
    record_pulse(conn, PROBE, now=now, detail={})


def count_defect(conn: Connection, host: str, *, error: Exception, now: datetime) -> None:
    """A thread that serves ``host`` failed with a defect of ours. ``caravan health`` shows how many there were."""
    before = questions(conn, DEFECTS + host).get(DEFECTS + host)
    count = int(before.detail.get("count", 0)) if before and now - before.at < DEFECT_RETENTION else 0
    detail = {"count": count + 1, "error": in_words(error)[:300]}
    record_pulse(conn, DEFECTS + host, now=now, detail=detail)
