"""Ends the jobs whose deadline passed before they were started, where their producer asked for that."""

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.storage.engine import Database
from worker.storage.jobs import expire_due

CHUNK = 5000
"""Jobs in one transaction."""


def expire(database: Database, clock: Clock) -> Counts:
    """Expire one chunk of each state."""
    with database.write() as conn:
        return {"expired": expire_due(conn, now=clock.now(), limit=CHUNK)}
