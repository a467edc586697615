"""Opens and closes batches as their windows say. Running calls end by themselves; queued jobs wait for the next window."""

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit
from worker.storage.engine import Database
from worker.storage.windows import turn_batch, turning_batches


def turn_windows(database: Database, clock: Clock) -> Counts:
    """Open and close the batches whose time it is."""
    now = clock.now()
    with database.read() as conn:
        turning = turning_batches(conn, now=now)
    for batch_id, closed in turning:
        with database.write() as conn:
            turn_batch(conn, batch_id, closed=closed)
        if closed:
            emit("window.closed", batch=batch_id, jobs=withdraw(database))
        else:
            emit("window.opened", batch=batch_id)
    closing = sum(closed for _, closed in turning)
    return {"closed": closing, "opened": len(turning) - closing}
