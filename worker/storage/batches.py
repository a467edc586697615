"""Batches: made, sealed, found, settled, cancelled."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, text, union_all, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from worker.domain.batches import Batch, BatchOrigin, BatchState
from worker.domain.jobs import FINAL, JobState
from worker.domain.operations import Operation, Verb
from worker.errors import Conflict, InputRefused, NotFound, Problem
from worker.policy.windows import is_open, stored_windows
from worker.records import from_row
from worker.storage.follows.links import mark_outside
from worker.storage.ids import id_range
from worker.storage.jobs import lock_batch
from worker.storage.operations import (
    begin_operation,
    keep_progress,
    open_operation,
    refuse_while_operating,
)
from worker.storage.picking import change_picked
from worker.storage.tables import batches, count_deltas, counts, rejects
from worker.storage.transitions import PROMOTE, move_picked
from worker.storage.types import UtcTime, storable

LONGEST_KEY = 200
TERMS = tuple(column.name for column in batches.c if column.info.get("term"))
"""Fields of a submission that are stored with its batch."""


def create_batch(
    conn: Connection,
    *,
    key: str,
    name: str,
    source: str | None,
    now: datetime,
    origin: BatchOrigin = BatchOrigin(),  # noqa: B008 - frozen
) -> tuple[Batch, bool]:
    """A batch in state ``receiving``, or the one that has this key already (False). A refused one begins again.

    Raises InputRefused for a key that cannot be one; Conflict for a refused batch of which lines are still there.
    """
    if not 0 < len(key) <= LONGEST_KEY or storable(key) != key:
        message = (
            f"key: expected 1 to {LONGEST_KEY} characters without NUL or lone surrogates, got {key[:50]!r}"
        )
        raise InputRefused([Problem(0, "key", "invalid_value", message)])
    terms = {
        name: storable(value) if isinstance(value, str) else value for name, value in origin.terms.items()
    }
    known = conn.execute(select(batches).where(batches.c.key == key)).first()
    if known is None:
        values = {
            "key": key,
            "name": storable(name)[:300],
            "source": None if source is None else storable(source),
            "state": BatchState.RECEIVING,
            "created_at": now,
            "lineage": origin.lineage,
            "recipe": origin.recipe,
            "keep_seconds": origin.keep_seconds,
            "parent_id": origin.parent,
            "schedule": origin.schedule,
            "windows": origin.windows,
            **terms,
            "closed": not is_open(stored_windows(origin.windows), now),
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
        lock_batch(conn, known.id)
        refuse_while_operating(conn, known.id)
        conn.execute(delete(rejects).where(rejects.c.batch_id == known.id))
        conn.execute(
            update(batches)
            .where(batches.c.id == known.id)
            .values(state=BatchState.RECEIVING, created_at=now, **terms)
        )
        return get_batch(conn, known.id), True
    return _batch(known), False


def batches_of_lineage(conn: Connection, lineage: str) -> list[Batch]:
    """The newest batches that asked the same input, as it was then; the newest first."""
    rows = conn.execute(
        select(batches)
        .where(batches.c.lineage == lineage, batches.c.state != BatchState.REFUSED)
        .order_by(batches.c.id.desc())
        .limit(_FAMILY)
    )
    return [_batch(row) for row in rows]


_FAMILY = 50
"""Batches of one input that are looked at."""


def recipe_of(conn: Connection, batch_id: int) -> dict[str, Any] | None:
    """What was said once for all rows of a batch."""
    return conn.scalar(select(batches.c.recipe).where(batches.c.id == batch_id))


def fail_cut_answers(conn: Connection, batch_id: int) -> None:
    """From now on an answer that was cut is a failure in this batch."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(fail_on_cut=True))


