"""Batches that stop and go on, by hand or by themselves: their queued jobs taken back, and what their brakes go by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState, Forgiven, Tally
from worker.domain.jobs import JobState
from worker.domain.operations import Operation, Verb
from worker.errors import Conflict
from worker.storage.counts import batch_counts
from worker.storage.ids import id_range
from worker.storage.jobs import lock_batch
from worker.storage.operations import OPERATING, begin_operation, open_operation
from worker.storage.tables import batches
from worker.storage.transitions import PAUSE, move_picked
from worker.storage.types import storable

MANY = 2000
"""Rows that follow a batch without an operation: whoever pauses or resumes it moves them at once."""


def pause_batch(
    conn: Connection,
    batch_id: int,
    *,
    code: str | None,
    reason: str,
    now: datetime,
    principal: str | None = None,
) -> int | None:
    """Nothing more of it is started, from now on; what is queued is taken back by an operation, or by
    ``withdraw_paused`` where it is little or another operation goes on.
    Returns how many jobs are queued; None where it is paused already.

    Raises Conflict for a batch that is not open; NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state is BatchState.PAUSED:
        return None
    if state is not BatchState.OPEN:
        raise Conflict(f"batch {batch_id} is {state} and cannot be paused")
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(state=BatchState.PAUSED, pause_code=code, pause_reason=storable(reason))
    )
    queued = batch_counts(conn, batch_id).get(JobState.QUEUED, 0)
    _begin(conn, Operation(0, batch_id, Verb.PAUSE, queued, now, principal=principal))
    return queued


def _begin(conn: Connection, operation: Operation) -> None:
    """Where many rows follow. A pause supersedes a resume and the reverse, but nothing else."""
    goes_on = open_operation(conn, operation.batch_id)
    if goes_on is not None and goes_on.verb not in (Verb.PAUSE, Verb.RESUME):
        return
    if operation.total > MANY or goes_on is not None:
        begin_operation(conn, operation)


def resume_batch(conn: Connection, batch_id: int, *, now: datetime, principal: str | None = None) -> None:
    """Let a paused batch go on; its jobs are made eligible again by an operation, or by ``promote_batch`` where they
    are few or another operation goes on. Its brakes begin again.

    Raises Conflict for a batch that is not paused; NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state is not BatchState.PAUSED:
        raise Conflict(f"batch {batch_id} is {state}, not paused")
    reopen_batch(conn, batch_id)
    scheduled = batch_counts(conn, batch_id).get(JobState.SCHEDULED, 0)
    _begin(conn, Operation(0, batch_id, Verb.RESUME, scheduled, now, principal=principal))


def reopen_batch(conn: Connection, batch_id: int) -> None:
    """A paused batch is open, and its brakes begin again; its rows are left to whoever calls."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(state=BatchState.OPEN))
    forgive(conn, batch_id)


def forgive(conn: Connection, batch_id: int) -> None:
    """The brakes of a batch that is not paused look only at what comes from now on."""
    lock_batch(conn, batch_id)
    counts = batch_counts(conn, batch_id)
    failed = counts.get(JobState.FAILED, 0)
    forgiven = Forgiven(failed, failed + counts.get(JobState.SUCCEEDED, 0))
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state != BatchState.PAUSED)
        .values(pause_code=forgiven.stored, pause_reason=None)
    )


STOPPED = "SELECT id FROM batches WHERE state IN ('open', 'paused') AND (state = 'paused' OR closed)"
"""Batches that start nothing: somebody paused them, or their window is closed."""


def _queued_of(which: str) -> TextClause:
    """Batch, runner key and priority of the jobs that are queued, by the counts."""
    both = " UNION ALL ".join(
        f"SELECT batch_id, runner_key, priority, jobs FROM {table} WHERE state = 'queued' AND {which}"
        for table in ("counts", "count_deltas")
    )
    return text(
        f"SELECT batch_id, runner_key, priority FROM ({both}) AS queued "
        "GROUP BY batch_id, runner_key, priority HAVING sum(jobs) > 0 ORDER BY batch_id, priority, runner_key"
    )


_QUEUED_OF_PAUSED = _queued_of(f"batch_id IN ({STOPPED}) AND batch_id NOT IN ({OPERATING})")
_QUEUED_OF_BATCH = _queued_of("batch_id = :batch")

