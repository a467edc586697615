"""Jobs that no worker holds: inserted, promoted, expired, held."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from api_schemas.json_text import json_writer
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState, NewJob
from worker.domain.request_texts import request_texts
from worker.errors import Conflict, NotFound
from worker.kinds.registry import kind_of
from worker.storage.deltas import Change, add_changes
from worker.storage.ids import id_range, job_id
from worker.storage.old_answers import return_to_answers
from worker.storage.reuse import NEW
from worker.storage.rows import copy_rows
from worker.storage.tables import batches, jobs
from worker.storage.transitions import EXPIRE, HOLD, PROMOTE_DUE, move_picked
from worker.storage.types import storable, utc_text

_JOB_COLUMNS = (
    "id",
    "batch_id",
    "custom_id",
    "model",
    "state",
    "priority",
    "runner_key",
    "prefix_group",
    "estimate",
    "submitted_at",
    "deadline",
    "expires",
    "max_attempts",
    "reuse",
    "carries",
    "kind",
)
_encode = json_writer(separators=(",", ":"))
_MOST_VALUES = 32_000
"""Of a statement on SQLite, which takes 32,766 at most."""
_PAYLOAD_COLUMNS = ("job_id", "prompt", "request", "metadata", "digest", "reuse_key")


def insert_jobs(conn: Connection, batch_id: int, new: Sequence[NewJob], *, now: datetime) -> None:
    """Insert a chunk as ``scheduled`` or ``waiting``; nothing can claim it before the batch is sealed.

    Lines that are there already (a commit's answer was lost, or somebody submits the same batch at the same time) are
    left as they are. Raises Conflict, after which the transaction has to be rolled back, where a custom_id stands in
    the batch already under another line or the batch takes no more jobs; NotFound.
    """
    if not new:
        return
    state = lock_batch(conn, batch_id)
    first, last = job_id(batch_id, new[0].seq), job_id(batch_id, new[-1].seq)
    there = frozenset(conn.scalars(select(jobs.c.id).where(jobs.c.id.between(first, last))))
    if there:
        new = [job for job in new if job_id(batch_id, job.seq) not in there]
        if not new:
            return
    if state is not BatchState.RECEIVING:
        raise Conflict(f"batch {batch_id} is {state}; no jobs can be added to it")
    try:
        # PostgreSQL answers nothing more after an error unless there is a savepoint to go back to. SQLite does; there
        # a full disk ends the transaction, and going back to a savepoint would hide why.
        with conn.begin_nested() if conn.dialect.name == "postgresql" else nullcontext():
            insert_rows(conn, batch_id, new, now)
    except Exception as error:
        if not _is_duplicate(error):
            raise
        raise Conflict(_duplicate(conn, batch_id, new)) from error
    count_new(conn, batch_id, new)


def count_new(conn: Connection, batch_id: int, new: Iterable[NewJob]) -> None:
    """Count jobs that were inserted."""
    alike = Counter((job.runner_key, job.priority, job.after is None) for job in new)
    changes: dict[Change, int] = {
        (batch_id, key, int(priority), str(JobState.SCHEDULED if free else JobState.WAITING)): count
        for (key, priority, free), count in alike.items()
    }
    add_changes(conn, changes)


def lock_batch(conn: Connection, batch_id: int) -> BatchState:
    """Keep the batch as it is until the transaction ends, and tell its state. Raises NotFound.

    Whoever changes many jobs of a batch takes this before the first of them: two that do so at once never wait for
    each other in a circle, and no job is added to a batch that is being cancelled.
    """
    row = conn.execute(
        select(batches.c.state).where(batches.c.id == batch_id).with_for_update(key_share=True)
    ).first()
    if row is None:
        raise NotFound(f"no batch {batch_id}")
    return BatchState(row.state)


def insert_rows(conn: Connection, batch_id: int, new: Sequence[NewJob], now: datetime) -> None:
    """The rows alone: no counts, no state of the batch looked at."""
    server = conn.dialect.name == "postgresql"
    write = copy_rows if server else _insert_many
    write(conn, "jobs", _JOB_COLUMNS, _job_rows(batch_id, new, now, _as_it_is if server else utc_text))
    write(conn, "payloads", _PAYLOAD_COLUMNS, _payload_rows(batch_id, new))


def _job_rows(
    batch_id: int, new: Iterable[NewJob], now: datetime, time: Callable[[datetime], Any]
) -> Iterator[tuple[Any, ...]]:
    """``time`` makes of a time what the driver takes."""
    base, at = job_id(batch_id, 0), time(now)
    for job in new:
        after = job.after
        yield (
            base + job.seq,
            batch_id,
            job.custom_id,
            job.model,
            "scheduled" if after is None else "waiting",
            int(job.priority),
            job.runner_key,
            base + (job.prefix_group or job.seq),
            job.estimate,
            at,
            None if job.deadline is None else time(job.deadline),
            job.expires,
            job.max_attempts,
            NEW if job.reuse else None,
            after is not None and after.carry,
            job.kind,
        )


def _payload_rows(batch_id: int, new: Iterable[NewJob]) -> Iterator[tuple[Any, ...]]:
    base = job_id(batch_id, 0)
    for job in new:
        yield (
            base + job.seq,
            job.prompt,
            request_texts(job.request).json,
            None if job.metadata is None else _encode(job.metadata),
            kind_of(job.kind).digest(job),
            reuse_key_of(job),
        )


def _as_it_is(time: datetime) -> datetime:
    return time


def reuse_key_of(job: NewJob) -> bytes | None:
    """What it asks; None where that depends on the answers of others."""
    return None if job.depends else kind_of(job.kind).reuse_key(job.runner_key, job.prompt, job.request)


def _insert_many(
    conn: Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Statements of many rows, through the driver: SQLAlchemy would make a dictionary of each row first.

    Within a statement the driver lets other threads of the process go on; with executemany it waits for its turn after
    each row, which takes milliseconds beside a thread that reads the next rows.
    """
    cursor = conn.connection.cursor()
    rows = iter(rows)
    most = _MOST_VALUES // len(columns)
    while block := list(islice(rows, most)):
        cursor.execute(_insert(table, columns, len(block)), list(chain.from_iterable(block)))
    cursor.close()


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * rows)}"


