"""Taking jobs, keeping them, giving them back, ending them: all the locking there is.

A claim gives a lease; every write of an outcome passes a fence: the lease token and the attempt have to match. On
PostgreSQL claimers pass over each other's rows (SKIP LOCKED); on SQLite there is one writer at a time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, select, text, true, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import ClaimedJob, JobState, Priority
from worker.errors import Code
from worker.storage.deltas import Change, add_changes, moved
from worker.storage.ids import id_range
from worker.storage.picking import change_picked
from worker.storage.tables import hosts, jobs, payloads
from worker.storage.types import UtcTime

MOST_LOSSES = 3
"""A job whose worker or host died this often while it ran is a suspect and is held."""

_PICK = (
    "SELECT id FROM jobs{hint} WHERE state = 'queued' AND runner_key = :key AND priority = :priority "
    "AND id >= :low AND id < :high ORDER BY id LIMIT :limit"
)
_TAKE = (
    "state = 'running', attempt = attempt + 1, lease_token = :token, lease_until = :until, host = :host, "
    "started_at = :now, rescued_token = NULL"
)
_GIVE = (
    "jobs.id, jobs.batch_id, jobs.custom_id, jobs.model, jobs.runner_key, jobs.priority, jobs.attempt, "
    "jobs.charged, jobs.losses, jobs.max_attempts, jobs.deadline"
)
CLAIM = {
    "postgresql": change_picked(_PICK.format(hint=""), _TAKE, _GIVE)["postgresql"],
    # without statistics SQLite may prefer the primary key, because of the order
    "sqlite": change_picked(_PICK.format(hint=" INDEXED BY ix_jobs_claim"), _TAKE, _GIVE)["sqlite"],
}
"""One priority at a time: key, priority and id are then one stretch of the claim index."""

_CLAIMS = {
    dialect: text(statement)
    .bindparams(bindparam("until", type_=UtcTime), bindparam("now", type_=UtcTime))
    .columns(deadline=UtcTime)
    for dialect, statement in CLAIM.items()
}

_SERVED = text(
    "INSERT INTO served (runner_key, priority, at) VALUES (:key, :priority, :at) "
    "ON CONFLICT (runner_key, priority) DO UPDATE SET at = excluded.at"
).bindparams(bindparam("at", type_=UtcTime))


def claim_jobs(
    conn: Connection,
    *,
    host: str,
    runner_key: str,
    limit: int,
    token: str,
    now: datetime,
    lease_until: datetime,
    priorities: Sequence[Priority] | None = None,
    batch_id: int | None = None,
) -> list[ClaimedJob]:
    """Take up to ``limit`` queued jobs of a runner key for ``host``: the most urgent first, then in input order.

    Never gives a job to two claimers. ``priorities`` and ``batch_id`` limit
    what is taken.
    """
    values: dict[str, Any] = {
        "key": runner_key,
        "token": token,
        "until": lease_until,
        "host": host,
        "now": now,
        **id_range(batch_id),
    }
    rows: list[Row[Any]] = []
    for priority in sorted(priorities or Priority):
        if len(rows) < limit:
            values |= {"priority": int(priority), "limit": limit - len(rows)}
            rows += conn.execute(_CLAIMS[conn.dialect.name], values).all()
    if not rows:
        return []
    asked = {
        row.job_id: row
        for row in conn.execute(
            select(payloads.c.job_id, payloads.c.prompt, payloads.c.request).where(
                payloads.c.job_id.in_([row.id for row in rows])
            )
        )
    }
    changes: Counter[Change] = Counter()
    for row in rows:
        moved(
            changes,
            batch=row.batch_id,
            key=row.runner_key,
            priority=row.priority,
            old=JobState.QUEUED,
            new=JobState.RUNNING,
        )
    add_changes(conn, changes)
    for priority in sorted({row.priority for row in rows}):
        conn.execute(_SERVED, {"key": runner_key, "priority": priority, "at": now})
    conn.execute(update(hosts).where(hosts.c.name == host).values(last_claim_at=now))
    claimed = [
        ClaimedJob(
            id=row.id,
            batch_id=row.batch_id,
            custom_id=row.custom_id,
            model=row.model,
            runner_key=row.runner_key,
            priority=Priority(row.priority),
            attempt=row.attempt,
            charged=row.charged,
            losses=row.losses,
            max_attempts=row.max_attempts,
            token=token,
            prompt=asked[row.id].prompt,
            request=asked[row.id].request,
            deadline=row.deadline,
        )
        for row in rows
    ]
    return sorted(claimed, key=lambda job: (job.priority, job.id))


@dataclass(frozen=True, slots=True)
class Renewed:
    """Jobs that are still ours, and those of them whose producer wants them cancelled."""

    job_ids: frozenset[int]
    cancel: frozenset[int]


# The column itself, not a test of it: SQLite 3.40 answers 1 to IS NOT NULL within RETURNING, whatever it holds.
_RENEW = {
    dialect: text(statement).bindparams(bindparam("ids", expanding=True), bindparam("until", type_=UtcTime))
    for dialect, statement in change_picked(
        "SELECT id FROM jobs WHERE id IN :ids AND state = 'running' AND lease_token = :token ORDER BY id",
        "lease_until = :until",
        "jobs.id, jobs.cancel_requested_at",
        wait=True,
    ).items()
}


def renew(conn: Connection, *, token: str, job_ids: Iterable[int], lease_until: datetime) -> Renewed:
    """Keep these jobs of ``token``, in one statement; tells which are still ours.

    By name, not all that bear the token: a claim whose commit was not heard of bears it too, and nobody works on it.
    """
    ids = list(job_ids)
    if not ids:
        return Renewed(frozenset(), frozenset())
    rows = conn.execute(_RENEW[conn.dialect.name], {"ids": ids, "token": token, "until": lease_until}).all()
    return Renewed(frozenset(row[0] for row in rows), frozenset(row[0] for row in rows if row[1] is not None))


def cancel_requested(conn: Connection, *, token: str) -> frozenset[int]:
    """Running jobs of ``token`` whose producer wants them cancelled."""
    rows = conn.execute(
        select(jobs.c.id).where(
            jobs.c.state == "running", jobs.c.lease_token == token, jobs.c.cancel_requested_at.is_not(None)
        )
    )
    return frozenset(row[0] for row in rows)


_RELEASE = {
    dialect: text(statement).bindparams(bindparam("ids", expanding=True), bindparam("now", type_=UtcTime))
    for dialect, statement in change_picked(
        "SELECT id FROM jobs WHERE id IN :ids AND lease_token = :token AND state = 'running' ORDER BY id",
        "state = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END, "
        "finished_at = CASE WHEN cancel_requested_at IS NULL THEN NULL ELSE :now END, "
        "lease_token = NULL, lease_until = NULL, host = NULL, started_at = NULL",
        "jobs.batch_id, jobs.runner_key, jobs.priority, jobs.state",
        wait=True,
    ).items()
}


def release_jobs(conn: Connection, *, token: str, job_ids: Iterable[int], now: datetime) -> int:
    """Give back jobs that were never started; nothing is charged. Returns how many were still ours."""
    ids = list(job_ids)
    if not ids:
        return 0
    rows = conn.execute(_RELEASE[conn.dialect.name], {"ids": ids, "token": token, "now": now}).all()
    changes: Counter[Change] = Counter()
    for batch, key, priority, state in rows:
        moved(changes, batch=batch, key=key, priority=priority, old=JobState.RUNNING, new=state)
    add_changes(conn, changes)
    return len(rows)


def release_strays(conn: Connection, *, token: str, held: Iterable[int], now: datetime) -> int:
    """Give back the jobs that bear ``token`` and are not among those ``held``; returns how many.

    For a worker that could not hear how its last claim or release ended. Only the thread that claims may call it.
    """
    rows = conn.execute(select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_token == token))
    return release_jobs(conn, token=token, job_ids={row[0] for row in rows} - set(held), now=now)


# -- what a dead worker left ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rescued:
    """Jobs whose leases were ended, by what became of them."""

    retried: int = 0
    held: int = 0
    cancelled: int = 0


def rescue_stale(conn: Connection, *, now: datetime, limit: int = 500) -> Rescued:
    """End the leases that ran out; their jobs are eligible again at once, or held after three losses.

    Goes by the lease's age alone: a worker that was cut off from the database but still generates may be doubled. Its
    late answer is stored if nobody claimed the job since, else refused.
    """
    return _rescue(conn, jobs.c.lease_until < now, now=now, limit=limit, losses=1)


def rescue_holder(conn: Connection, *, now: datetime, host: str | None = None) -> Rescued:
    """End every lease, serving leases too: for whoever knows that all their holders (or that of ``host``) are dead.

    Our own death is not held against the jobs.
    """
    served, held = (true(), true()) if host is None else (hosts.c.name == host, jobs.c.host == host)
    free = {"serving_token": None, "serving_until": None, "intent": None, "intent_at": None}
    conn.execute(update(hosts).where(served).values(free))
    total = Rescued()
    while (rescued := _rescue(conn, held, now=now, limit=5000, losses=0)) != Rescued():
        total = Rescued(
            total.retried + rescued.retried, total.held + rescued.held, total.cancelled + rescued.cancelled
        )
    return total


def _rescue(
    conn: Connection, condition: ColumnElement[bool], *, now: datetime, limit: int, losses: int
) -> Rescued:
    query = select(jobs).where(jobs.c.state == "running", condition).order_by(jobs.c.lease_until)
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    rows = conn.execute(query.limit(limit)).all()
    by_state: dict[JobState, list[Row[Any]]] = {}
    for row in rows:
        by_state.setdefault(_rescued_state(row, losses), []).append(row)
    changes: Counter[Change] = Counter()
    for state, group in by_state.items():
        conn.execute(
            update(jobs)
            .where(jobs.c.id.in_([row.id for row in group]))
            .values(
                state=state,
                rescued_token=jobs.c.lease_token,
                lease_token=None,
                lease_until=None,
                losses=jobs.c.losses + losses,
                eligible_at=now if state is JobState.SCHEDULED else jobs.c.eligible_at,
                finished_at=now if state is JobState.CANCELLED else None,
                hold_code=str(Code.WORKER_LOST) if state is JobState.HELD else None,
                hold_reason=f"its worker or host died {MOST_LOSSES} times while it ran"
                if state is JobState.HELD
                else None,
            )
        )
        for row in group:
            moved(
                changes,
                batch=row.batch_id,
                key=row.runner_key,
                priority=row.priority,
                old=JobState.RUNNING,
                new=state,
            )
    if rows:
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
                for row in rows
            ],
        )
    add_changes(conn, changes)
    return Rescued(
        *(len(by_state.get(state, ())) for state in (JobState.SCHEDULED, JobState.HELD, JobState.CANCELLED))
    )


_LOST = text(
    "INSERT INTO attempts (job_id, attempt, host, started_at, ended_at, outcome, charged, error_code, error_message) "
    "VALUES (:job, :attempt, :host, :started, :ended, 'rescued', false, :code, 'its lease ran out') "
    "ON CONFLICT (job_id, attempt) DO NOTHING"
).bindparams(bindparam("started", type_=UtcTime), bindparam("ended", type_=UtcTime))


def _rescued_state(row: Row[Any], losses: int) -> JobState:
    if row.cancel_requested_at is not None:
        return JobState.CANCELLED
    return JobState.HELD if losses and row.losses + losses >= MOST_LOSSES else JobState.SCHEDULED


# -- the right to serve a host ----------------------------------------------------------------------------------


def take_host(conn: Connection, *, host: str, token: str, now: datetime, until: datetime) -> bool:
    """Take the serving lease of ``host``; False while somebody else holds it, or where there is no such host."""
    return bool(
        conn.execute(
            update(hosts)
            .where(hosts.c.name == host, hosts.c.serving_token.is_(None) | (hosts.c.serving_until < now))
            .values(serving_token=token, serving_until=until, intent=None, intent_at=None)
        ).rowcount
    )


def renew_host(conn: Connection, *, host: str, token: str, now: datetime, until: datetime) -> bool:
    """Keep the serving lease; False when it is lost to another worker. One that ran out untaken is taken again."""
    return bool(
        conn.execute(
            update(hosts)
            .where(hosts.c.name == host, hosts.c.serving_token == token)
            .values(serving_until=until)
        ).rowcount
    )


def leave_host(conn: Connection, *, host: str, token: str, now: datetime) -> None:
    """Give the serving lease back, and what was meant to be loaded with it."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == host, hosts.c.serving_token == token)
        .values(serving_token=None, serving_until=None, intent=None, intent_at=None)
    )
