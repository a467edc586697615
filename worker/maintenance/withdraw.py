"""Takes the queued jobs of batches that are paused, or closed by their window, out of the queue."""

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.storage.engine import Database
from worker.storage.pauses import withdraw_paused

CHUNK = 20_000
"""Jobs in one transaction."""


def withdraw(database: Database) -> int:
    """Withdraw all of them, in chunks; returns how many jobs. Idempotent."""
    total = 0
    while True:
        with database.write() as conn:
            jobs = withdraw_paused(conn, limit=CHUNK)
        if jobs == 0:
            return total
        total += jobs


def withdraw_again(database: Database, clock: Clock) -> Counts:
    """The service: what came back to the queue after its batch was paused."""
    return {"withdrawn": withdraw(database)}
