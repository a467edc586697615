"""Ends the leases of workers that no longer renew them."""

from datetime import datetime, timedelta

from worker.clock import Clock
from worker.maintenance.service import Counts
from worker.observability.events import emit
from worker.storage.engine import Database
from worker.storage.pulses import read_pulses, record_pulse
from worker.storage.rescues import any_running, rescue_stale

RENEWABLE = "renewable"
"""The pulse that tells since when leases could be renewed."""


def rescue(database: Database, clock: Clock, *, lease: float | None = None) -> Counts:
    """End stale leases. With ``lease`` (seconds) nothing is rescued for that long after the database was away: nobody
    could renew then, and the workers that are alive have to get their turn first."""
    now = clock.now()
    with database.read() as conn:
        if not any_running(conn):
            return {}
    if lease is not None and not _leases_could_be_renewed(database, now, timedelta(seconds=lease)):
        return {}
    with database.write() as conn:
        rescued = rescue_stale(conn, now=now)
    if rescued.any:
        emit("job.rescued", retried=rescued.retried, held=rescued.held, cancelled=rescued.cancelled)
    return {"rescued": rescued.retried, "held": rescued.held, "cancelled": rescued.cancelled}


def _leases_could_be_renewed(database: Database, now: datetime, lease: timedelta) -> bool:
    """Whether passes have come through without a gap for as long as a lease holds.

    The database remembers it, not the process: a call that hung in a silent network raises nothing, and a process that
    has just started does not know since when nobody could renew. ``now`` was read before, so that a pass which hangs
    here, or after, goes by the time before the gap. It is written down thirty times in a lease at most, and only
    while a job runs: the lease of the first job after a rest begins with it, or later than its first pass.
    """
    with database.read() as conn:
        last = read_pulses(conn).get(RENEWABLE)
    since = now
    if last is not None and now - last.at <= lease / 3:
        since = datetime.fromisoformat(str(last.detail["since"]))
    if last is None or not timedelta(0) <= now - last.at < lease / 30:
        with database.write() as conn:
            record_pulse(conn, RENEWABLE, now=now, detail={"since": since.isoformat()})
    return now - since >= lease
