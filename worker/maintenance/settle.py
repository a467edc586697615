"""Folds the changes of counts into their totals, and ends the batches whose jobs have all ended."""

from worker.clock import Clock
from worker.domain.jobs import JobState
from worker.maintenance.service import Counts
from worker.observability.events import emit
from worker.storage.batches import finish_batches
from worker.storage.counts import batch_progress, fold_counts
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
        finished = finish_batches(conn, now=clock.now())
        ended = [batch_progress(conn, batch) for batch in finished]
    for progress in ended:
        emit(
            "batch.finished",
            batch=progress.batch.id,
            name=progress.batch.name,
            jobs=progress.total,
            succeeded=progress.counts.get(JobState.SUCCEEDED, 0),
            failed=progress.counts.get(JobState.FAILED, 0),
        )
    return {"finished": len(finished)}


def settle(database: Database, clock: Clock) -> None:
    """What a command does at its end: the counts are right, and what has ended is finished."""
    fold(database, clock)
    settle_batches(database, clock)
