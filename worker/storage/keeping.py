"""Prunes and deletes jobs with their requests and results. The counts stay.

In chunks of one batch: the batch is locked first, then jobs in the order of their ids, as everybody does who waits for
a job. Only jobs that have ended go, so no claim, lease or count of open work is touched.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

from worker.domain.answers import AnswerCounts
from worker.domain.batches import SETTLED
from worker.domain.jobs import JobState
from worker.domain.keeping import Ended, keep_period
from worker.domain.selection import Selection
from worker.records import record
from worker.storage.answers import flaws_of
from worker.storage.engine import Database
from worker.storage.jobs import lock_batch
from worker.storage.old_answers import return_to_answers
from worker.storage.picking import in_batch
from worker.storage.rollups import forget_results
from worker.storage.schedule_answers import unanswer
from worker.storage.selection import matching
from worker.storage.tables import all_tables, batches, follows, jobs, operations, rejects
from worker.storage.transitions import CANCEL_RUNNING, move


def _begins_with_job(table: Table) -> bool:
    return next(iter(table.primary_key.columns)).name == "job_id"


_OF_A_JOB = tuple(
    table
    for table in reversed(all_tables().sorted_tables)
    if _begins_with_job(table) and table.name not in ("results", "fresh_results")
)
"""Tables whose rows belong to one job, besides its result."""


@record
class Forgotten:
    """What a chunk came to."""

    jobs: int
    after: int | None = None
    """Where the next chunk begins; None: this was the last."""


# -- which ------------------------------------------------------------------------------------------------------------


_THERE = batches.c.pruned_at.is_(None)
_ENDINGS = (
    (batches.c.finished_at, and_(_THERE, batches.c.finished_at.is_not(None))),
    (batches.c.created_at, and_(_THERE, batches.c.state == literal_column("'refused'"))),
)
"""When batches ended, and which: those that ran, and those that were refused. Each has an index of its own."""


def ended_batches(conn: Connection, batch_ids: Collection[int]) -> list[Ended]:
    """Those of these batches that are over and whose texts are there, the oldest first."""
    batches_there = [
        row
        for ended, over in _ENDINGS
        for row in conn.execute(_ended(ended, over).where(batches.c.id.in_(sorted(batch_ids))))
    ]
    return sorted(map(_as_ended, batches_there), key=lambda batch: batch.batch_id)


def due_batches(
    conn: Connection,
    *,
    now: datetime,
    default: timedelta | None,
    older_than: timedelta | None = None,
    limit: int | None = None,
) -> list[Ended]:
    """Ended batches whose texts have been kept for long enough (``keep_period``), the oldest first; at most ``limit`` of those
    that say the same of keeping them.

    Reads what is due and no other batch that ended: for each different time that batches are kept, a range of an index.
    """
    due: list[Ended] = []
    for ended, over in _ENDINGS:
        for keep in _keeps(conn, over):
            kept = keep_period(keep, default=default, older_than=older_than)
            if kept is None:
                continue
            own_time = (
                batches.c.keep_seconds.is_(None)
                if keep is None
                else batches.c.keep_seconds == int(keep.total_seconds())
            )
            rows = conn.execute(
                _ended(ended, over).where(own_time, ended < now - kept).order_by(ended).limit(limit)
            )
            due += map(_as_ended, rows)
    return sorted(due, key=lambda batch: batch.batch_id)


def _keeps(conn: Connection, over: ColumnElement[bool]) -> Iterator[timedelta | None]:
    """What batches say of keeping them, each once: by jumping along the index."""
    yield None
    seconds: int | None = -1
    while True:
        seconds = conn.scalar(
            select(func.min(batches.c.keep_seconds)).where(over, batches.c.keep_seconds > seconds)
        )
        if seconds is None:
            return
        yield timedelta(seconds=seconds)


def _ended(ended: ColumnElement[datetime | None], over: ColumnElement[bool]) -> Select[Any]:
    return select(batches.c.id, batches.c.name, ended.label("ended"), batches.c.keep_seconds).where(
        over, ~exists().where(operations.c.batch_id == batches.c.id, operations.c.ended_at.is_(None))
    )


def _as_ended(row: Row[Any]) -> Ended:
    keep = None if row.keep_seconds is None else timedelta(seconds=row.keep_seconds)
    return Ended(row.id, row.name, row.ended, keep)


def count_there(conn: Connection, batch_ids: Sequence[int]) -> int:
    """Jobs of these batches that are there still."""
    query = select(func.count()).select_from(jobs)
    return sum(conn.scalar(query.where(in_batch(batch))) or 0 for batch in batch_ids)


def marked_jobs(
    conn: Connection, chosen: Selection, *, after: int, until: int | None = None, limit: int
) -> list[int]:
    """The ids of jobs that are to go, in their order, up to ``until``; fewer than ``limit`` only where there are no more."""
    query = select(jobs.c.id).where(matching(chosen), jobs.c.id > after)
    if until is not None:
        query = query.where(jobs.c.id <= until)
    return list(conn.scalars(query.order_by(jobs.c.id).limit(limit)))


def count_marked(conn: Connection, chosen: Selection) -> int:
    """How many ``marked_jobs`` finds in all."""
    return conn.scalar(select(func.count()).select_from(jobs).where(matching(chosen))) or 0


# -- they go ----------------------------------------------------------------------------------------------------------


def prune_some(conn: Connection, batch_id: int, *, after: int = 0, limit: int) -> Forgotten:
    """Forget jobs of a batch that is over. Nothing is done to one that is not, or not any more. Raises NotFound."""
    if lock_batch(conn, batch_id) not in SETTLED:
        return Forgotten(0)
    return _forget(conn, batch_id, and_(in_batch(batch_id), jobs.c.id > after), limit)


def forget_jobs(conn: Connection, batch_id: int, job_ids: Sequence[int]) -> int:
    """Forget these jobs of a batch, those that have ended; returns how many. Raises NotFound."""
    lock_batch(conn, batch_id)
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete = ON")  # what is free in the file is overwritten
    unanswer(conn, job_ids)
    return _forget(conn, batch_id, jobs.c.id.in_(job_ids), len(job_ids)).jobs


def _forget(conn: Connection, batch_id: int, chosen: ColumnElement[bool], limit: int) -> Forgotten:
    rows = conn.execute(
        select(jobs.c.id, jobs.c.runner_key, jobs.c.priority, jobs.c.state)
        .where(chosen, jobs.c.finished_at.is_not(None), ~_is_kept())
        .order_by(jobs.c.id)
        .limit(limit)
        .with_for_update(of=jobs)
    ).all()
    ids = [row.id for row in rows]
    if ids:
        flaws = flaws_of(conn, ids)
        forget_results(conn, ids)
        for table in _OF_A_JOB:
            conn.execute(delete(table).where(table.c.job_id.in_(ids)))
        conn.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        gone = Counter((row.runner_key, row.priority, row.state) for row in rows)
        flawed: defaultdict[tuple[str, int, str], AnswerCounts] = defaultdict(AnswerCounts)
        for row in rows:
            if row.id in flaws:
                flawed[row.runner_key, row.priority, row.state] += flaws[row.id]
        conn.execute(
            _COUNT,
            [
                {"batch": batch_id, "key": key, "priority": priority, "state": state, "jobs": n}
                | asdict(flawed[key, priority, state])
                for (key, priority, state), n in sorted(gone.items())
            ],
        )
    return Forgotten(len(ids), ids[-1] if len(ids) == limit else None)


def _is_kept() -> ColumnElement[bool]:
    """Whether a job that has not ended goes on from what this one was answered."""
    child = jobs.alias("child")
    return exists(
        select(follows.c.job_id)
        .join(child, child.c.id == follows.c.job_id)
        .where(follows.c.parent_id == jobs.c.id, child.c.finished_at.is_(None))
    )


_COUNT = text(
    "INSERT INTO pruned_counts (batch_id, runner_key, priority, state, jobs, cut, empty, unfit) "
    "VALUES (:batch, :key, :priority, :state, :jobs, :cut, :empty, :unfit) "
    "ON CONFLICT (batch_id, runner_key, priority, state) DO UPDATE SET jobs = pruned_counts.jobs + excluded.jobs, "
    "cut = pruned_counts.cut + excluded.cut, empty = pruned_counts.empty + excluded.empty, "
    "unfit = pruned_counts.unfit + excluded.unfit"
)


def close_pruned(conn: Connection, batch_id: int, *, now: datetime) -> bool:
    """Mark a batch of which no job is there any more, if it is over; what was said for all its rows goes too. False
    where it was marked before.

    The key that was made of its input is given up, so that this input can be asked again; a key that its producer
    chose is kept: it is the same batch for ever. Raises NotFound.
    """
    if lock_batch(conn, batch_id) not in SETTLED:
        return False
    if conn.scalar(select(exists().where(in_batch(batch_id)))):
        return False
    conn.execute(delete(rejects).where(rejects.c.batch_id == batch_id))
    made = (
        batches.c.key.regexp_match("^run-[0-9a-f]{32}")
        if conn.dialect.name == "postgresql"
        else _AUTOMATIC_KEY
    )
    marked = conn.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.pruned_at.is_(None))
        .values(
            pruned_at=now,
            recipe=None,
            lineage=None,
            key=case((made, batches.c.key + f"-pruned-{batch_id}"), else_=batches.c.key),
        )
    )
    return bool(marked.rowcount)


_AUTOMATIC_KEY = batches.c.key.op("GLOB")("run-" + "[0-9a-f]" * 32 + "*")


def end_running(conn: Connection, batch_id: int, job_ids: Sequence[int], *, now: datetime) -> int:
    """Cancel jobs whose workers did not stop when they were asked to: whatever they send finds its lease gone. Raises
    NotFound."""
    lock_batch(conn, batch_id)
    rows = conn.execute(
        select(jobs.c.id, jobs.c.batch_id, jobs.c.runner_key, jobs.c.priority, jobs.c.state)
        .where(jobs.c.id.in_(job_ids), jobs.c.state == JobState.RUNNING)
        .order_by(jobs.c.id)
        .with_for_update(of=jobs)
    ).all()
    move(conn, CANCEL_RUNNING, rows, now=now)
    return_to_answers(conn, jobs.c.id.in_([row.id for row in rows]))
    return len(rows)


def unfinished(conn: Connection, job_ids: Sequence[int]) -> list[int]:
    """Those of the jobs that have not ended."""
    query = select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_(None))
    return list(conn.scalars(query.order_by(jobs.c.id)))


# -- room in the file -------------------------------------------------------------------------------------------------


@record
class Room:
    """What an SQLite file could give back, in bytes."""

    free: int
    whole: int
    by_itself: bool
    """It is given back in steps; else ``caravan db compact`` does it, while nothing else uses the file."""


def room(database: Database) -> Room | None:
    """What a file of SQLite holds of room; None for PostgreSQL, which gives it to what comes next."""
    if database.dialect != "sqlite":
        return None
    with database.read() as conn:
        page, pages, free, mode = (
            int(conn.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
        )
    return Room(free * page, pages * page, mode == _INCREMENTAL)


_INCREMENTAL = 2


def leave_no_trace(database: Database) -> None:
    """What was deleted is in the write-ahead log of SQLite no more, unless a reader is at work in it just now."""
    if database.dialect == "sqlite":
        with database.outside() as conn:
            conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def compact(database: Database) -> int:
    """Write an SQLite file again, without free pages; by how many bytes it is smaller. Nobody else can write
    meanwhile, and as much room as the file takes is needed beside it. From then on it gives room back in steps."""
    before = room(database)
    if before is None:
        return 0
    with database.outside() as conn:
        conn.exec_driver_sql(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        conn.exec_driver_sql("VACUUM")
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    after = room(database)
    return 0 if after is None else before.whole - after.whole


def give_back(database: Database, *, pages: int) -> None:
    """Cut up to so many free pages off an SQLite file that can."""
    with database.outside() as conn:
        cursor = conn.connection.cursor()
        # each step frees one page, and the driver's execute takes one step of what gives no columns
        cursor.executescript(f"PRAGMA incremental_vacuum({pages});")
        cursor.close()
