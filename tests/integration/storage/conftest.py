"""A database with a batch in it, and short ways to say what happens to its jobs."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from worker.domain.attempts import Finish, Outcome, Succeeded
from worker.domain.jobs import ClaimedJob, JobState, NewJob, Priority
from worker.domain.operations import Operation
from worker.domain.replies import Result
from worker.domain.selection import Selection
from worker.errors import Problem
from worker.maintenance.operate import take_step
from worker.replies.contexts import unpack_context
from worker.storage.actions import by_batch, cancel_some
from worker.storage.batches import cancel_batch as begin_cancel
from worker.storage.batches import create_batch, promote_sealed, seal_batch
from worker.storage.claims import claim_jobs, claim_suspect
from worker.storage.counts import batch_counts
from worker.storage.engine import Connection, Database, open_database
from worker.storage.finishes import Finished, finish_jobs
from worker.storage.jobs import insert_jobs
from worker.storage.refusals import refuse_batch as begin_refusal
from worker.storage.tables.jobs import results

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
KEY = "qwen3:8b"


def new_job(seq: int, **fields: Any) -> NewJob:
    defaults: dict[str, Any] = {
        "custom_id": f"c{seq}",
        "model": "qwen3:8b",
        "runner_key": KEY,
        "priority": Priority.NORMAL,
        "prompt": f"Say {seq}.",
        "request": {"options": {"seed": seq}},
    }
    return NewJob(seq=seq, **{**defaults, **fields})


def a_result(**fields: Any) -> Result:
    defaults: dict[str, Any] = {
        "answer": "天空 is blue",
        "reasoning": "Let me think.",
        "reasoning_open": False,
        "done_reason": "stop",
        "cut": False,
        "prompt_fit": "yes",
        "prompt_tokens": 3,
        "output_tokens": 4,
        "tokens_per_second": 2.0,
        "prompt_tokens_per_second": None,
        "total_seconds": 2.5,
        "load_seconds": 0.0,
        "prompt_eval_seconds": 0.5,
        "eval_seconds": 2.0,
        "total_duration": 2_500_000_000,
        "load_duration": 0,
        "prompt_eval_duration": 500_000_000,
        "eval_duration": 2_000_000_000,
        "context": (151644, 14880, 0, 7),
    }
    return Result(**{**defaults, **fields})


@dataclass
class Store:
    """A database, its time, and one batch after another."""

    database: Database
    now: datetime = NOW
    batches: list[int] = field(default_factory=list)

    def submit(self, *jobs: NewJob, key: str | None = None) -> int:
        """A sealed batch whose jobs are queued; its id."""
        with self.database.write() as conn:
            batch, _ = create_batch(conn, key=key or uuid.uuid4().hex, name="b", source=None, now=self.now)
            insert_jobs(conn, batch.id, jobs, now=self.now)
            seal_batch(conn, batch.id, jobs=len(jobs), now=self.now)
            promote_sealed(conn, limit=100_000, now=self.now)
        self.batches.append(batch.id)
        return batch.id

    def claim(
        self, limit: int = 100, *, token: str = "t1", lease: float = 90, **more: Any
    ) -> list[ClaimedJob]:
        key = more.pop("runner_key", KEY)
        arguments: dict[str, Any] = {"host": "gpu-1", "runner_keys": [key], **more}
        with self.database.write() as conn:
            return claim_jobs(
                conn,
                limit=limit,
                token=token,
                now=self.now,
                lease_until=self.now + timedelta(seconds=lease),
                **arguments,
            )

    def claim_suspect(self, *, token: str, lease: float = 90) -> list[ClaimedJob]:
        with self.database.write() as conn:
            return claim_suspect(
                conn,
                host="gpu-1",
                runner_keys=[KEY],
                token=token,
                now=self.now,
                lease_until=self.now + timedelta(seconds=lease),
            )

    def finish(self, job: ClaimedJob, outcome: Outcome | None = None, **more: Any) -> Finished:
        with self.database.write() as conn:
            return finish_jobs(conn, [ending(job, outcome, **more)], now=self.now)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def counts(self, batch: int | None = None) -> dict[JobState, int]:
        with self.database.read() as conn:
            return batch_counts(conn, self.batches[-1] if batch is None else batch)


def ending(job: ClaimedJob, outcome: Outcome | None = None, **more: Any) -> Finish:
    fields: dict[str, Any] = {
        "job_id": job.id,
        "batch_id": job.batch_id,
        "token": job.token,
        "attempt": job.attempt,
        "host": "gpu-1",
        "started_at": NOW,
        "ended_at": NOW,
        "outcome": outcome or Succeeded(a_result()),
    }
    return Finish(**{**fields, **more})


def lines(count: int) -> list[NewJob]:
    return [new_job(seq) for seq in range(1, count + 1)]


def stored_context(conn: Connection, job_id: int) -> tuple[list[int], str]:
    """The context tokens of a result as they came, and the digest of the weights they belong to."""
    row = conn.execute(select(results.c.context, results.c.digest).where(results.c.job_id == job_id)).one()
    return list(unpack_context(row.context)), row.digest


@pytest.fixture
def fleet(migrated_postgres_url: str) -> Iterator[Store]:
    """PostgreSQL alone: on SQLite a second writer does not begin before the first has ended."""
    database = open_database(migrated_postgres_url)
    yield Store(database)
    database.close()


class CancelledJobs(NamedTuple):
    """Jobs that were cancelled at once, and jobs that run and were told to stop."""

    cancelled: int
    running: int


def cancel_jobs(conn: Connection, job_ids: Iterable[int], *, now: datetime) -> None:
    """Cancel some jobs."""
    for part in by_batch(Selection(job_ids=frozenset(job_ids))):
        cancel_some(conn, part, now=now, limit=1000)


def cancel_batch(conn: Connection, batch_id: int, *, now: datetime) -> CancelledJobs:
    """Cancel a batch with all its rows, in one transaction."""
    return _worked_off(conn, begin_cancel(conn, batch_id, now=now), now)


def refuse_batch(conn: Connection, batch_id: int, problems: Sequence[Problem], *, now: datetime) -> None:
    """Refuse a batch and drop its lines, in one transaction."""
    operation = begin_refusal(conn, batch_id, problems, now=now)
    if operation is not None:
        _worked_off(conn, operation, now)


def _worked_off(conn: Connection, operation: Operation, now: datetime) -> CancelledJobs:
    while operation.ended_at is None:
        operation, _ = take_step(conn, operation.id, now=now, wait=timedelta(0))
    return CancelledJobs(operation.done, operation.running)
