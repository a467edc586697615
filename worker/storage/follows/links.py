"""Which job waits for which, and whose end is therefore news."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.records import record
from worker.storage.ids import id_range
from worker.storage.picking import change_picked
from worker.storage.slices import slices
from worker.storage.tables import follows, jobs
from worker.storage.transitions import FOLLOW, move


@record
class Link:
    """A job by its number, and one that it waits for."""

    job: int
    parent: int
    carry: bool
    release: bool
    combines: bool = False


_LINK = text(
    "INSERT INTO follows (job_id, parent_id, release, combines) VALUES (:job, :parent, :release, :combines) "
    "ON CONFLICT (job_id, parent_id) DO UPDATE SET release = excluded.release, combines = excluded.combines"
)


def link_jobs(conn: Connection, links: Sequence[Link]) -> None:
    """Note who waits for whom; idempotent. They are looked at once ``mark_followed`` was called."""
    if links:
        rows = [
            {"job": link.job, "parent": link.parent, "release": link.release, "combines": link.combines}
            for link in links
        ]
        conn.execute(_LINK, rows)


MARKED_AT_ONCE = 5000
"""Jobs that wait, in one transaction that marks what they wait for."""


def mark_followed(conn: Connection, batch_id: int, *, after: int = 0) -> int | None:
    """From now on the ends of those that jobs of this batch wait for are news: of the next jobs behind the job ``after``.
    Returns the last of these jobs, None where there are no more.

    A batch that is not sealed yet is marked before its seal, all but what ``mark_outside`` marks with it.
    """
    ids = id_range(batch_id)
    values = {"low": max(ids["low"], after + 1), "high": ids["high"]}
    last: int | None = conn.scalar(_NEXT_LINKED, values | {"limit": MARKED_AT_ONCE})
    if last is not None:
        conn.execute(_MARK[conn.dialect.name], values | {"high": last + 1})
    return last


def mark_outside(conn: Connection, batch_id: int) -> None:
    """The same for those of other batches, in the transaction of the seal: before it their ends are news to nobody, and
    take the mark off. Those of its own cannot end before."""
    conn.execute(_MARK_OUTSIDE[conn.dialect.name], id_range(batch_id))


_NEXT_LINKED = text(
    "SELECT max(job_id) FROM (SELECT job_id FROM follows WHERE job_id >= :low AND job_id < :high ORDER BY job_id "
    "LIMIT :limit) AS next_"
)


def _mark(condition: str) -> Mapping[str, Any]:
    """Those that are marked already too: who ends one at this moment is about to take its mark off, and has to be waited
    for."""
    parents = f"SELECT parent_id FROM follows WHERE job_id >= :low AND job_id < :high{condition}"
    pick = f"SELECT id FROM jobs WHERE id IN ({parents}) ORDER BY id"
    statements = change_picked(pick, "followed = true", "jobs.id", wait=True)
    return {dialect: text(statement) for dialect, statement in statements.items()}


_MARK = _mark("")


_MARK_OUTSIDE = _mark(" AND NOT (parent_id >= :low AND parent_id < :high)")


def unlinked(conn: Connection, batch_id: int) -> list[int]:
    """Jobs of the batch that wait and nobody knows what for."""
    ids = id_range(batch_id)
    linked = select(follows.c.job_id).where(follows.c.job_id == jobs.c.id).exists()
    query = select(jobs.c.id).where(
        jobs.c.id >= ids["low"], jobs.c.id < ids["high"], jobs.c.state == JobState.WAITING, ~linked
    )
    return list(conn.scalars(query))


def follow(conn: Connection, job_ids: Collection[int]) -> None:
    """These jobs, which the caller has just made ``scheduled``, are ``waiting``."""
    j = jobs.c
    for ids in slices(sorted(job_ids)):
        rows = conn.execute(
            select(j.id, j.batch_id, j.runner_key, j.priority, j.state).where(j.id.in_(ids))
        ).all()
        move(conn, FOLLOW, rows)
