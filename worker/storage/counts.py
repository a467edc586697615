"""How many jobs are in which state? Totals, and the changes that are not folded into them yet."""

from collections import Counter
from contextlib import suppress

from sqlalchemy import delete, func, select, text, union_all
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchProgress
from worker.domain.jobs import FINAL, JobState
from worker.errors import Code, UnreadableRow
from worker.storage.batches import get_batch
from worker.storage.deltas import Change
from worker.storage.follows.parents import waits_in_vain
from worker.storage.operations import open_operation
from worker.storage.reports import claimed_jobs
from worker.storage.tables import count_deltas, counts, jobs, pruned_counts


def fold_counts(conn: Connection, limit: int = 50_000) -> int:
    """Fold the oldest changes into the totals; returns how many. Two folds at once do not count anything twice:
    each takes the rows that it deletes."""
    if conn.dialect.name == "postgresql":
        taken = conn.execute(
            text(
                "DELETE FROM count_deltas WHERE id IN (SELECT id FROM count_deltas ORDER BY id LIMIT :limit "
                "FOR UPDATE SKIP LOCKED) RETURNING batch_id, runner_key, priority, state, jobs"
            ),
            {"limit": limit},
        ).all()
    else:
        taken = conn.execute(
            text(
                "DELETE FROM count_deltas WHERE id IN (SELECT id FROM count_deltas ORDER BY id LIMIT :limit) "
                "RETURNING batch_id, runner_key, priority, state, jobs"
            ),
            {"limit": limit},
        ).all()
    if not taken:
        return 0
    totals: Counter[Change] = Counter()
    for batch, key, priority, state, n in taken:
        totals[batch, key, priority, state] += n
    changed = [
        {"batch": batch, "key": key, "priority": priority, "state": state, "jobs": jobs}
        for (batch, key, priority, state), jobs in sorted(totals.items())
        if jobs
    ]
    if changed:
        conn.execute(_ADD, changed)
        folded = sorted({batch for batch, *_ in totals})
        for start in range(0, len(folded), _AT_ONCE):
            these = counts.c.batch_id.in_(folded[start : start + _AT_ONCE])
            conn.execute(delete(counts).where(counts.c.jobs == 0, these))
    return len(taken)


_AT_ONCE = 500
"""Batches named in one statement."""

_ADD = text(
    "INSERT INTO counts (batch_id, runner_key, priority, state, jobs) VALUES (:batch, :key, :priority, :state, :jobs) "
    "ON CONFLICT (batch_id, runner_key, priority, state) DO UPDATE SET jobs = counts.jobs + excluded.jobs"
)


def batch_counts(conn: Connection, batch_id: int) -> dict[JobState, int]:
    """Jobs of the batch by state, totals and unfolded changes together."""
    both = union_all(
        select(counts.c.state, counts.c.jobs).where(counts.c.batch_id == batch_id),
        select(count_deltas.c.state, count_deltas.c.jobs).where(count_deltas.c.batch_id == batch_id),
    ).subquery()
    rows = conn.execute(select(both.c.state, func.sum(both.c.jobs)).group_by(both.c.state))
    return {JobState(state): int(jobs) for state, jobs in rows if jobs}


def open_priorities(conn: Connection, batch_id: int) -> frozenset[int]:
    """The priorities of jobs of the batch that have not ended."""
    both = union_all(
        *(
            select(table.c.priority, table.c.jobs).where(
                table.c.batch_id == batch_id, table.c.state.not_in([str(state) for state in FINAL])
            )
            for table in (counts, count_deltas)
        )
    ).subquery()
    rows = conn.execute(select(both.c.priority, func.sum(both.c.jobs)).group_by(both.c.priority))
    return frozenset(int(priority) for priority, n in rows if n)


def pruned_by_state(conn: Connection, batch_id: int) -> dict[JobState, int]:
    """Jobs of the batch that are counted and no longer there, by state."""
    p = pruned_counts.c
    rows = conn.execute(select(p.state, func.sum(p.jobs)).where(p.batch_id == batch_id).group_by(p.state))
    return {JobState(state): int(jobs) for state, jobs in rows}


def batch_progress(conn: Connection, batch_id: int) -> BatchProgress:
    """The batch and its jobs by state. Raises NotFound."""
    by_state = batch_counts(conn, batch_id)
    held = bool(by_state.get(JobState.HELD))
    in_vain = waits_in_vain(conn, batch_id) if held and by_state.get(JobState.WAITING) else 0
    outside = count_outside(conn, batch_id) if held else 0
    operation = None
    with suppress(UnreadableRow):  # of a newer version, which continues it
        operation = open_operation(conn, batch_id)
    running = by_state.get(JobState.RUNNING, 0)
    claimed = min(running, claimed_jobs(conn, batch_id)) if running else 0
    return BatchProgress(get_batch(conn, batch_id), by_state, in_vain, outside, claimed, operation)


def count_outside(conn: Connection, batch_id: int) -> int:
    """Jobs of a batch that are held because they lie outside of ``--limit`` or ``--sample``."""
    held = jobs.c.batch_id == batch_id, jobs.c.state == JobState.HELD
    outside = select(func.count()).select_from(jobs).where(*held, jobs.c.hold_code == str(Code.OUTSIDE_LIMIT))
    return conn.scalar(outside) or 0
