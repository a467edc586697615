"""Lets parked jobs go."""

from worker.clock import Clock
from worker.observability.events import emit
from worker.storage.engine import Database
from worker.storage.jobs import unhold_jobs


def unhold_batch(database: Database, batch_id: int, *, clock: Clock) -> int:
    """Make the held jobs of a batch eligible again, as if nothing had befallen them; returns how many."""
    with database.write() as conn:
        jobs = unhold_jobs(conn, batch_id=batch_id, now=clock.now())
    emit("job.unheld", batch=batch_id, jobs=jobs)
    return jobs
