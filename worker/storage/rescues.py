"""Takes back jobs whose worker is gone: their lease ran out, or their holder is known to be dead."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, select, text, true, update
from sqlalchemy.engine import Connection

from worker.errors import Code
from worker.policy.retry import MOST_LOSSES
from worker.records import record
from worker.storage.leases import return_cancelled
from worker.storage.tables import hosts, jobs
from worker.storage.transitions import (
    CANCEL_RUNNING,
    RESCUE,
    RESCUE_SUSPECT,
    Transition,
    move,
)
from worker.storage.types import UtcTime


@record
class Rescued:
    """Jobs whose leases were ended, by their new state."""

    retried: int = 0
    held: int = 0
    cancelled: int = 0

    @property
    def any(self) -> bool:
        """Whether a lease was ended at all."""
        return bool(self.retried or self.held or self.cancelled)


_RUNNING = text("SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'running')")


def any_running(conn: Connection) -> bool:
    """Whether any job has a lease."""
    return bool(conn.scalar(_RUNNING))


def rescue_stale(conn: Connection, *, now: datetime, limit: int = 500) -> Rescued:
    """End the leases that ran out; their jobs are eligible again at once, or held after three losses.

    Goes by the lease's age alone: a worker that was cut off from the database but still generates may be doubled. Its
    late answer is stored if nobody claimed the job since, else refused.
    """
    return _rescue(conn, jobs.c.lease_until < now, now=now, limit=limit)


_HELD = text(
    "SELECT 1 FROM hosts WHERE serving_token IS NOT NULL OR intent IS NOT NULL "
    "UNION ALL SELECT 1 FROM firings WHERE token IS NOT NULL "
    "UNION ALL SELECT 1 FROM jobs WHERE state = 'running' LIMIT 1"
)
"""Whether anything is held at all: every start asks."""


def rescue_holder(
    conn: Connection, *, now: datetime, host: str | None = None, blameless: bool = False
) -> Rescued:
    """End every lease, serving leases too: for whoever knows that all their holders (or that of ``host``) are dead.

    On the whole database also whoever read the documents of a firing is dead.

    They ran when their worker died, as after ``rescue_stale``; unless they are known to be ``blameless``: none died.
    """
    if host is None and conn.scalar(_HELD) is None:
        return Rescued()
    served, held = (true(), true()) if host is None else (hosts.c.name == host, jobs.c.host == host)
    free = {"serving_token": None, "serving_until": None, "intent": None, "intent_at": None}
    conn.execute(update(hosts).where(served).values(free))
    if host is None:
        from worker.storage.tables.schedules import firings

        conn.execute(update(firings).where(firings.c.token.is_not(None)).values(token=None, token_until=None))
    total = Rescued()
    while (rescued := _rescue(conn, held, now=now, limit=5000, blameless=blameless)) != Rescued():
        total = Rescued(
            total.retried + rescued.retried, total.held + rescued.held, total.cancelled + rescued.cancelled
        )
    return total


def _rescue(
    conn: Connection, condition: ColumnElement[bool], *, now: datetime, limit: int, blameless: bool = False
) -> Rescued:
    query = select(jobs).where(jobs.c.state == "running", condition).order_by(jobs.c.lease_until)
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    rows = conn.execute(query.limit(limit)).all()
    tokens = {row.lease_token for row in rows if row.asked}
    groups: dict[tuple[Transition, int], list[Row[Any]]] = {}
    lost: list[Row[Any]] = []
    for row in rows:
        # claimed ahead and never asked, it cannot be what its worker died of; where none was marked it may be any
        asked = row.asked or row.lease_token not in tokens
        loss = int(asked and not blameless)
        groups.setdefault((_rescue_of(row, loss), loss), []).append(row)
        if asked:
            lost.append(row)
    for (transition, loss), group in groups.items():
        values: dict[str, Any] = {"now": now}
        if transition is not CANCEL_RUNNING:
            values["loss"] = loss
        if transition is RESCUE_SUSPECT:
            reason = f"its host or worker died {MOST_LOSSES} times while it ran, last when it ran alone"
            values = {"loss": loss, "code": str(Code.WORKER_LOST), "reason": reason}
        move(conn, transition, group, **values)
    if lost:
        conn.execute(
            _LOST,
            [
                {
                    "job": row.id,
                    "attempt": row.attempt,
                    "host": row.host,
                    "started": row.started_at,
                    "ended": now,
                    "code": str(Code.WORKER_LOST),
                }
                for row in lost
            ],
        )
    by_transition: defaultdict[Transition, list[int]] = defaultdict(list)
    for (transition, _), group in groups.items():
        by_transition[transition] += [row.id for row in group]
    return_cancelled(conn, by_transition[CANCEL_RUNNING])
    return Rescued(*(len(by_transition[one]) for one in (RESCUE, RESCUE_SUSPECT, CANCEL_RUNNING)))


_LOST = text(
    "INSERT INTO attempts (job_id, attempt, host, started_at, ended_at, outcome, charged, error_code, error_message) "
    "VALUES (:job, :attempt, :host, :started, :ended, 'rescued', false, :code, 'its lease ran out') "
    "ON CONFLICT (job_id, attempt) DO NOTHING"
).bindparams(bindparam("started", type_=UtcTime), bindparam("ended", type_=UtcTime))


def _rescue_of(row: Row[Any], loss: int) -> Transition:
    if row.cancel_requested_at is not None:
        return CANCEL_RUNNING
    return RESCUE_SUSPECT if loss and row.losses + 1 >= MOST_LOSSES else RESCUE
