"""Ends a batch early: what waits is cancelled at once, what runs is flagged and its worker hangs up within seconds."""

from worker.clock import Clock
from worker.observability.events import emit
from worker.storage.batches import cancel_batch
from worker.storage.engine import Database
from worker.storage.jobs import CancelCounts


def cancel_batches(database: Database, batch_id: int, *, clock: Clock) -> CancelCounts:
    """Cancel one batch. Cancelling is final: a late answer of a running job is not stored."""
    with database.write() as conn:
        counts = cancel_batch(conn, batch_id, now=clock.now())
    emit("batch.cancelled", batch=batch_id, jobs=counts.cancelled + counts.asked)
    return counts