def _is_duplicate(error: Exception) -> bool:
    """The drivers' own errors: what COPY and executemany raise does not pass SQLAlchemy."""
    return type(error).__name__ == "UniqueViolation" or "UNIQUE constraint failed: jobs.batch_id" in str(
        error
    )


def _duplicate(conn: Connection, batch_id: int, new: Sequence[NewJob]) -> str:
    lines: dict[tuple[str, str], int] = {}
    for job in new:
        first = lines.setdefault((job.custom_id, job.model), job.seq)
        if first != job.seq:
            return _stands_already(job.custom_id, job.model, job.seq, first)
    j = jobs.c
    for start in range(0, len(new), _MANY):
        chunk = [job.custom_id for job in new[start : start + _MANY]]
        rows = conn.execute(
            select(j.custom_id, j.model, j.id).where(j.batch_id == batch_id, j.custom_id.in_(chunk))
        )
        for custom_id, model, job in rows:
            if (custom_id, model) in lines:
                return _stands_already(custom_id, model, lines[custom_id, model], job - job_id(batch_id, 0))
    return "a custom_id stands in this batch already"


def _stands_already(custom_id: str, model: str, line: int, first: int) -> str:
    return f"line {line}: custom_id {custom_id!r} stands on line {first} already; it must be unique per model ({model})"


_MANY = 500
"""Values in one IN list."""

_DUE = (
    "SELECT id FROM jobs WHERE state = 'scheduled' AND eligible_at <= :now AND EXISTS (SELECT 1 FROM batches "
    "WHERE batches.id = jobs.batch_id AND batches.state = 'open' AND NOT batches.closed) ORDER BY eligible_at LIMIT :limit"
)
_PAST_DEADLINE = (
    "SELECT id FROM jobs WHERE expires AND finished_at IS NULL AND deadline <= :now AND state = :old "
    "ORDER BY deadline LIMIT :limit"
)


def promote_due(conn: Connection, *, now: datetime, limit: int = 5000) -> int:
    """Queue what has waited out its back-off; returns how many."""
    return len(move_picked(conn, PROMOTE_DUE, _DUE, {"now": now, "limit": limit}))


def expire_due(conn: Connection, *, now: datetime, limit: int = 5000) -> int:
    """End the jobs whose deadline passed and whose producer asked for that; running ones may end."""
    expired = 0
    for old in (JobState.QUEUED, JobState.SCHEDULED, JobState.WAITING, JobState.HELD):
        values = {"now": now, "limit": limit, "old": str(old)}
        ids = move_picked(conn, EXPIRE, _PAST_DEADLINE, values, old=old)
        for start in range(0, len(ids), _MANY):
            return_to_answers(conn, jobs.c.id.in_(ids[start : start + _MANY]))
        expired += len(ids)
    return expired


_QUEUED_OF_KEY = (
    "SELECT id FROM jobs WHERE state = 'queued' AND runner_key = :key "
    "AND prefix_group >= :low AND prefix_group < :high ORDER BY priority, expires, prefix_group, id LIMIT :limit"
)


def hold_jobs(
    conn: Connection,
    *,
    runner_key: str,
    code: str,
    reason: str,
    batch_id: int | None = None,
    limit: int = 5000,
) -> int:
    """Park queued jobs of a runner key (of one batch where given) with a reason; returns how many."""
    values = {"key": runner_key, "code": str(code), "reason": storable(reason), "limit": limit}
    picked = move_picked(conn, HOLD, _QUEUED_OF_KEY, values | id_range(batch_id), old=JobState.QUEUED)
    return len(picked)
