"""Takes the queued jobs of batches that are paused, or closed by their window, out of the queue."""

from collections.abc import Callable

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.storage.engine import Database
from worker.storage.pauses import withdraw_paused

CHUNK = 5000
"""Jobs in one transaction."""
LONGEST_PASS = 1.0
"""Seconds of one pass of the service."""


def withdraw(database: Database, *, go_on: Callable[[], bool] = lambda: True) -> int:
    """Withdraw all of them, in chunks, as long as ``go_on`` says so; returns how many jobs. Idempotent."""
    total = 0
    while True:
        jobs = database.transact(lambda conn: withdraw_paused(conn, limit=CHUNK))
        total += jobs
        if jobs == 0 or not go_on():
            return total


def withdraw_again(database: Database, clock: Clock) -> Counts:
    """The service: what came back to the queue after its batch was paused."""
    until = clock.monotonic() + LONGEST_PASS
    return {"withdrawn": withdraw(database, go_on=lambda: clock.monotonic() < until)}
