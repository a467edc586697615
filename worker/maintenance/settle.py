"""Folds the changes of counts into their totals, and ends the batches whose jobs have all ended."""

from collections.abc import Collection

from worker.clock import Clock
from worker.maintenance.hold import hold_unservable
from worker.maintenance.service import Counts
from worker.storage.batches import finish_batches
from worker.storage.counts import fold_counts
from worker.storage.engine import Database

CHUNK = 50_000
"""Changes in one transaction."""


def fold(database: Database, clock: Clock) -> Counts:
    """Fold one chunk of changes."""
    with database.write() as conn:
        return {"folded": fold_counts(conn, limit=CHUNK)}


def settle_batches(database: Database, clock: Clock) -> Counts:
    """Finish the batches whose jobs have all ended."""
    with database.write() as conn:
        return {"finished": len(finish_batches(conn, now=clock.now()))}


def settle_one_batch(database: Database, clock: Clock, *, batch_id: int, hosts: Collection[str]) -> None:
    """What a command does at the end of its batch: park what none of its ``hosts`` can do, and finish what has ended."""
    fold(database, clock)
    settle_batches(database, clock)
    hold_unservable(database, clock=clock, among=hosts, batch_id=batch_id)
