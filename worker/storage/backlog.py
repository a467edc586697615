"""What waits, per runner key and priority? By jumping along the claim index: the cost does not grow with the queue."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import Connection

from worker.domain.backlog import Waiting
from worker.domain.jobs import Priority
from worker.storage.ids import id_range
from worker.storage.operations import OPERATING, free_ranges
from worker.storage.tables import served as served_rows
from worker.storage.types import UtcTime

BACKLOG = """
WITH RECURSIVE keys(runner_key) AS (
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' ORDER BY runner_key LIMIT 1)
  UNION ALL
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' AND runner_key > keys.runner_key
          ORDER BY runner_key LIMIT 1)
  FROM keys WHERE keys.runner_key IS NOT NULL
), firsts AS MATERIALIZED (
SELECT keys.runner_key, tiers.priority,
       coalesce((SELECT id FROM jobs WHERE state = 'queued' AND runner_key = keys.runner_key
        AND priority = tiers.priority AND expires = false AND prefix_group >= :low AND prefix_group < :high
        ORDER BY prefix_group, id LIMIT 1),
       (SELECT id FROM jobs WHERE state = 'queued' AND deadline IS NOT NULL AND runner_key = keys.runner_key
        AND priority = tiers.priority AND expires = true AND deadline > :now
        AND prefix_group >= :low AND prefix_group < :high ORDER BY deadline, prefix_group, id LIMIT 1)) AS oldest
FROM keys, (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS tiers
WHERE keys.runner_key IS NOT NULL
)
SELECT f.runner_key, f.priority, f.oldest, (SELECT model FROM jobs WHERE id = f.oldest) AS model,
       (SELECT coalesce(eligible_at, submitted_at) FROM jobs WHERE id = f.oldest) AS since,
       (SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs g WHERE g.state = 'queued' AND g.runner_key = j.runner_key
         AND g.priority = j.priority AND g.expires = j.expires AND g.prefix_group = j.prefix_group LIMIT 64) AS alike_)
        FROM jobs j WHERE j.id = f.oldest) AS alike,
       EXISTS (SELECT 1 FROM operations WHERE ended_at IS NULL AND stops) AS stopped
