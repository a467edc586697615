"""What jobs wait for: answers to go on from, parts to combine, and states."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState, Part
from worker.records import record
from worker.storage.ids import id_range
from worker.storage.picking import in_batch
from worker.storage.slices import slices
from worker.storage.tables import follows, jobs, payloads, results


@record
class Earlier:
    """The answer that a job goes on from."""

    parent: int
    custom_id: str
    context: bytes | None
    """Packed; None where it has none."""
    digest: str | None
    answered: bool


def earlier_answers(conn: Connection, job_ids: Collection[int]) -> dict[int, Earlier]:
    """By job what it goes on from; one whose parent is gone is not among them."""
    earlier: dict[int, Earlier] = {}
    for ids in slices(sorted(job_ids)):
        rows = conn.execute(
            select(
                follows.c.job_id,
                jobs.c.id,
                jobs.c.custom_id,
                jobs.c.state,
                results.c.context,
                results.c.digest,
            )
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .outerjoin(results, results.c.job_id == jobs.c.id)
            .where(follows.c.job_id.in_(ids))
        )
        for job, parent, custom_id, state, context, digest in rows:
            earlier[job] = Earlier(parent, custom_id, context, digest, state == JobState.SUCCEEDED)
    return earlier


def parts_of(conn: Connection, job_ids: Collection[int]) -> dict[int, tuple[Part, ...]]:
    """By job the answers that its prompt is made of, in the order of the input; None where one has none."""
    by_job: dict[int, list[Part]] = defaultdict(list)
    for ids in slices(sorted(job_ids)):
        rows = conn.execute(
            select(
                follows.c.job_id, jobs.c.custom_id, results.c.answer, results.c.parsed, payloads.c.metadata
            )
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .join(payloads, payloads.c.job_id == jobs.c.id)
            .outerjoin(results, (results.c.job_id == jobs.c.id) & (results.c.state == "succeeded"))
            .where(follows.c.job_id.in_(ids))
            .order_by(follows.c.job_id, jobs.c.id)
        )
        for job, custom_id, answer, parsed, metadata in rows:
            by_job[job].append(Part(custom_id, answer, parsed, metadata or {}))
    return {job: tuple(parts) for job, parts in by_job.items()}


def combining_requests(conn: Connection, job_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """What the templates of these jobs may say beside their parts, of those that combine the answers of others."""
    combines: dict[int, dict[str, Any]] = {}
    for ids in slices(sorted(job_ids)):
        combining = select(follows.c.job_id).where(follows.c.job_id.in_(ids), follows.c.combines).distinct()
        rows = conn.execute(
            select(payloads.c.job_id, payloads.c.request).where(payloads.c.job_id.in_(combining))
        )
        combines |= {row.job_id: row.request["combine"] for row in rows if "combine" in (row.request or {})}
    return combines


@record
class Before:
    """A job that another waits for, as it is now."""

    id: int
    custom_id: str
    state: JobState


def parents_of(conn: Connection, job_id: int, *, limit: int = 20) -> list[Before]:
    """What it waits for, or waited for; what has not ended first."""
    rows = conn.execute(
        select(jobs.c.id, jobs.c.custom_id, jobs.c.state)
        .join(follows, follows.c.parent_id == jobs.c.id)
        .where(follows.c.job_id == job_id)
        .order_by(jobs.c.finished_at.is_not(None), jobs.c.id)
        .limit(limit)
    )
    return [Before(row.id, row.custom_id, JobState(row.state)) for row in rows]


def waits_in_vain(conn: Connection, batch_id: int) -> int:
    """Jobs of the batch that wait, directly or not, for one that is held, and so for somebody to let that go."""
    ids = id_range(batch_id)
    return int(conn.scalar(_IN_VAIN, ids) or 0)


_IN_VAIN = text(
    "WITH RECURSIVE stuck (id) AS (SELECT f.job_id FROM follows f JOIN jobs p ON p.id = f.parent_id "
    "JOIN jobs c ON c.id = f.job_id WHERE p.state = 'held' AND c.state = 'waiting' AND f.job_id >= :low "
    "AND f.job_id < :high UNION SELECT f.job_id FROM stuck s JOIN follows f ON f.parent_id = s.id "
    "JOIN jobs c ON c.id = f.job_id WHERE c.state = 'waiting' AND f.job_id >= :low AND f.job_id < :high) "
    "SELECT count(*) FROM stuck"
)


def part_counts(conn: Connection, batch_id: int) -> dict[JobState, int]:
    """Jobs of a batch by state whose answers others are made of: parts, which are no answers of their own."""
    parents = select(follows.c.parent_id).distinct().where(in_batch(batch_id, follows.c.job_id))
    query = select(jobs.c.state, func.count()).where(jobs.c.id.in_(parents)).group_by(jobs.c.state)
    return {JobState(state): n for state, n in conn.execute(query)}
