"""The regular pass, idempotent and by anyone: end stale leases, promote what became eligible, settle batches."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.clock import Clock
from worker.domain.backlog import Waiting
from worker.domain.hosts import Health, HostView
from worker.domain.runners import RunnerKey, concrete
from worker.errors import Code
from worker.observability.events import emit
from worker.services.brake import withdraw
from worker.services.keeping import prune_due
from worker.services.numbers import number_all
from worker.services.schedules.open import open_due
from worker.services.search import index_texts
from worker.services.windows import turn_windows
from worker.storage.backlog import read_backlog
from worker.storage.batches import finish_batches, promote_sealed
from worker.storage.claims import Rescued, rescue_stale
from worker.storage.counts import fold_counts
from worker.storage.engine import Database
from worker.storage.follows import Settled, settle_followers
from worker.storage.hosts import failing_keys, host_views
from worker.storage.jobs import expire_due, hold_jobs, promote_due
from worker.storage.pulses import read_pulses, record_pulse

CHUNK = 5000
ROUNDS = 200
"""Of a conversation that is given up, that many turns in one tick."""
LOADS_TRIED = 3
"""Failed loads in a row on each host that has the model, after which its jobs are parked."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one pass changed."""

    rescued: int = 0
    promoted: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Tidied:
    """What the chores changed."""

    finished: int = 0
    folded: int = 0
    held: int = 0
    pruned: int = 0
    searchable: int = 0


def tick(database: Database, *, clock: Clock, lease: float | None = None) -> Ticked:
    """Rescue, promote, expire: what somebody may be waiting for. Each in a transaction of its own.

    With ``lease`` (seconds) nothing is rescued for that long after the database was away: nobody could renew then, and
    the workers that are alive have to get their turn first. Without, stale leases are ended at once.
    """
    now = clock.now()
    rescued = Rescued()
    if lease is None or _leases_could_be_renewed(database, now, timedelta(seconds=lease)):
        with database.write() as conn:
            rescued = rescue_stale(conn, now=now)
    if rescued.retried or rescued.held or rescued.cancelled:
        emit("job.rescued", retried=rescued.retried, held=rescued.held, cancelled=rescued.cancelled)
    promoted = expired = 0
    turn_windows(database, clock=clock)
    open_due(database, clock=clock)
    withdraw(database)  # what came back to the queue after its batch was paused
    promoted += settle_waiting(database, now=now).promoted
    with database.write() as conn:
        promoted += promote_due(conn, now=now, limit=CHUNK)
    with database.write() as conn:
        promoted += promote_sealed(conn, limit=CHUNK, now=now)
    with database.write() as conn:
        expired += expire_due(conn, now=now, limit=CHUNK)
    number_all(database)
    done = Ticked(rescued.retried + rescued.held + rescued.cancelled, promoted, expired)
    if done != Ticked():
        emit("tick.done", rescued=done.rescued, promoted=promoted, expired=expired, finished=0)
    return done


def settle_waiting(database: Database, *, now: datetime) -> Settled:
    """Let go, or end, what waits for jobs that have ended, and what waits for those, at most ``ROUNDS`` deep."""
    total = Settled()
    for _ in range(ROUNDS):
        with database.write() as conn:
            done = settle_followers(conn, now=now)
        total += done
        if not (done.failed or done.cancelled) and not done.promoted:
            break
    if total.any:
        emit("job.followed", promoted=total.promoted, failed=total.failed, cancelled=total.cancelled)
    return total


def _leases_could_be_renewed(database: Database, now: datetime, lease: timedelta) -> bool:
    """Whether ticks have come through without a gap for as long as a lease holds.

    The database remembers it, not the process: a call that hung in a silent network raises nothing, and who starts anew
    does not know since when nobody could renew. ``now`` was read before, so that a tick which hangs here, or after,
    goes by the time before the gap.
    """
    with database.write() as conn:
        seen = read_pulses(conn).get(RENEWABLE)
        since = now
        if seen is not None and now - seen.at <= lease / 3:
            since = datetime.fromisoformat(str(seen.detail["since"]))
        record_pulse(conn, RENEWABLE, now=now, detail={"since": since.isoformat()})
    return now - since >= lease


