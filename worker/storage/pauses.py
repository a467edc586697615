"""Batches that stop and go on, by hand or by themselves: their queued jobs taken back, and what their brakes go by."""

from sqlalchemy import select, text, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState, Forgiven, Tally
from worker.domain.jobs import JobState
from worker.errors import Conflict
from worker.storage.counts import batch_counts
from worker.storage.ids import id_range
from worker.storage.jobs import lock_batch
from worker.storage.tables import batches
from worker.storage.transitions import PAUSE, move_picked
from worker.storage.types import storable


def pause_batch(conn: Connection, batch_id: int, *, code: str | None, reason: str) -> bool:
    """Nothing more of it is promoted; ``withdraw_paused`` takes back what is queued. False: it is paused already.

    Raises Conflict for a batch that is not open; NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state is BatchState.PAUSED:
        return False
    if state is not BatchState.OPEN:
        raise Conflict(f"batch {batch_id} is {state} and cannot be paused")
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(state=BatchState.PAUSED, pause_code=code, pause_reason=storable(reason))
    )
    return True


def resume_batch(conn: Connection, batch_id: int) -> None:
    """Let a paused batch go on; ``promote_sealed`` makes its jobs eligible again. Its brakes begin anew.

    Raises Conflict for a batch that is not paused; NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state is not BatchState.PAUSED:
        raise Conflict(f"batch {batch_id} is {state}, not paused")
    conn.execute(update(batches).where(batches.c.id == batch_id).values(state=BatchState.OPEN))
    forgive(conn, batch_id)


def forgive(conn: Connection, batch_id: int) -> None:
    """The brakes of a batch that is not paused look only at what comes from now on."""
    lock_batch(conn, batch_id)
    found = batch_counts(conn, batch_id)
    failed = found.get(JobState.FAILED, 0)
    forgiven = Forgiven(failed, failed + found.get(JobState.SUCCEEDED, 0))
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state != BatchState.PAUSED)
        .values(pause_code=forgiven.stored, pause_reason=None)
    )


STOPPED = "SELECT id FROM batches WHERE state IN ('open', 'paused') AND (state = 'paused' OR closed)"
"""Batches that start nothing: somebody paused them, or their window is closed."""

_QUEUED_OF_PAUSED = text(
    "SELECT batch_id, runner_key, priority FROM (SELECT batch_id, runner_key, priority, jobs FROM counts "
    f"WHERE state = 'queued' AND batch_id IN ({STOPPED}) UNION ALL "
    "SELECT batch_id, runner_key, priority, jobs FROM count_deltas WHERE state = 'queued' "
    f"AND batch_id IN ({STOPPED})) AS found "
    "GROUP BY batch_id, runner_key, priority HAVING sum(jobs) > 0 ORDER BY batch_id, priority, runner_key"
)

# without statistics SQLite may prefer the primary key, because of the order
_HINT = {"postgresql": "", "sqlite": " INDEXED BY ix_jobs_claim"}
_PICK_QUEUED = (
    "SELECT id FROM jobs{hint} WHERE state = 'queued' AND runner_key = :key AND priority = :priority "
    "AND prefix_group >= :low AND prefix_group < :high ORDER BY expires, prefix_group, id LIMIT :limit"
)


def withdraw_paused(conn: Connection, *, limit: int) -> int:
    """Queued jobs of paused batches, and of those whose window is closed, are ``scheduled`` again, at most ``limit``;
    returns how many.

    Idempotent and by anyone. What a worker gives back, or a promoter that saw the batch open still queues, after the
    batch was paused is found by the next pass.
    """
    pick = _PICK_QUEUED.format(hint=_HINT[conn.dialect.name])
    total = 0
    for batch, key, priority in conn.execute(_QUEUED_OF_PAUSED).all():
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
    found: str | None = conn.scalar(
        text(
            "SELECT error_message FROM (SELECT job_id, error_message FROM results WHERE batch_id = :batch "
            "AND state = 'failed' AND error_code = :code LIMIT 2000) AS found ORDER BY job_id LIMIT 1"
        ),
        {"batch": batch_id, "code": code},
    )
    return found
