"""Batches: made, sealed, refused, found, settled."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from worker.domain.batches import Batch, BatchState
from worker.domain.jobs import FINAL, JobState
from worker.errors import Conflict, InputRefused, NotFound, Problem
from worker.storage.deltas import add_changes, moved
from worker.storage.ids import job_id
from worker.storage.jobs import CancelCounts, cancel_jobs, lock_batch
from worker.storage.picking import in_batch
from worker.storage.tables import batches, count_deltas, counts, jobs, rejects
from worker.storage.types import UtcTime, storable

LONGEST_KEY = 200


def create_batch(
    conn: Connection, *, key: str, name: str, source: str | None, now: datetime
) -> tuple[Batch, bool]:
    """A batch in state ``receiving``, or the one that has this key already (False). A refused one begins anew.

    Raises InputRefused for a key that cannot be one.
    """
    if not 0 < len(key) <= LONGEST_KEY or storable(key) != key:
        told = f"key: expected 1 to {LONGEST_KEY} characters without NUL or lone surrogates, got {key[:50]!r}"
        raise InputRefused([Problem(0, "key", "invalid_value", told)])
    known = conn.execute(select(batches).where(batches.c.key == key)).first()
    if known is None:
        values = {
            "key": key,
            "name": storable(name)[:300],
            "source": None if source is None else storable(source),
            "state": BatchState.RECEIVING,
            "created_at": now,
        }
        try:
            with conn.begin_nested():
                conn.execute(insert(batches), values)
        except IntegrityError:
            pass  # somebody submitted the same key a moment ago
        else:
            return _batch(conn.execute(select(batches).where(batches.c.key == key)).one()), True
        known = conn.execute(select(batches).where(batches.c.key == key)).one()
    if known.state == BatchState.REFUSED:
        conn.execute(delete(rejects).where(rejects.c.batch_id == known.id))
        conn.execute(
            update(batches).where(batches.c.id == known.id).values(state=BatchState.RECEIVING, created_at=now)
        )
        return get_batch(conn, known.id), True
    return _batch(known), False


def known_seqs(conn: Connection, batch_id: int) -> int:
    """The last input line of a ``receiving`` batch that is stored; chunks are stored in order, each whole."""
    last = conn.scalar(select(func.max(jobs.c.id)).where(in_batch(batch_id)))
    return 0 if last is None else last - job_id(batch_id, 0)


def seal_batch(conn: Connection, batch_id: int, *, jobs: int, now: datetime) -> Batch:
    """All lines are there: the batch is open and ``promote_sealed`` may make its jobs eligible."""
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state == BatchState.RECEIVING)
        .values(state=BatchState.OPEN, sealed_at=now, jobs=jobs)
    )
    return get_batch(conn, batch_id)


_PROMOTE = text(
    "UPDATE jobs SET state = 'queued', eligible_at = :now WHERE id IN ("
    "SELECT id FROM jobs WHERE state = 'scheduled' AND eligible_at IS NULL AND batch_id = :batch "
    "ORDER BY id LIMIT :limit) RETURNING batch_id, runner_key, priority"
).bindparams(bindparam("now", type_=UtcTime))


def promote_sealed(conn: Connection, *, limit: int, now: datetime) -> int:
    """Make jobs of sealed batches eligible, at most ``limit``: the oldest batch first.

    Two that promote one batch at once do so one after the other; neither takes the other's chunk for the last.
    """
    locked = " FOR NO KEY UPDATE" if conn.dialect.name == "postgresql" else ""
    batch = conn.scalar(
        text(
            "SELECT batches.id FROM batches WHERE batches.state = 'open' AND EXISTS (SELECT 1 FROM jobs WHERE "
            "jobs.batch_id = batches.id AND jobs.state = 'scheduled' AND jobs.eligible_at IS NULL) "
            f"ORDER BY batches.id LIMIT 1{locked}"
        )
    )
    if batch is None:
        return 0
    promoted = conn.execute(_PROMOTE, {"now": now, "batch": batch, "limit": limit}).all()
    changes: Counter[Any] = Counter()
    for batch_id, key, priority in promoted:
        moved(
            changes, batch=batch_id, key=key, priority=priority, old=JobState.SCHEDULED, new=JobState.QUEUED
        )
    add_changes(conn, changes)
    return len(promoted)


def refuse_batch(conn: Connection, batch_id: int, problems: Sequence[Problem], *, now: datetime) -> None:
    """Nothing of it can run: what was stored of it goes, what was wrong with it stays.

    Raises Conflict for a batch that is past that: somebody else sealed or cancelled it. Raises NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state not in (BatchState.RECEIVING, BatchState.REFUSED):
        raise Conflict(f"batch {batch_id} is {state} already and cannot be refused")
    conn.execute(delete(jobs).where(in_batch(batch_id)))
    # The changes first: a fold that is at work on them is waited for, and then the totals are complete.
    conn.execute(delete(count_deltas).where(count_deltas.c.batch_id == batch_id))
    conn.execute(delete(counts).where(counts.c.batch_id == batch_id))
    conn.execute(delete(rejects).where(rejects.c.batch_id == batch_id))
    conn.execute(update(batches).where(batches.c.id == batch_id).values(state=BatchState.REFUSED))
    if problems:
        conn.execute(
            insert(rejects),
            [
                {
                    "batch_id": batch_id,
                    "number": number,
                    "line": problem.line,
                    "field": storable(problem.field)[:300],
                    "code": problem.code[:50],
                    "message": storable(problem.message),
                }
                for number, problem in enumerate(problems)
            ],
        )


