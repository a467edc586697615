"""What waits, per runner key and priority? By jumping along the claim index: the cost does not grow with the queue."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from worker.domain.backlog import Waiting
from worker.domain.jobs import Priority
from worker.storage.ids import id_range
from worker.storage.tables import jobs, served

BACKLOG = """
WITH RECURSIVE keys(runner_key) AS (
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' ORDER BY runner_key LIMIT 1)
  UNION ALL
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' AND runner_key > keys.runner_key
          ORDER BY runner_key LIMIT 1)
  FROM keys WHERE keys.runner_key IS NOT NULL
)
SELECT keys.runner_key, tiers.priority,
       (SELECT id FROM jobs WHERE state = 'queued' AND runner_key = keys.runner_key
        AND priority = tiers.priority AND id >= :low AND id < :high ORDER BY id LIMIT 1) AS oldest
FROM keys, (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS tiers
WHERE keys.runner_key IS NOT NULL
"""
"""A skip-scan: one index probe per runner key and priority. The oldest job is null where there is none."""

_BACKLOG = text(BACKLOG)

_QUEUED = "SELECT runner_key, priority, jobs FROM {table} WHERE state = 'queued'{batch}"


def _totals(batch: str) -> str:
    both = " UNION ALL ".join(
        _QUEUED.format(table=table, batch=batch) for table in ("counts", "count_deltas")
    )
    return f"SELECT runner_key, priority, sum(jobs) FROM ({both}) AS both_ GROUP BY runner_key, priority"


_TOTALS = text(_totals(""))
_BATCH_TOTALS = text(_totals(" AND batch_id = :batch"))


def read_backlog(conn: Connection, *, now: datetime, batch_id: int | None = None) -> list[Waiting]:
    """Queued work by runner key and priority, of one batch where ``batch_id`` is given.

    Rows that exist count for at least one job, whatever the totals say.
    """
    found = {row.oldest: row for row in conn.execute(_BACKLOG, id_range(batch_id)) if row.oldest is not None}
    if not found:
        return []
    counted = conn.execute(_TOTALS) if batch_id is None else conn.execute(_BATCH_TOTALS, {"batch": batch_id})
    totals = {(key, priority): int(n) for key, priority, n in counted}
    last = {(key, priority): at for key, priority, at in conn.execute(select(served))}
    j = jobs.c
    oldest = conn.execute(select(j.id, j.model, j.eligible_at, j.submitted_at).where(j.id.in_(sorted(found))))
    waiting = [
        Waiting(
            runner_key=found[job].runner_key,
            model=model,
            priority=Priority(found[job].priority),
            jobs=max(1, totals.get((found[job].runner_key, found[job].priority), 1)),
            oldest_at=min(eligible or submitted, now),
            served_at=last.get((found[job].runner_key, found[job].priority)),
        )
        for job, model, eligible, submitted in oldest
    ]
    return sorted(waiting, key=lambda row: (row.runner_key, row.priority))