def set_keep(conn: Connection, batch_id: int, seconds: int) -> None:
    """The batch is kept for so long once it has ended; 0: for ever."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(keep_seconds=seconds))


def batch_of_key(conn: Connection, key: str) -> Batch | None:
    """The batch of an idempotency key."""
    row = conn.execute(select(batches).where(batches.c.key == key)).first()
    return None if row is None else _batch(row)


def seal_batch(conn: Connection, batch_id: int, *, jobs: int, now: datetime) -> Batch:
    """All lines are there: the batch is open, ``promote_sealed`` may make its jobs eligible, and what jobs of it wait for
    is looked at. Call ``mark_followed`` for all of it before."""
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state == BatchState.RECEIVING)
        .values(state=BatchState.OPEN, sealed_at=now, jobs=jobs)
    )
    mark_outside(conn, batch_id)
    return get_batch(conn, batch_id)


_SEALED = (
    "SELECT id FROM jobs WHERE state = 'scheduled' AND eligible_at IS NULL AND batch_id = :batch "
    "ORDER BY id LIMIT :limit"
)


def promote_sealed(conn: Connection, *, limit: int, now: datetime) -> int:
    """Make jobs of one sealed batch eligible, at most ``limit``: of the batch whose first job is the most urgent, and of
    those the oldest. Returns how many.

    Two that promote one batch at once do so one after the other; neither takes the other's chunk for the last.
    """
    batch = conn.scalar(_MOST_URGENT)
    return 0 if batch is None else promote_batch(conn, batch, limit=limit, now=now)


def promote_batch(conn: Connection, batch_id: int, *, limit: int, now: datetime) -> int:
    """The same for this batch alone; 0 where it is not open, or has none left."""
    locked = " FOR NO KEY UPDATE" if conn.dialect.name == "postgresql" else ""
    is_open = text(f"SELECT 1 FROM batches WHERE id = :batch AND state = 'open' AND NOT closed{locked}")
    if not conn.scalar(is_open, {"batch": batch_id}):
        return 0
    values = {"now": now, "batch": batch_id, "limit": limit}
    return len(move_picked(conn, PROMOTE, _SEALED, values, old=JobState.SCHEDULED, wait=True))


_MOST_URGENT = text(
    "SELECT id FROM (SELECT batches.id, (SELECT jobs.priority FROM jobs WHERE jobs.batch_id = batches.id "
    "AND jobs.state = 'scheduled' AND jobs.eligible_at IS NULL ORDER BY jobs.id LIMIT 1) AS urgency "
    "FROM batches WHERE state IN ('open', 'paused') AND state = 'open' AND NOT closed) AS sealed "
    "WHERE urgency IS NOT NULL ORDER BY urgency, id LIMIT 1"
)
"""By the first job that waits: all jobs of nearly every batch have one priority, and one read of an index tells it. Both
states are named because SQLite takes a partial index only where its own words stand in the query."""


def count_jobs(conn: Connection, batch_id: int, *, unfinished: bool = False) -> int:
    """Jobs of a batch by their counts; those that have not ended, where ``unfinished``."""
    ended = sorted(str(state) for state in FINAL)
    both = union_all(
        *(
            select(table.c.jobs).where(
                table.c.batch_id == batch_id, *((table.c.state.not_in(ended),) if unfinished else ())
            )
            for table in (counts, count_deltas)
        )
    ).subquery()
    return int(conn.scalar(select(func.coalesce(func.sum(both.c.jobs), 0))) or 0)


def get_batch(conn: Connection, batch_id: int) -> Batch:
    """Raises NotFound."""
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).first()
    if row is None:
        raise NotFound(f"no batch {batch_id}")
    return _batch(row)


def find_batch(conn: Connection, reference: str) -> Batch:
    """The batch by its number, key, name (the newest), ``@last``, or the beginning of a key or name.

    Raises NotFound; Conflict, which tells the candidates, when a beginning fits several.
    """
    if reference == "@last":
        row = conn.execute(select(batches).order_by(batches.c.id.desc()).limit(1)).first()
        if row is None:
            raise NotFound("there is no batch yet: caravan run FILE, or caravan submit FILE")
        return _batch(row)
    if reference.isascii() and reference.isdecimal() and len(reference) < 12:
        row = conn.execute(select(batches).where(batches.c.id == int(reference))).first()
        if row is not None:
            return _batch(row)
    for column in (batches.c.key, batches.c.name):
        row = conn.execute(
            select(batches).where(column == reference).order_by(batches.c.id.desc()).limit(1)
        ).first()
        if row is not None:
            return _batch(row)
    if reference:
        matches = _beginning_with(conn, reference)
        if len(matches) == 1:
            return matches[0]
        if matches:
            message = ", ".join(
                f"{batch.id} ({batch.name}, {batch.key[:20]})" for batch in matches[:_CANDIDATES]
            )
            more = ", …" if len(matches) > _CANDIDATES else ""
            raise Conflict(
                f"several batches begin with {reference!r}: {message}{more}; give more of it, or the number"
            )
    raise NotFound(f"no batch {reference!r}; caravan status lists them")


_CANDIDATES = 5


def _beginning_with(conn: Connection, beginning: str) -> list[Batch]:
    """The newest first. LIKE of SQLite takes A for a, so what it finds is looked at again."""
    rows = conn.execute(
        select(batches)
        .where(
            or_(
                batches.c.key.startswith(beginning, autoescape=True),
                batches.c.name.startswith(beginning, autoescape=True),
            )
        )
        .order_by(batches.c.id.desc())
        .limit(50)
    )
    return [_batch(row) for row in rows if row.key.startswith(beginning) or row.name.startswith(beginning)]


def list_batches(
    conn: Connection, limit: int = 50, *, states: Collection[BatchState] | None = None
) -> list[Batch]:
    """The newest first."""
    query = select(batches).order_by(batches.c.id.desc()).limit(limit)
    if states is not None:
        query = query.where(batches.c.state.in_(sorted(str(state) for state in states)))
    return [_batch(row) for row in conn.execute(query)]


def finish_batches(conn: Connection, *, now: datetime) -> list[int]:
    """Settle the batches, paused ones too, whose jobs have all ended; returns their ids. A held job keeps its batch
    open."""
    rows = conn.execute(_ENDED[conn.dialect.name]).all()
    # Counted again with the batches locked: a job that is asked again meanwhile has opened its batch for longer.
    finished = conn.execute(_FINISH, {"now": now, "ids": [row[0] for row in rows]}) if rows else ()
    return [row[0] for row in finished]


_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL))
_ALL_ENDED = (
    "state IN ('open', 'paused') AND jobs <= ("
    f"SELECT coalesce(sum(c.jobs), 0) FROM counts c WHERE c.batch_id = batches.id AND c.state IN ({_FINAL})) + ("
    f"SELECT coalesce(sum(d.jobs), 0) FROM count_deltas d WHERE d.batch_id = batches.id AND d.state IN ({_FINAL}))"
)
_ENDED = {
    dialect: text(f"SELECT id FROM batches WHERE {_ALL_ENDED}{locked}")
    for dialect, locked in (("sqlite", ""), ("postgresql", " FOR NO KEY UPDATE OF batches SKIP LOCKED"))
}
_FINISH = text(
    f"UPDATE batches SET state = 'finished', finished_at = :now WHERE id IN :ids AND {_ALL_ENDED} RETURNING id"
).bindparams(bindparam("now", type_=UtcTime), bindparam("ids", expanding=True))


def cancel_batch(
    conn: Connection,
    batch_id: int,
    *,
    now: datetime,
    verb: Verb = Verb.CANCEL,
    principal: str | None = None,
) -> Operation:
    """Cancel what is left of it, from now on: none of its jobs is claimed any more, and running jobs are asked to stop. The
    rows of its jobs follow with the operation that is returned; one that goes on with that already is returned, and any
    other is superseded.

    ``verb``: DELETE, where the jobs are to go as well; also of a batch that is over. Raises NotFound; Conflict where
    nothing is left to cancel.
    """
    state = lock_batch(conn, batch_id)
    operation = open_operation(conn, batch_id)
    if operation is not None and operation.selection is None and operation.verb in (verb, Verb.DELETE):
        return operation
    if operation is not None and operation.verb is Verb.DELETE and verb is Verb.CANCEL:
        refuse_while_operating(conn, batch_id)  # what somebody wants gone is not forgotten
    if state in (BatchState.RECEIVING, BatchState.OPEN, BatchState.PAUSED):
        values: dict[str, Any] = {"state": BatchState.CANCELLED, "finished_at": now}
        if state is BatchState.RECEIVING:  # it takes no more: it has the jobs that were stored
            values |= {"jobs": count_jobs(conn, batch_id), "sealed_at": now}
        conn.execute(update(batches).where(batches.c.id == batch_id).values(values))
    elif verb is Verb.CANCEL:
        raise Conflict(f"batch {batch_id} is {state}; there is nothing left to cancel")
    total = count_jobs(conn, batch_id, unfinished=verb is Verb.CANCEL)
    operation = begin_operation(conn, Operation(0, batch_id, verb, total, now, principal=principal))
    running = conn.execute(_TELL_RUNNING[conn.dialect.name], {"now": now, **id_range(batch_id)}).all()
    return keep_progress(conn, replace(operation, running=len(running))) if verb is Verb.CANCEL else operation


_TELL_RUNNING = {
    dialect: text(
        change_picked(
            f"SELECT id FROM jobs{hint} WHERE state = 'running' AND id >= :low AND id < :high "
            "AND cancel_requested_at IS NULL ORDER BY id",
            "cancel_requested_at = :now",
            "jobs.id",
            wait=True,
        )[dialect]
    ).bindparams(bindparam("now", type_=UtcTime))
    # those that run are few, the jobs of a batch many
    for dialect, hint in (("postgresql", ""), ("sqlite", " INDEXED BY ix_jobs_lease"))
}


def _batch(row: Row[Any]) -> Batch:
    return from_row(
        Batch,
        row,
        state=BatchState(row.state),
        pause_code=row.pause_code if row.state == BatchState.PAUSED else None,
        pause_reason=row.pause_reason if row.state == BatchState.PAUSED else None,
        terms={name: row._mapping[name] for name in TERMS},
    )
