"""What waits, per runner key and priority? By jumping along the claim index: the cost does not grow with the queue."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.domain.backlog import Waiting
from worker.domain.jobs import Priority
from worker.storage.types import UtcTime

BACKLOG = """
WITH RECURSIVE keys(runner_key) AS (
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' ORDER BY runner_key LIMIT 1)
  UNION ALL
  SELECT (SELECT runner_key FROM jobs WHERE state = 'queued' AND runner_key > keys.runner_key
          ORDER BY runner_key LIMIT 1)
  FROM keys WHERE keys.runner_key IS NOT NULL
),
oldest AS (
  SELECT keys.runner_key AS runner_key, tiers.priority AS priority,
         (SELECT id FROM jobs WHERE state = 'queued' AND runner_key = keys.runner_key
          AND priority = tiers.priority ORDER BY id LIMIT 1) AS id
  FROM keys, (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS tiers
  WHERE keys.runner_key IS NOT NULL
)
SELECT oldest.runner_key, jobs.model, oldest.priority, jobs.eligible_at, jobs.submitted_at, served.at
FROM oldest JOIN jobs ON jobs.id = oldest.id
LEFT JOIN served ON served.runner_key = oldest.runner_key AND served.priority = oldest.priority
ORDER BY oldest.runner_key, oldest.priority
"""
"""A skip-scan: one index probe per runner key and priority that has work."""

_BACKLOG = text(BACKLOG).columns(eligible_at=UtcTime, submitted_at=UtcTime, at=UtcTime)

_TOTALS = text(
    "SELECT runner_key, priority, sum(jobs) FROM ("
    "SELECT runner_key, priority, jobs FROM counts WHERE state = 'queued' "
    "UNION ALL SELECT runner_key, priority, jobs FROM count_deltas WHERE state = 'queued') AS both_ "
    "GROUP BY runner_key, priority"
)


def read_backlog(conn: Connection, *, now: datetime) -> list[Waiting]:
    """Queued work by runner key and priority. Rows that exist count for at least one job, whatever the totals say."""
    rows = conn.execute(_BACKLOG).all()
    if not rows:
        return []
    totals = {(key, priority): int(jobs) for key, priority, jobs in conn.execute(_TOTALS)}
    return [
        Waiting(
            runner_key=key,
            model=model,
            priority=Priority(priority),
            jobs=max(1, totals.get((key, priority), 1)),
            oldest_at=min(eligible or submitted, now),
            served_at=served,
        )
        for key, model, priority, eligible, submitted, served in rows
    ]