# without statistics SQLite may prefer the primary key, because of the order
_HINT = {"postgresql": "", "sqlite": " INDEXED BY ix_jobs_claim"}
_PICK_QUEUED = (
    "SELECT id FROM jobs{hint} WHERE state = 'queued' AND runner_key = :key AND priority = :priority "
    "AND prefix_group >= :low AND prefix_group < :high ORDER BY expires, prefix_group, id LIMIT :limit"
)


def withdraw_paused(conn: Connection, *, limit: int) -> int:
    """Queued jobs of paused batches, and of those whose window is closed, are ``scheduled`` again, at most ``limit``;
    returns how many. Those of a batch that an operation stops are left to it.

    Idempotent and by anyone. What a worker gives back, or a promoter that saw the batch open still queues, after the
    batch was paused is found by the next pass.
    """
    return _withdraw(conn, conn.execute(_QUEUED_OF_PAUSED).all(), limit)


def withdraw_batch(conn: Connection, batch_id: int, *, limit: int) -> int:
    """The same for one batch."""
    return _withdraw(conn, conn.execute(_QUEUED_OF_BATCH, {"batch": batch_id}).all(), limit)


def _withdraw(conn: Connection, queued: Sequence[Any], limit: int) -> int:
    pick = _PICK_QUEUED.format(hint=_HINT[conn.dialect.name])
    total = 0
    for batch, key, priority in queued:
        if total == limit:
            break
        if lock_batch(conn, batch) is not BatchState.PAUSED and not _is_closed(conn, batch):
            continue
        values = {"key": key, "priority": priority, "limit": limit - total, **id_range(batch)}
        total += len(move_picked(conn, PAUSE, pick, values))
    return total


def _is_closed(conn: Connection, batch_id: int) -> bool:
    return bool(conn.scalar(select(batches.c.closed).where(batches.c.id == batch_id)))


_TALLY = text(
    "SELECT b.state, b.pause_code, b.max_failures, c.state AS outcome, sum(c.jobs) AS jobs FROM batches b LEFT JOIN ("
    "SELECT state, jobs FROM counts WHERE batch_id = :batch AND state IN ('failed', 'succeeded') UNION ALL "
    "SELECT state, jobs FROM count_deltas WHERE batch_id = :batch AND state IN ('failed', 'succeeded')) AS c "
    "ON true WHERE b.id = :batch GROUP BY b.state, b.pause_code, b.max_failures, c.state"
)


def batch_tally(conn: Connection, batch_id: int) -> Tally | None:
    """How the batch's jobs ended so far, by the counts; None where there is no such batch."""
    rows = conn.execute(_TALLY, {"batch": batch_id}).all()
    if not rows:
        return None
    by_outcome = {row.outcome: int(row.jobs) for row in rows if row.outcome is not None}
    first = rows[0]
    return Tally(
        BatchState(first.state),
        failed=by_outcome.get("failed", 0),
        succeeded=by_outcome.get("succeeded", 0),
        forgiven=Forgiven.parse(first.pause_code),
        max_failures=first.max_failures,
    )


def lock_tally(conn: Connection, batch_id: int) -> Tally | None:
    """The same, with the batch locked until the transaction ends. Raises NotFound."""
    lock_batch(conn, batch_id)
    return batch_tally(conn, batch_id)


def latest_codes(conn: Connection, batch_id: int, jobs: int) -> frozenset[str]:
    """The codes of the batch's latest ``jobs`` failures. Sorts all its failures: for batches with few of them."""
    rows = conn.scalars(
        text(
            "SELECT error_code FROM results WHERE batch_id = :batch AND state = 'failed' "
            "ORDER BY finished_at DESC, job_id DESC LIMIT :jobs"
        ),
        {"batch": batch_id, "jobs": jobs},
    )
    return frozenset(rows)


def first_failure(conn: Connection, batch_id: int, code: str) -> str | None:
    """What the first job in the input's order that failed with ``code`` failed of, among some of them."""
    value: str | None = conn.scalar(
        text(
            "SELECT error_message FROM (SELECT job_id, error_message FROM results WHERE batch_id = :batch "
            "AND state = 'failed' AND error_code = :code LIMIT 2000) AS found ORDER BY job_id LIMIT 1"
        ),
        {"batch": batch_id, "code": code},
    )
    return value
