"""Gives every result that has none its number: in the tick, and by whoever wants to read on from one."""

from worker.storage.arrivals import has_fresh
from worker.storage.engine import Database
from worker.storage.rollups import number_results

AT_ONCE = 2000
"""Results that get their numbers in one transaction."""


def number_all(database: Database) -> int:
    """Number what is there; returns how many. Raises DatabaseUnavailable."""
    with database.read() as conn:
        if not has_fresh(conn):
            return 0
    total = 0
    while True:
        with database.write() as conn:
            numbered = number_results(conn, AT_ONCE)
        total += numbered
        if numbered < AT_ONCE:
            return total
