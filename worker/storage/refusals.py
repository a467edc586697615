"""Batches that are refused: what was wrong with them, and how their lines go."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState
from worker.domain.operations import Operation, Verb
from worker.errors import Conflict, Problem
from worker.storage.batches import count_jobs
from worker.storage.deltas import add_changes
from worker.storage.jobs import lock_batch
from worker.storage.operations import (
    begin_operation,
)
from worker.storage.picking import in_batch
from worker.storage.tables import batches, jobs, rejects
from worker.storage.types import storable


def refuse_batch(
    conn: Connection, batch_id: int, problems: Sequence[Problem], *, now: datetime
) -> Operation | None:
    """Nothing of it can run, from now on; what was wrong with it is stored. What was stored of its lines is dropped by
    the operation that is returned; None where there is nothing.

    Raises Conflict for a batch that is past that: somebody else sealed or cancelled it. Raises NotFound.
    """
    state = lock_batch(conn, batch_id)
    if state not in (BatchState.RECEIVING, BatchState.REFUSED):
        raise Conflict(f"batch {batch_id} is {state} already and cannot be refused")
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
    stored = count_jobs(conn, batch_id)
    return begin_operation(conn, Operation(0, batch_id, Verb.REFUSE, stored, now)) if stored else None


def forget_refused(conn: Connection, key: str) -> bool:
    """Nothing of a refused batch is left, where no line of it is stored any more; whether there was such a batch."""
    there = exists(select(jobs.c.id).where(jobs.c.batch_id == batches.c.id))
    gone = conn.execute(
        delete(batches).where(batches.c.key == key, batches.c.state == BatchState.REFUSED, ~there)
    )
    return bool(gone.rowcount)


def drop_lines(conn: Connection, batch_id: int, *, after: int, until: int) -> int:
    """Drop lines that were stored of a refused batch, those with ids after the one and up to the other, and their counts;
    returns how many. Raises NotFound."""
    lock_batch(conn, batch_id)
    j = jobs.c
    rows = conn.execute(
        select(j.id, j.runner_key, j.priority, j.state)
        .where(in_batch(batch_id), j.id > after, j.id <= until)
        .order_by(j.id)
    ).all()
    changes: Counter[Any] = Counter()
    for row in rows:
        changes[batch_id, row.runner_key, row.priority, row.state] -= 1
    if rows:
        conn.execute(delete(jobs).where(j.id.between(rows[0].id, rows[-1].id)))
    add_changes(conn, changes)
    return len(rows)


def list_rejects(conn: Connection, batch_id: int) -> list[Problem]:
    """What was wrong with a refused batch."""
    rows = conn.execute(
        select(rejects.c.line, rejects.c.field, rejects.c.code, rejects.c.message)
        .where(rejects.c.batch_id == batch_id)
        .order_by(rejects.c.number)
    )
    return [Problem(*row) for row in rows]
