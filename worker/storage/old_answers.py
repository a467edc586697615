"""The old answer of a job that is asked again stays until a new one is stored: jobs go back to it, or have it replaced."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.engine import Connection

from worker.storage.slices import slices
from worker.storage.tables import jobs, payloads, results
from worker.storage.transitions import RESTORE, move


def answered_before() -> ColumnElement[bool]:
    """Whether a job has a stored answer. Of a job that has not ended it is the answer from before."""
    return exists(
        select(results.c.job_id)
        .where(results.c.job_id == jobs.c.id, results.c.state == "succeeded")
        .correlate(jobs)
    )


def return_to_answers(conn: Connection, ended: ColumnElement[bool]) -> int:
    """Of the jobs ``ended``, which the caller's transaction has just ended without an answer and counted: those that have
    an answer from before have succeeded, with that answer. Returns how many.
    """
    rows = conn.execute(
        select(jobs.c.id, jobs.c.batch_id, jobs.c.runner_key, jobs.c.priority, jobs.c.state)
        .where(ended, jobs.c.state.in_(sorted(RESTORE.leaves)), answered_before())
        .order_by(jobs.c.id)
    ).all()
    move(conn, RESTORE, rows)
    for some in slices(rows):
        forget_question(conn, [row.id for row in some])
    return len(rows)


def forget_question(conn: Connection, job_ids: Sequence[int]) -> None:
    """The answers of these jobs may be to other options than their requests have now: nobody takes them for others."""
    conn.execute(update(payloads).where(payloads.c.job_id.in_(job_ids)).values(reuse_key=None))
