"""Opens and closes batches as their windows say. Running calls end by themselves; queued jobs wait for the next window."""

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit
from worker.policy.windows import Windows, is_open
from worker.storage.engine import Database
from worker.storage.windows import set_batch_windows, turn_batch, turning_batches


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


def set_windows(database: Database, batch_id: int, windows: Windows | None, *, clock: Clock) -> None:
    """Give a batch other hours from now on, or none. Where they are closed its queued jobs are withdrawn at once; where
    they are open the next pass promotes them. Raises NotFound."""
    with database.write() as conn:
        plain = None if windows is None else windows.plain
        set_batch_windows(conn, batch_id, plain, now=clock.now())
    if not is_open(windows, clock.now()):
        withdraw(database)
