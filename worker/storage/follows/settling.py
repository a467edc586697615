"""Jobs that wait for others: linked, and let go, failed or cancelled when those have ended.

``jobs.followed`` marks a job whose end is news to somebody; whoever ends it need not know. A pass over the marked ones
that have ended settles those that wait for them and takes the mark off. Who finishes a job does the same at once, in
its own transaction, so that a slot goes on with its conversation; rows that somebody else holds are left to the pass.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.errors import Code
from worker.policy.follow import Parent, Verdict, verdict
from worker.records import record
from worker.storage.old_answers import answered_before, return_to_answers
from worker.storage.slices import slices
from worker.storage.tables import batches, follows, fresh_results, jobs, results
from worker.storage.transitions import CANCEL, FAIL_FOLLOWER, PROMOTE, move
from worker.storage.tries import ended_tries
from worker.storage.types import storable


@record
class Settled:
    """What became of jobs that waited."""

    promoted: int = 0
    failed: int = 0
    cancelled: int = 0

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(
            self.promoted + other.promoted, self.failed + other.failed, self.cancelled + other.cancelled
        )

    @property
    def any(self) -> bool:
        return self != Settled()


_IS_NEWS = text("jobs.followed")
"""Not the column, which becomes ``followed = 1`` on SQLite: ``ix_jobs_followed`` is used where its own words are."""


def settle_followers(conn: Connection, *, now: datetime, limit: int = 500) -> Settled:
    """Settle those that wait for jobs which have ended, at most ``limit`` of these; what fails so may be news itself."""
    query = (
        select(jobs.c.id).where(_IS_NEWS, jobs.c.finished_at.is_not(None)).order_by(jobs.c.id).limit(limit)
    )
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    return settle_after(conn, conn.scalars(query).all(), now=now)


def settle_after(conn: Connection, parents: Sequence[int], *, now: datetime) -> Settled:
    """Settle those that wait for these jobs, which have ended and whose rows the caller holds."""
    done = Settled()
    for ids in slices(parents):
        done += _settle(conn, ids, now)
    return done


def _settle(conn: Connection, parents: Sequence[int], now: datetime) -> Settled:
    waiting = _waiting(conn, parents)
    held = _locked(conn, sorted({row.job_id for row in waiting}))
    verdicts = _verdicts(conn, sorted(held))
    by_verdict: dict[Verdict, list[Row[Any]]] = defaultdict(list)
    for job, ending in verdicts.items():
        by_verdict[ending].append(held[job])
    _end(conn, by_verdict, now)
    # one that somebody holds is looked at again: by then whoever holds it has seen all of its parents, or we do
    open_still = {row.parent_id for row in waiting if row.job_id not in held}
    for ids in slices([parent for parent in parents if parent not in open_still]):
        conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(followed=False))
    return Settled(*(len(by_verdict[verdict]) for verdict in (Verdict.PROMOTE, Verdict.FAIL, Verdict.CANCEL)))


def _waiting(conn: Connection, parents: Sequence[int]) -> Sequence[Any]:
    """Those that wait for these, of batches that can be worked on."""
    j = jobs.c
    return conn.execute(
        select(follows.c.job_id, follows.c.parent_id)
        .join(jobs, j.id == follows.c.job_id)
        .join(batches, batches.c.id == j.batch_id)
        .where(
            follows.c.parent_id.in_(parents),
            j.state == JobState.WAITING,
            batches.c.state.not_in((str(BatchState.RECEIVING), str(BatchState.REFUSED))),
        )
    ).all()


def _locked(conn: Connection, job_ids: Sequence[int]) -> dict[int, Row[Any]]:
    j = jobs.c
    locked: dict[int, Row[Any]] = {}
    for ids in slices(job_ids):
        query = (
            select(
                *(j.id, j.batch_id, j.custom_id, j.model, j.runner_key, j.priority, j.state),
                ended_tries().label("tries"),
            )
            .where(j.id.in_(ids), j.state == JobState.WAITING)
            .order_by(j.id)
        )
        if conn.dialect.name == "postgresql":
            query = query.with_for_update(skip_locked=True, of=jobs)
        locked |= {row.id: row for row in conn.execute(query)}
    return locked


def _verdicts(conn: Connection, job_ids: Sequence[int]) -> dict[int, Verdict]:
    parents: dict[int, list[Parent]] = defaultdict(list)
    for ids in slices(job_ids):
        rows = conn.execute(
            select(follows.c.job_id, follows.c.release, jobs.c.state)
            .outerjoin(jobs, jobs.c.id == follows.c.parent_id)
            .where(follows.c.job_id.in_(ids))
        )
        for job, release, state in rows:
            parents[job].append(Parent(None if state is None else JobState(state), bool(release)))
    return {job: verdict(ends) for job, ends in parents.items()}


def _end(conn: Connection, by_verdict: Mapping[Verdict, Sequence[Row[Any]]], now: datetime) -> None:
    answered = _answered(conn, [*by_verdict.get(Verdict.FAIL, ()), *by_verdict.get(Verdict.CANCEL, ())])
    for ending, rows in by_verdict.items():
        match ending:
            case Verdict.WAIT:
                continue
            case Verdict.PROMOTE:
                transition = PROMOTE
            case Verdict.FAIL:
                transition = FAIL_FOLLOWER
                _failed(conn, [row for row in rows if row.id not in answered], now)
            case Verdict.CANCEL:
                transition = CANCEL
        move(conn, transition, rows, now=now)
    for ids in slices(answered):
        return_to_answers(conn, jobs.c.id.in_(ids))


def _answered(conn: Connection, rows: Sequence[Row[Any]]) -> list[int]:
    """Those of the jobs that have an answer from before."""
    answered: list[int] = []
    for ids in slices([row.id for row in rows]):
        answered += conn.scalars(select(jobs.c.id).where(jobs.c.id.in_(ids), answered_before()))
    return answered


def _failed(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> None:
    if not rows:
        return
    why = _why(conn, [row.id for row in rows])
    conn.execute(
        insert(results),
        [
            {
                "job_id": row.id,
                "batch_id": row.batch_id,
                "custom_id": row.custom_id,
                "model": row.model,
                "state": str(JobState.FAILED),
                "host": "",  # it was never asked
                "error_code": str(Code.PARENT_FAILED),
                "error_message": storable(why.get(row.id, "the job before it is not there any more")),
                "attempts": row.tries,
                "finished_at": now,
                "day": now.astimezone(UTC).date(),
            }
            for row in rows
        ],
    )
    conn.execute(insert(fresh_results), [{"job_id": row.id} for row in rows])


def _why(conn: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """Which parent has no answer, and since when that is known."""
    reasons: dict[int, str] = {}
    for ids in slices(job_ids):
        rows = conn.execute(
            select(follows.c.job_id, jobs.c.custom_id, jobs.c.state, results.c.error_code)
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .outerjoin(results, results.c.job_id == jobs.c.id)
            .where(
                follows.c.job_id.in_(ids), jobs.c.finished_at.is_not(None), jobs.c.state != JobState.SUCCEEDED
            )
            .order_by(follows.c.parent_id)
        )
        for job, parent, state, code in rows:
            reasons.setdefault(
                job, f"{parent}, which it follows, {_ended(state)}{f' ({code})' if code else ''}"
            )
    return reasons


def _ended(state: str) -> str:
    return {"cancelled": "was cancelled"}.get(state, state)
