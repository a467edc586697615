"""Makes jobs eligible: retries whose delay is over, jobs of sealed batches, jobs whose predecessors have ended."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.observability.events import emit
from worker.storage.batches import promote_batch, promote_sealed
from worker.storage.engine import Database
from worker.storage.follows.settling import Settled, settle_followers
from worker.storage.jobs import promote_due

CHUNK = 1000
"""Jobs in one transaction."""
SPAN = 0.25
"""Seconds after which a pass promotes no further chunk: a host that rests is woken between two passes."""
ROUNDS = 200
"""Turns of a conversation that one pass ends at most, where the first of them failed."""


def promote(database: Database, clock: Clock) -> Counts:
    """Promote retries that are due and jobs of sealed batches, the most urgent batch first, for ``SPAN`` seconds."""
    now, until = clock.now(), clock.monotonic() + SPAN
    total = 0
    while True:
        with database.write() as conn:
            promoted = promote_due(conn, now=now, limit=CHUNK)
        with database.write() as conn:
            promoted += promote_sealed(conn, limit=CHUNK, now=now)
        total += promoted
        if not promoted or clock.monotonic() >= until:
            return {"promoted": total}


def promote_batches(
    database: Database, batch_ids: Iterable[int], clock: Clock, *, most: int | None = None
) -> int:
    """Make the jobs of these sealed batches eligible, in chunks, and no others: whoever submits does not work through
    somebody else's backlog. Should this process end between two chunks, the service continues; so it does where there are
    more than ``most``. Returns how many."""
    total = 0
    for batch_id in batch_ids:
        promoted = 1
        while promoted and (most is None or total < most):
            promoted = database.transact(
                partial(promote_batch, batch_id=batch_id, limit=CHUNK, now=clock.now())
            )
            total += promoted
    return total


def settle_waiting(database: Database, clock: Clock) -> Counts:
    """Promote or end the jobs that wait for jobs which have ended, and those that wait for these, at most ``ROUNDS``
    deep."""
    total = settle_rounds(database, now=clock.now())
    return {"promoted": total.promoted, "failed": total.failed, "cancelled": total.cancelled}


def settle_rounds(database: Database, *, now: datetime) -> Settled:
    """The same, at a time that the caller gives."""
    total = Settled()
    for _ in range(ROUNDS):
        with database.write() as conn:
            settled = settle_followers(conn, now=now)
        total += settled
        if not (settled.failed or settled.cancelled) and not settled.promoted:
            break
    if total.any:
        emit("job.followed", promoted=total.promoted, failed=total.failed, cancelled=total.cancelled)
    return total
