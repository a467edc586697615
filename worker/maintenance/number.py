"""Gives every result that has none its number: periodically, and for readers that continue from one."""

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.storage.arrivals import has_fresh
from worker.storage.engine import Database
from worker.storage.rollups import fresh_job_ids, number_jobs, take_in_older

CHUNK = 2000
"""Results that get their numbers in one transaction."""
PAGE = 50 * CHUNK
"""Results whose order is worked out at once: sorting all of them for each chunk would be quadratic."""


def number(database: Database, clock: Clock) -> Counts:
    """The service."""
    return {"numbered": number_all(database)}


def number_all(database: Database) -> int:
    """Number the results that have none, the oldest first; returns how many. Raises DatabaseUnavailable."""
    with database.read() as conn:
        if not has_fresh(conn):
            return 0
    total = 0
    while True:
        with database.write() as conn:
            take_in_older(conn, PAGE)
        with database.read() as conn:
            ids = fresh_job_ids(conn, limit=PAGE)
        for start in range(0, len(ids), CHUNK):
            with database.write() as conn:
                total += number_jobs(conn, ids[start : start + CHUNK])
        if len(ids) < PAGE:
            return total
