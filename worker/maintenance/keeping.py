"""Which batches' texts have to go, and how they go without holding anybody up; and what a producer wants deleted.

In chunks, each a short transaction, and as long a rest after each as it took: whoever claims or finishes gets in
between.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial

from worker.clock import Clock
from worker.domain.batches import SETTLED
from worker.domain.keeping import Ended
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import Conflict
from worker.maintenance.actions import begin
from worker.maintenance.number import number_all
from worker.maintenance.operate import WAIT_RUNNING, Rest, pause, run_operation
from worker.observability.events import emit
from worker.records import record
from worker.storage import keeping as storage
from worker.storage.actions import each_batch
from worker.storage.batches import cancel_batch, get_batch
from worker.storage.copy import nobody_serves
from worker.storage.engine import Database
from worker.storage.keeping import (
    close_pruned,
    count_marked,
    count_there,
    ended_batches,
    give_back,
    leave_no_trace,
    prune_some,
    room,
)
from worker.storage.operations import open_operation

CHUNK = 500
"""Jobs in one transaction."""
PAGES = 500
"""Pages that are cut off an SQLite file in one transaction."""
MOST_BATCHES = 500
"""Due batches that one pass of the chores reads: more of them than it can prune."""
LONGEST_PASS = 2.0
"""Seconds that one pass of the chores may prune."""


@record
class Gone:
    """What is no longer there."""

    jobs: int = 0
    batches: tuple[int, ...] = ()
    """Those of which nothing is there any more."""
    remaining: int = 0
    """Batches that are due and had to wait for the next pass."""


@record
class ToPrune:
    """Batches whose texts are to go."""

    batches: tuple[Ended, ...]
    jobs: int

    @property
    def ids(self) -> list[int]:
        return [batch.batch_id for batch in self.batches]


# -- prune ------------------------------------------------------------------------------------------------------------


def due_batches(
    database: Database, *, clock: Clock, default: timedelta | None, older_than: timedelta | None = None
) -> ToPrune:
    """Batches that have been kept for long enough: as each says, ``default`` where it says nothing; or those that ended
    longer ago than ``older_than``."""
    with database.read() as conn:
        due = storage.due_batches(conn, now=clock.now(), default=default, older_than=older_than)
        return ToPrune(tuple(due), count_there(conn, [batch.batch_id for batch in due]))


def named_batches(database: Database, batch_ids: Collection[int]) -> ToPrune:
    """These batches. Raises Conflict for one that is not over; NotFound."""
    with database.read() as conn:
        for batch_id in batch_ids:
            batch = get_batch(conn, batch_id)
            if batch.state not in SETTLED:
                raise Conflict(
                    f"batch {batch.id} ({batch.name}) is {batch.state}: only what is over can be pruned; "
                    f"caravan delete {batch.id} cancels it first"
                )
        chosen = ended_batches(conn, batch_ids)
        return ToPrune(tuple(chosen), count_there(conn, [batch.batch_id for batch in chosen]))


def prune(
    database: Database,
    batch_ids: Sequence[int],
    *,
    clock: Clock,
    rest: Rest = pause,
    most_seconds: float | None = None,
) -> Gone:
    """Forget the jobs of these batches, as far as they are over; their rows stay, with what was counted.

    What is not done after ``most_seconds`` is left; nothing is lost by a pass that was interrupted.
    """
    began = clock.monotonic()
    number_all(database)  # what it comes to is counted before it goes
    total = 0
    closed: list[int] = []
    for place, batch_id in enumerate(batch_ids):
        after: int | None = 0
        while after is not None:
            at = clock.monotonic()
            if most_seconds is not None and at - began > most_seconds:
                return Gone(total, tuple(closed), len(batch_ids) - place)
            forgotten = database.transact(partial(prune_some, batch_id=batch_id, after=after, limit=CHUNK))
            total, after = total + forgotten.jobs, forgotten.after
            rest(clock.monotonic() - at)
        with database.write() as conn:
            if close_pruned(conn, batch_id, now=clock.now()):
                closed.append(batch_id)
    if closed:
        emit("batch.pruned", batches=closed, jobs=total)
    return Gone(total, tuple(closed))


def prune_due(database: Database, *, clock: Clock, default: timedelta | None, rest: Rest = pause) -> int:
    """One pass of the chores: forget some of what has been kept for long enough; how many jobs."""
    with database.read() as conn:
        due = storage.due_batches(conn, now=clock.now(), default=default, limit=MOST_BATCHES)
    if not due:
        return 0
    ids = [batch.batch_id for batch in due]
    gone = prune(database, ids, clock=clock, rest=rest, most_seconds=LONGEST_PASS)
    if not gone.remaining:
        give_room_back(database, clock=clock, rest=rest, most_seconds=LONGEST_PASS)
    return gone.jobs


def give_room_back(
    database: Database, *, clock: Clock, rest: Rest = pause, most_seconds: float | None = None
) -> int:
    """Make an SQLite file as small as it can be made in steps; by how many bytes."""
    began = clock.monotonic()
    before = left = room(database)
    while left is not None and left.by_itself and left.free:
        at = clock.monotonic()
        if most_seconds is not None and at - began > most_seconds:
            break
        give_back(database, pages=PAGES)
        rest(clock.monotonic() - at)
        then = room(database)
        if then is None or then.free >= left.free:
            break
        left = then
    return 0 if before is None or left is None else before.whole - left.whole


def compact(database: Database, *, clock: Clock) -> int:
    """Write an SQLite file again; by how many bytes it is smaller. Raises Conflict while a host is served, and where the
    database is no file."""
    if room(database) is None:
        raise Conflict(
            "caravan db compact is for SQLite. PostgreSQL reuses free space; VACUUM FULL returns it, and locks each table"
        )
    with database.read() as conn:
        nobody_serves(conn, now=clock.now())
    return storage.compact(database)


# -- delete -----------------------------------------------------------------------------------------------------------


def count_deletable(database: Database, chosen: Sequence[Selection]) -> int:
    """Jobs that ``delete_jobs`` would forget."""
    with database.read() as conn:
        return sum(count_marked(conn, selection) for selection in chosen)


def delete_jobs(
    database: Database,
    chosen: Sequence[Selection],
    *,
    clock: Clock,
    rest: Rest = pause,
    wait: float = WAIT_RUNNING,
    principal: str | None = None,
) -> Gone:
    """Forget these jobs, each filter a batch: their requests and results. What waits or runs is cancelled first,
    and a whole batch at once. Their rows follow in chunks, which the service ``operations`` continues should this process
    end.

    A job that still runs after ``wait`` seconds goes all the same: what its worker sends then finds no job, and so does
    what lies in a spool. What was counted stays. Raises NotFound; Conflict where another operation goes on with the batch
    of some jobs.
    """
    number_all(database)  # what it comes to is counted before it goes
    total = 0
    closed: list[int] = []
    for part in (part for selection in chosen for part in each_batch(selection)):
        assert part.batch_id is not None
        with database.read() as conn:
            goes_on = open_operation(conn, part.batch_id)
            was_closed = get_batch(conn, part.batch_id).pruned_at is not None
        if goes_on is not None and goes_on.verb is Verb.REFUSE:
            run_operation(database, goes_on.id, clock=clock, rest=rest)
        operation = _begin_delete(database, part, clock, principal)
        if operation.ended_at is None:
            operation = run_operation(database, operation.id, clock=clock, rest=rest, wait=wait)
        total += operation.done
        with database.read() as conn:
            if get_batch(conn, part.batch_id).pruned_at is not None and not was_closed:
                closed.append(part.batch_id)
    if total:
        leave_no_trace(database)
    return Gone(total, tuple(closed))


def _begin_delete(database: Database, chosen: Selection, clock: Clock, principal: str | None) -> Operation:
    batch, now = chosen.batch_id, clock.now()
    assert batch is not None
    if chosen.whole_batch:
        return database.transact(
            lambda conn: cancel_batch(conn, batch, now=now, verb=Verb.DELETE, principal=principal)
        )
    with database.read() as conn:
        total = count_marked(conn, chosen)
    operation = Operation(0, batch, Verb.DELETE, total, now, selection=chosen, principal=principal)
    return begin(database, operation, clock)