FROM firsts AS f
WHERE f.oldest IS NOT NULL OR EXISTS (SELECT 1 FROM operations WHERE ended_at IS NULL AND stops)
"""
"""A skip-scan: two index probes per runner key and priority. Of those without a job, or all of whose jobs have expired,
there is no row, unless an operation stops some jobs: it has to be known then even where nothing waits. A join would
make PostgreSQL read all jobs: it cannot know how few rows come."""

_BACKLOG = text(BACKLOG).bindparams(bindparam("now", type_=UtcTime)).columns(since=UtcTime)

_QUEUED = f"SELECT runner_key, priority, jobs FROM {{table}} WHERE state = 'queued' AND batch_id NOT IN ({OPERATING}){{batch}}"


def _totals(batch: str) -> str:
    both = " UNION ALL ".join(
        _QUEUED.format(table=table, batch=batch) for table in ("counts", "count_deltas")
    )
    return f"SELECT runner_key, priority, sum(jobs) FROM ({both}) AS both_ GROUP BY runner_key, priority"


_TOTALS = text(_totals(""))
_BATCH_TOTALS = text(_totals(" AND batch_id = :batch"))


_WORK = text(
    "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued') OR EXISTS (SELECT 1 FROM jobs WHERE state = 'running')"
)


def has_work(conn: Connection) -> bool:
    """Whether any job waits for a host or runs. Two probes of an index."""
    return bool(conn.scalar(_WORK))


_Figures = tuple[str, datetime, int, int, datetime | None]
BacklogCache = dict[tuple[str, int], tuple[_Figures, Waiting]]
"""(Runner key, priority) → what it was made of at the last read, and what was made."""


def read_backlog(
    conn: Connection,
    *,
    now: datetime,
    batch_id: int | None = None,
    served: Mapping[tuple[str, int], datetime] | None = None,
    cache: BacklogCache | None = None,
) -> list[Waiting]:
    """Queued work by runner key and priority, of one batch where ``batch_id`` is given. Jobs of a batch that is being
    cancelled or deleted do not count.

    Rows that exist count for at least one job, whatever the totals say. ``served`` is what ``served_at`` gives, where the
    caller has read it already. ``cache`` is brought up to date: what did not change is the same object as before.
    """
    rows = conn.execute(_BACKLOG, {"now": now, **id_range(batch_id)}).all()
    if rows and rows[0].stopped:
        ranges = free_ranges(conn, batch_id)
        rows = [
            row
            for low, high in ranges
            for row in conn.execute(_BACKLOG, {"now": now, "low": low, "high": high})
        ]
    firsts: dict[tuple[str, int], tuple[str, datetime, int]] = {}
    for key, priority, oldest, model, since, alike, _ in rows:
        if oldest is not None:
            firsts.setdefault((key, priority), (model, since, alike))
    if not firsts:
        return []
    counted = conn.execute(_TOTALS) if batch_id is None else conn.execute(_BATCH_TOTALS, {"batch": batch_id})
    totals = {(key, priority): int(n) for key, priority, n in counted.all()}
    last = served_at(conn) if served is None else served
    before = {} if cache is None else dict(cache)
    current: BacklogCache = {}
    for of, (model, since, alike) in sorted(firsts.items()):
        figures = (model, min(since, now), alike, totals.get(of, 1), last.get(of))
        entry = before.get(of)
        current[of] = (figures, _waiting(of, figures)) if entry is None or entry[0] != figures else entry
    if cache is not None:
        cache.clear()
        cache.update(current)
    return [waiting for _, waiting in current.values()]


def _waiting(of: tuple[str, int], figures: _Figures) -> Waiting:
    model, oldest_at, alike, jobs, served = figures
    return Waiting(
        runner_key=of[0],
        model=model,
        priority=_PRIORITIES[of[1]],
        jobs=max(1, jobs),
        oldest_at=oldest_at,
        group=max(1, alike),
        served_at=served,
    )


_PRIORITIES = {priority.value: priority for priority in Priority}
_SERVED = select(served_rows.c.runner_key, served_rows.c.priority, served_rows.c.at)


def served_at(conn: Connection) -> dict[tuple[str, int], datetime]:
    """(runner key, priority) → when one of them was last claimed, by any host."""
    rows = conn.execute(_SERVED)
    return {(key, priority): at for key, priority, at in rows.all()}


MOST_DUE = 8
"""Groups of deadlines that are distinguished for a runner key."""

_DUE = (
    text(
        "SELECT runner_key, deadline, count(*) AS jobs FROM jobs WHERE state = 'queued' AND deadline IS NOT NULL "
        "AND NOT (expires AND deadline <= :now) "
        f"AND batch_id NOT IN ({OPERATING}) "
        "AND prefix_group >= :low AND prefix_group < :high "
        "GROUP BY runner_key, deadline ORDER BY runner_key, deadline"
    )
    .bindparams(bindparam("now", type_=UtcTime))
    .columns(deadline=UtcTime)
)


def read_due(
    conn: Connection, *, now: datetime, batch_id: int | None = None
) -> dict[str, list[tuple[datetime, int]]]:
    """Queued jobs that have a deadline, by runner key: (deadline, jobs), the earliest first, at most ``MOST_DUE``.

    Neighbours are put together under the earlier deadline. Counts rows: 0.1 s for 500,000 of them; not for each choice.
    """
    due: dict[str, list[tuple[datetime, int]]] = {}
    for key, deadline, number in conn.execute(_DUE, {"now": now, **id_range(batch_id)}):
        due.setdefault(key, []).append((deadline, int(number)))
    return {key: _grouped(dated) for key, dated in due.items()}


def _grouped(dated: list[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """The same jobs in at most ``MOST_DUE`` groups, each under the earliest deadline in it."""
    each = -(-len(dated) // MOST_DUE)
    return [
        (dated[start][0], sum(jobs for _, jobs in dated[start : start + each]))
        for start in range(0, len(dated), each)
    ]
