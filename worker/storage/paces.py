"""How fast each runner key is on each host, for the other hosts and the next process to know."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import Connection

from worker.records import record
from worker.storage.tables import paces
from worker.storage.types import UtcTime


@record
class StoredPace:
    """Seconds of a load and of a job of ``runner_key`` on ``host``, as far as they were seen there."""

    host: str
    runner_key: str
    load_seconds: float | None
    service_seconds: float | None
    slots: int | None = None
    """Answers it really gives at once, where that was found out."""
    memory: int | None = None
    """Bytes that the loaded runner takes, of GPUs and CPU together (``/api/ps`` size)."""
    jobs: int = 0
    """How many were seen."""


_SAVE = text(
    "INSERT INTO paces (host, runner_key, load_seconds, service_seconds, slots, memory, jobs, at) "
    "VALUES (:host, :runner_key, :load_seconds, :service_seconds, :slots, :memory, :jobs, :now) "
    "ON CONFLICT (host, runner_key) DO UPDATE SET load_seconds = excluded.load_seconds, "
    "service_seconds = excluded.service_seconds, slots = excluded.slots, memory = excluded.memory, "
    "jobs = excluded.jobs, at = excluded.at"
).bindparams(bindparam("now", type_=UtcTime))


def save_paces(conn: Connection, paces: Iterable[StoredPace], *, now: datetime) -> None:
    """Keep what was seen; a host writes its own rows only."""
    rows = [asdict(pace) | {"now": now} for pace in paces]
    if rows:
        conn.execute(_SAVE, rows)


def read_paces(conn: Connection) -> list[StoredPace]:
    """All of them: a few for each host."""
    c = paces.c
    return [
        StoredPace(*row)
        for row in conn.execute(
            select(
                c.host, c.runner_key, c.load_seconds, c.service_seconds, c.slots, c.memory, c.jobs
            ).order_by(c.host, c.runner_key)
        )
    ]
