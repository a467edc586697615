"""How fast each runner key is on each host, for the other hosts and the next process to know."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import Connection

from worker.storage.tables import paces
from worker.storage.types import UtcTime


@dataclass(frozen=True, slots=True)
class PaceSeen:
    """Seconds of a load and of a job of ``runner_key`` on ``host``, as far as they were seen there."""

    host: str
    runner_key: str
    load_seconds: float | None
    service_seconds: float | None


_SAVE = text(
    "INSERT INTO paces (host, runner_key, load_seconds, service_seconds, at) "
    "VALUES (:host, :runner_key, :load_seconds, :service_seconds, :now) "
    "ON CONFLICT (host, runner_key) DO UPDATE SET load_seconds = excluded.load_seconds, "
    "service_seconds = excluded.service_seconds, at = excluded.at"
).bindparams(bindparam("now", type_=UtcTime))


def save_paces(conn: Connection, seen: Iterable[PaceSeen], *, now: datetime) -> None:
    """Keep what was seen; a host writes its own rows only."""
    rows = [
        {
            "host": pace.host,
            "runner_key": pace.runner_key,
            "load_seconds": pace.load_seconds,
            "service_seconds": pace.service_seconds,
            "now": now,
        }
        for pace in seen
    ]
    if rows:
        conn.execute(_SAVE, rows)


def read_paces(conn: Connection) -> list[PaceSeen]:
    """All of them: a few for each host."""
    c = paces.c
    return [
        PaceSeen(*row)
        for row in conn.execute(
            select(c.host, c.runner_key, c.load_seconds, c.service_seconds).order_by(c.host, c.runner_key)
        )
    ]
