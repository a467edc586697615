"""What is still to be done, of which batch, with which runner key and how urgent? From the counts: no job is looked at."""

from sqlalchemy import func, select, union_all
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState, Priority
from worker.records import record
from worker.storage.tables import count_deltas, counts, operations

_ELIGIBLE = (JobState.QUEUED, JobState.RUNNING)
_STATES = tuple(str(state) for state in (*_ELIGIBLE, JobState.SCHEDULED, JobState.WAITING))


@record
class OpenJobs:
    """Jobs of a batch with one runner key and priority that can still change by themselves."""

    batch_id: int
    runner_key: str
    priority: Priority
    jobs: int
    """All of them."""
    eligible: int
    """Those that are queued or run."""


def open_jobs(conn: Connection) -> list[OpenJobs]:
    """Of all batches, in their order, without those that are being cancelled or deleted.

    A row for each batch, runner key and priority: their cost is that of the counts.
    """
    stopped = select(operations.c.batch_id).where(operations.c.ended_at.is_(None), operations.c.stops)
    both = union_all(
        *(
            select(table.c.batch_id, table.c.runner_key, table.c.priority, table.c.state, table.c.jobs).where(
                table.c.state.in_(_STATES), table.c.batch_id.not_in(stopped)
            )
            for table in (counts, count_deltas)
        )
    ).subquery()
    where = (both.c.batch_id, both.c.runner_key, both.c.priority)
    by_key: dict[tuple[int, str, int], list[int]] = {}
    for batch, key, priority, state, n in conn.execute(
        select(*where, both.c.state, func.sum(both.c.jobs)).group_by(*where, both.c.state).order_by(*where)
    ):
        totals = by_key.setdefault((batch, key, priority), [0, 0])
        totals[0] += int(n)
        totals[1] += int(n) if state in _ELIGIBLE else 0
    return [
        OpenJobs(batch, key, Priority(priority), max(0, jobs), max(0, eligible))
        for (batch, key, priority), (jobs, eligible) in by_key.items()
        if jobs > 0
    ]
