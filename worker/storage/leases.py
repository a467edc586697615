"""Renews and returns what this worker holds: the leases of its jobs, and the hosts that it serves."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.records import record
from worker.storage.old_answers import return_to_answers
from worker.storage.picking import change_picked
from worker.storage.tables import hosts, jobs
from worker.storage.transitions import (
    CANCEL_RELEASED,
    RELEASE,
    move,
)
from worker.storage.types import UtcTime


@record
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


_MARK = text(
    "UPDATE jobs SET asked = true WHERE id IN :ids AND lease_token = :token AND NOT asked"
).bindparams(bindparam("ids", expanding=True))


def mark_in_slot(conn: Connection, *, token: str, job_ids: Iterable[int]) -> None:
    """These jobs of ``token`` are in a slot, not before one: should their worker die, it may have been one of them."""
    ids = sorted(job_ids)
    if ids:
        conn.execute(_MARK, {"ids": ids, "token": token})


def cancel_requested(conn: Connection, *, token: str) -> frozenset[int]:
    """Running jobs of ``token`` whose producer wants them cancelled."""
    rows = conn.execute(
        select(jobs.c.id).where(
            jobs.c.state == "running", jobs.c.lease_token == token, jobs.c.cancel_requested_at.is_not(None)
        )
    )
    return frozenset(row[0] for row in rows)


def release_jobs(conn: Connection, *, token: str, job_ids: Iterable[int], now: datetime) -> int:
    """Give back jobs that were never started; nothing is charged. Returns how many were still ours."""
    ids = sorted(job_ids)
    if not ids:
        return 0
    j = jobs.c
    rows = conn.execute(
        select(j.id, j.batch_id, j.runner_key, j.priority, j.state, j.cancel_requested_at)
        .where(j.id.in_(ids), j.lease_token == token, j.state == JobState.RUNNING)
        .order_by(j.id)
        .with_for_update(key_share=True)
    ).all()
    cancelled = [row for row in rows if row.cancel_requested_at is not None]
    move(conn, RELEASE, [row for row in rows if row.cancel_requested_at is None])
    move(conn, CANCEL_RELEASED, cancelled, now=now)
    return_cancelled(conn, [row.id for row in cancelled])
    return len(rows)


def return_cancelled(conn: Connection, job_ids: Sequence[int]) -> None:
    if job_ids:
        return_to_answers(conn, jobs.c.id.in_(job_ids))


def release_strays(conn: Connection, *, token: str, keep: Iterable[int], now: datetime) -> int:
    """Give back the jobs that bear ``token`` and are not among those of ``keep``; returns how many.

    For a worker that could not hear how its last claim or release ended. Only the thread that claims may call it.
    """
    rows = conn.execute(select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_token == token))
    return release_jobs(conn, token=token, job_ids={row[0] for row in rows} - set(keep), now=now)


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
