"""Opens and closes batches as their windows say. What runs then ends by itself; what is queued waits for the next one."""

from worker.clock import Clock
from worker.observability.events import emit
from worker.services.brake import withdraw
from worker.storage.engine import Database
from worker.storage.windows import turn_batch, turning_batches


def turn_windows(database: Database, *, clock: Clock) -> int:
    """Open and close what is to be by now; returns how many batches. Idempotent, by anyone."""
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
    return len(turning)