RENEWABLE = "renewable"
"""The pulse that tells since when leases could be renewed."""


def tidy(
    database: Database,
    *,
    clock: Clock,
    among: Collection[str] | None = None,
    batch_id: int | None = None,
    keep: timedelta | None = None,
) -> Tidied:
    """Chores that nobody waits for: fold counts, settle finished batches, park what no host can serve, prune what was
    kept for long enough (``keep`` for batches that say nothing else), take in what can be searched.

    ``among`` names the hosts that count, all of the database's where it is None; with ``batch_id`` only jobs of that
    batch are parked.
    """
    now = clock.now()
    with database.write() as conn:
        folded = fold_counts(conn, limit=10 * CHUNK)
    with database.write() as conn:
        finished = len(finish_batches(conn, now=now))
    held = hold_unservable(database, clock=clock, among=among, batch_id=batch_id)
    pruned = prune_due(database, clock=clock, default=keep)
    # a run works on its own batch; who searches takes in what is left
    taken = index_texts(database, clock=clock) if batch_id is None else 0
    return Tidied(finished, folded, held, pruned, taken)


def hold_unservable(
    database: Database, *, clock: Clock, among: Collection[str] | None = None, batch_id: int | None = None
) -> int:
    """Park the jobs that none of the hosts (of those named in ``among``) can do: none has their model, or it failed to
    load ``LOADS_TRIED`` times in a row on each that has it.

    A host that was never looked at may have any model, so nothing is parked while there is one.
    """
    now = clock.now()
    with database.read() as conn:
        views = [view for view in host_views(conn, now) if among is None or view.name in among]
        backlog = read_backlog(conn, now=now, batch_id=batch_id)
        failing = failing_keys(conn, now, failures=LOADS_TRIED) if backlog else {}
    if not views or any(not view.looked for view in views):
        return 0
    held = 0
    for waiting in backlog:
        found = _unservable(views, waiting, failing)
        if found is None:
            continue
        code, reason = found
        with database.write() as conn:
            jobs = hold_jobs(
                conn,
                runner_key=waiting.runner_key,
                code=code,
                reason=reason,
                batch_id=batch_id,
                limit=CHUNK,
            )
        if jobs:
            emit("job.held", runner_key=waiting.runner_key, jobs=jobs, code=code)
        held += jobs
    return held


def _unservable(
    views: Collection[HostView], waiting: Waiting, failing: Mapping[tuple[str, str], str]
) -> tuple[Code, str] | None:
    """Why no host can do this work, or None."""
    having = [view.name for view in views if waiting.model in view.models]
    if not having:
        names = ", ".join(sorted(view.name for view in views))
        told = f"no host has {waiting.model} (looked at {names}); pull it there, then unhold"
        return Code.MODEL_MISSING, told
    loaded = concrete(RunnerKey.parse(waiting.runner_key)).text
    reasons = [failing.get((host, loaded)) for host in having]
    if any(reason is None for reason in reasons):
        return None
    written = str(reasons[0])
    code = written.partition(":")[0]
    told = f"{waiting.runner_key} does not load on {', '.join(having)}, tried {LOADS_TRIED} times: {written}; then unhold"
    return (Code(code) if code in set(Code) else Code.LOAD_FAILED), told


def hosts_to_wake(database: Database, *, clock: Clock) -> list[str]:
    """Hosts that nobody serves while there is work they could do."""
    now = clock.now()
    with database.read() as conn:
        backlog = read_backlog(conn, now=now)
        if not backlog:
            return []
        views = host_views(conn, now)
    models = {waiting.model for waiting in backlog}
    return [
        view.name
        for view in views
        if not view.serving
        and not view.draining
        and not view.closed
        and view.health is not Health.QUARANTINED
        and any(view.may_have(model) for model in models)
    ]
