"""The work that waits, per runner key and priority."""

from datetime import datetime

from worker.domain.jobs import Priority
from worker.records import record


@record
class Waiting:
    """Queued jobs of one runner key at one priority."""

    runner_key: str
    model: str
    """Normalised name."""
    priority: Priority
    jobs: int
    """At least 1. May lag behind by what was claimed since the last fold, never 0 while a row exists."""
    oldest_at: datetime
    """When the oldest of them became eligible."""
    group: int = 1
    """Jobs of the first of them that begin alike, itself included; 64 at most."""
    served_at: datetime | None = None
    """When one of this key and priority was last claimed, by any host."""
