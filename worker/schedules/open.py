"""Which schedules are due? Each time comes to one firing, whatever number of ticks and beats look. Reads no document."""

from datetime import datetime
from functools import partial

from worker.clock import Clock
from worker.domain.schedules import Firing, FiringState, Schedule
from worker.errors import Conflict
from worker.maintenance.service import each
from worker.observability.events import emit
from worker.policy.schedules import Fate, due, fate
from worker.policy.zones import zone_of
from worker.storage.engine import Connection, Database
from worker.storage.firings import let_begin, open_firing, open_firings
from worker.storage.notices import promise_of_firing
from worker.storage.schedules import due_schedules, get_schedule, lock_schedule, move_on


def open_due(database: Database, *, clock: Clock) -> int:
    """Open the firings whose time has come; returns how many. A short transaction for each schedule that is due."""
    now = clock.now()
    with database.read() as conn:
        names = due_schedules(conn, now=now)
    return each(names, lambda name: int(_open(database, name, now)), name=lambda name: f"schedule {name}")


def _open(database: Database, name: str, now: datetime) -> bool:
    firing = database.transact(partial(_open_locked, name=name, now=now))
    if firing is None:
        return False
    emit("schedule.due", schedule=name, fire_at=firing.fire_at.isoformat(), state=str(firing.state))
    return True


def _open_locked(conn: Connection, name: str, now: datetime) -> Firing | None:
    schedule = lock_schedule(conn, name)
    if schedule is None or schedule.paused_at is not None or schedule.next_at is None:
        return None
    spec = schedule.spec
    firings = due(spec.cron, zone_of(spec.tz), next_at=schedule.next_at, now=now, misfire=spec.misfire)
    if firings.next_at == schedule.next_at:
        return None  # somebody else was faster
    move_on(conn, schedule.id, next_at=firings.next_at)
    if firings.skipped_at is not None:
        message = f"missed: nobody began it in time, and misfire is skip ({firings.missed} in all)"
        skipped = open_firing(
            conn,
            schedule,
            firings.skipped_at,
            state=FiringState.SKIPPED,
            now=now,
            missed=firings.missed,
            reason=message,
        )
        if skipped is not None:
            promise_of_firing(conn, skipped.id, spec.addressees, now=now)
    if firings.fire_at is None:
        return None
    firing = _begin(conn, schedule, firings.fire_at, now=now, missed=firings.missed)
    if firing is not None and firing.state is FiringState.SKIPPED:
        promise_of_firing(conn, firing.id, spec.addressees, now=now)
    return firing


def _begin(
    conn: Connection,
    schedule: Schedule,
    fire_at: datetime,
    *,
    now: datetime,
    missed: int = 0,
    by_hand: bool = False,
) -> Firing | None:
    unfinished = open_firings(conn, schedule.id)
    queued = sum(other.state is FiringState.QUEUED for other in unfinished)
    match fate(schedule.spec.overlap, unfinished=len(unfinished), queued=queued):
        case Fate.BEGIN:
            state, reason = FiringState.DUE, None
        case Fate.QUEUE:
            state, reason = FiringState.QUEUED, None
        case Fate.REFUSE:
            first = unfinished[0]
            message = f"the firing of {first.fire_at:%Y-%m-%d %H:%M} UTC has not ended"
            batch = "" if first.batch_id is None else f": caravan explain {first.batch_id}"
            state, reason = FiringState.SKIPPED, f"{message}{batch}"
    return open_firing(
        conn, schedule, fire_at, state=state, now=now, missed=missed, by_hand=by_hand, reason=reason
    )


def fire_now(database: Database, name: str, *, clock: Clock) -> Firing:
    """A firing beside those of its times. Raises NotFound; Conflict where an earlier one has not ended."""
    firing = database.transact(partial(_fire_locked, name=name, now=clock.now()))
    if firing is None:
        raise Conflict(f"schedule {name} fires at this very moment")
    emit("schedule.due", schedule=name, fire_at=firing.fire_at.isoformat(), state=str(firing.state))
    return firing


def _fire_locked(conn: Connection, name: str, now: datetime) -> Firing | None:
    schedule = lock_schedule(conn, name)
    if schedule is None:
        get_schedule(conn, name)  # which says that there is none
    assert schedule is not None
    firing = _begin(conn, schedule, now, now=now, by_hand=True)
    if firing is not None and firing.state is FiringState.SKIPPED:
        raise Conflict(f"schedule {name} cannot fire now: {firing.reason}")
    return firing


def begin_queued(database: Database) -> int:
    """Firings that waited for an earlier one of their schedule which has ended; returns how many."""
    with database.read() as conn:
        unfinished = open_firings(conn)
    begun, seen = 0, set()
    for firing in unfinished:  # by schedule, the oldest first
        if firing.schedule_id not in seen and firing.state is FiringState.QUEUED:
            begun += database.transact(partial(let_begin, firing_id=firing.id))
        seen.add(firing.schedule_id)
    return begun