def list_rejects(conn: Connection, batch_id: int) -> list[Problem]:
    """What was wrong with a refused batch."""
    rows = conn.execute(
        select(rejects.c.line, rejects.c.field, rejects.c.code, rejects.c.message)
        .where(rejects.c.batch_id == batch_id)
        .order_by(rejects.c.number)
    )
    return [Problem(*row) for row in rows]


def get_batch(conn: Connection, batch_id: int) -> Batch:
    """Raises NotFound."""
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).first()
    if row is None:
        raise NotFound(f"no batch {batch_id}")
    return _batch(row)


def find_batch(conn: Connection, reference: str) -> Batch:
    """The batch by its number, key, name (the newest), ``@last``, or the beginning of a key.

    Raises NotFound; Conflict when a beginning fits several.
    """
    if reference == "@last":
        row = conn.execute(select(batches).order_by(batches.c.id.desc()).limit(1)).first()
        if row is None:
            raise NotFound("there is no batch yet: caravan run FILE, or caravan submit FILE")
        return _batch(row)
    if reference.isdecimal() and len(reference) < 12:
        row = conn.execute(select(batches).where(batches.c.id == int(reference))).first()
        if row is not None:
            return _batch(row)
    for column in (batches.c.key, batches.c.name):
        row = conn.execute(
            select(batches).where(column == reference).order_by(batches.c.id.desc()).limit(1)
        ).first()
        if row is not None:
            return _batch(row)
    beginning = batches.c.key.startswith(reference, autoescape=True)
    rows = conn.execute(select(batches).where(beginning).limit(2)).all() if reference else []
    match len(rows):
        case 0:
            raise NotFound(f"no batch {reference!r}; caravan status lists them")
        case 1:
            return _batch(rows[0])
        case _:
            raise Conflict(f"several batches begin with {reference!r}; give more of the key, or the number")


def list_batches(conn: Connection, limit: int = 50) -> list[Batch]:
    """The newest first."""
    return [_batch(row) for row in conn.execute(select(batches).order_by(batches.c.id.desc()).limit(limit))]


def finish_batches(conn: Connection, *, now: datetime) -> list[int]:
    """Settle the open batches whose jobs have all ended; returns their ids. A held job keeps its batch open."""
    final = ", ".join(f"'{state}'" for state in sorted(FINAL))
    locked = " FOR NO KEY UPDATE OF b SKIP LOCKED" if conn.dialect.name == "postgresql" else ""
    rows = conn.execute(
        text(
            "UPDATE batches SET state = 'finished', finished_at = :now WHERE state = 'open' AND id IN ("
            "SELECT b.id FROM batches b WHERE b.state = 'open' AND b.jobs <= ("
            "SELECT coalesce(sum(c.jobs), 0) FROM counts c WHERE c.batch_id = b.id "
            f"AND c.state IN ({final})) + ("
            "SELECT coalesce(sum(d.jobs), 0) FROM count_deltas d WHERE d.batch_id = b.id "
            f"AND d.state IN ({final})){locked}) RETURNING id"
        ).bindparams(bindparam("now", type_=UtcTime)),
        {"now": now},
    )
    return [row[0] for row in rows]


def cancel_batch(conn: Connection, batch_id: int, *, now: datetime) -> CancelCounts:
    """Cancel what is left of it. Raises NotFound; Conflict where nothing is left to cancel."""
    state = lock_batch(conn, batch_id)
    if state not in (BatchState.RECEIVING, BatchState.OPEN, BatchState.PAUSED):
        raise Conflict(f"batch {batch_id} is {state}; there is nothing left to cancel")
    cancelled = cancel_jobs(conn, batch_id=batch_id, now=now)
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(
            state=BatchState.CANCELLED, finished_at=now, sealed_at=func.coalesce(batches.c.sealed_at, now)
        )
    )
    return cancelled


def _batch(row: Row[Any]) -> Batch:
    return Batch(
        id=row.id,
        key=row.key,
        name=row.name,
        state=BatchState(row.state),
        source=row.source,
        created_at=row.created_at,
        sealed_at=row.sealed_at,
        finished_at=row.finished_at,
        jobs=row.jobs,
    )
