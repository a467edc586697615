"""Opens and closes batches as their windows say. What runs then ends by itself; what is queued waits for the next one."""

from worker.clock import Clock
from worker.observability.events import emit
from worker.policy.windows import Windows, is_open
from worker.services.brake import withdraw
from worker.storage.engine import Database
from worker.storage.windows import set_batch_windows, turn_batch, turning_batches


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


def set_windows(database: Database, batch_id: int, windows: Windows | None, *, clock: Clock) -> None:
    """Other hours of a batch from now on, or none. What waits is taken back at once where they are closed, and what was
    kept back is promoted by the next tick where they are open. Raises NotFound."""
    with database.write() as conn:
        plain = None if windows is None else windows.plain
        set_batch_windows(conn, batch_id, plain, now=clock.now())
    if not is_open(windows, clock.now()):
        withdraw(database)
