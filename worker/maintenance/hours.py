"""Changes the hours of a batch."""

from worker.clock import Clock
from worker.maintenance.withdraw import withdraw
from worker.policy.windows import Windows, is_open
from worker.storage.engine import Database
from worker.storage.windows import set_batch_windows


def set_windows(database: Database, batch_id: int, windows: Windows | None, *, clock: Clock) -> None:
    """Give a batch other hours from now on, or none. Where they are closed its queued jobs are withdrawn at once; where
    they are open the next pass promotes them. Raises NotFound."""
    with database.write() as conn:
        plain = None if windows is None else windows.plain
        set_batch_windows(conn, batch_id, plain, now=clock.now())
    if not is_open(windows, clock.now()):
        withdraw(database)
