"""Batches and schedules in a line each, as a report lists them; read from the promised views."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import TableClause, column, select, table
from sqlalchemy.engine import Connection

from worker.storage.types import UtcTime

_TIMES = frozenset({"created_at", "finished_at", "next_at", "paused_at", "last_fire_at"})


def _view(name: str, columns: str) -> TableClause:
    return table(name, *(column(one, UtcTime()) if one in _TIMES else column(one) for one in columns.split()))


_BATCHES = _view(
    "report_batches",
    "batch batch_name state created_at finished_at jobs succeeded failed cancelled expired cut empty unfit",
)
_SCHEDULES = _view(
    "report_schedules",
    "schedule cron tz next_at paused_at documents answered failing last_fire_at last_state last_reason last_new last_changed "
    "last_retried last_reused last_gone last_failed last_cut last_empty last_unfit",
)


def batch_lines(conn: Connection, ids: Sequence[int], *, limit: int) -> list[dict[str, Any]]:
    """These batches, or the newest ``limit``; the newest first."""
    query = select(_BATCHES).order_by(_BATCHES.c.batch.desc())
    query = query.where(_BATCHES.c.batch.in_(ids)) if ids else query.limit(limit)
    return [dict(row) for row in conn.execute(query).mappings()]


def schedule_lines(conn: Connection) -> list[dict[str, Any]]:
    """Every schedule with the result of its last firing, by name."""
    query = select(_SCHEDULES).order_by(_SCHEDULES.c.schedule)
    return [dict(row) for row in conn.execute(query).mappings()]
