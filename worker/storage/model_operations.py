"""Operations on models: begun, worked off host by host, cancelled. ``operations`` holds the decisions, without a batch."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, or_, select, text, union_all, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import FINAL, JobState
from worker.domain.model_operations import ModelOperation, ModelPart, ModelVerb, PartState
from worker.errors import Conflict, NotFound
from worker.policy.windows import is_open, stored_windows
from worker.records import from_row
from worker.storage.hosts import clear_block
from worker.storage.reports import jobs_by_runner_key
from worker.storage.tables import blocks, count_deltas, counts, hosts, operation_parts, operations
from worker.storage.types import UtcTime, storable
from worker.storage.unreadable import readable, reading_row

_OPEN = text("state IN ('waiting', 'working')")
"""As the partial index says it."""
_LONGEST_STEP = 200
_LONGEST_ERROR = 1000


def begin_models(
    conn: Connection,
    verb: ModelVerb,
    models: Sequence[str],
    on_hosts: Sequence[str],
    *,
    arguments: Mapping[str, Any],
    now: datetime,
    principal: str | None = None,
) -> ModelOperation:
    """Store the decision, with a part for each model on each host; where the same one goes on already, return that.

    Raises Conflict where another operation on one of these models goes on on one of the hosts.
    """
    for operation in list_model_operations(conn, open_only=True):
        same = (operation.verb, dict(operation.arguments)) == (verb, dict(arguments))
        parts = {(part.host, part.model) for part in operation.parts}
        if same and parts == {(host, model) for host in on_hosts for model in models}:
            return operation
        for part in operation.parts:
            if part.is_open and part.host in on_hosts and part.names & set(models):
                raise Conflict(
                    f"operation {operation.id} on {part.model} still goes on on {part.host} ({part.progress}); wait for it, "
                    f"or caravan models cancel {operation.id}"
                )
    operation_id = conn.execute(
        insert(operations)
        .values(
            verb=str(verb),
            total=len(models) * len(on_hosts),
            arguments=dict(arguments) or None,
            principal=None if principal is None else storable(principal)[:200],
            stops=False,
            created_at=now,
        )
        .returning(operations.c.id)
    ).scalar_one()
    conn.execute(
        insert(operation_parts),
        [
            {
                "operation_id": operation_id,
                "host": host,
                "model": model,
                "state": str(PartState.WAITING),
                "changed_at": now,
            }
            for model in models
            for host in on_hosts
        ],
    )
    return read_model_operation(conn, operation_id)


def read_model_operation(conn: Connection, operation_id: int) -> ModelOperation:
    """As it stands. Raises NotFound, UnreadableRow."""
    row = conn.execute(
        select(operations).where(operations.c.id == operation_id, operations.c.batch_id.is_(None))
    ).first()
    if row is None:
        raise NotFound(f"no operation {operation_id} on models; caravan models operations lists them")
    return _operation(row, _parts(conn, [operation_id]).get(operation_id, ()))


def list_model_operations(
    conn: Connection, *, open_only: bool = False, limit: int = 1000
) -> list[ModelOperation]:
    """The newest first; those that this version cannot read are left out."""
    o = operations.c
    query = select(operations).where(o.batch_id.is_(None), *((o.ended_at.is_(None),) if open_only else ()))
    rows = conn.execute(query.order_by(o.id.desc()).limit(limit)).all()
    parts = _parts(conn, [row.id for row in rows])
    return readable(rows, lambda row: _operation(row, parts.get(row.id, ())))


def open_parts(conn: Connection, host: str | None = None) -> list[ModelPart]:
    """What is still to be done on a host, or on all, the oldest decision first."""
    o, p = operations.c, operation_parts.c
    query = (
        select(operation_parts, o.verb, o.arguments)
        .join(operations, o.id == p.operation_id)
        .where(*(() if host is None else (p.host == host,)), _OPEN)
        .order_by(p.operation_id, p.model, p.host)
    )
    return readable(conn.execute(query), lambda row: _part(row, row.verb, row.arguments))


def failed_parts(conn: Connection, *, since: datetime) -> list[ModelPart]:
    """Of what ended since then, the last that was done with each model on each host, where that failed."""
    o, p = operations.c, operation_parts.c
    query = (
        select(operation_parts, o.verb, o.arguments)
        .join(operations, o.id == p.operation_id)
        .where(o.batch_id.is_(None), p.changed_at >= since)
        .order_by(p.operation_id)
    )
    parts = readable(conn.execute(query), lambda row: _part(row, row.verb, row.arguments))
    last = {(part.host, part.model): part for part in parts}
    return [part for part in last.values() if part.state is PartState.FAILED]


def hosts_with_parts(conn: Connection, now: datetime) -> dict[str, bool]:
    """Host → whether something of it may be done outside of its hours, of those with parts that are due."""
    o, p = operations.c, operation_parts.c
    due = or_(p.next_at.is_(None), p.next_at <= bindparam("now", now, type_=UtcTime))
    rows = conn.execute(
        select(p.host, o.arguments).join(operations, o.id == p.operation_id).where(_OPEN, due)
    )
    by_host: dict[str, bool] = {}
    for host, arguments in rows:
        by_host[host] = by_host.get(host, False) or bool((arguments or {}).get("now"))
    return by_host


def keep_part(conn: Connection, part: ModelPart, *, now: datetime) -> bool:
    """Store how far a part has come, and end its operation with its last one; False where it was cancelled meanwhile."""
    p = operation_parts.c
    kept = conn.execute(
        update(operation_parts)
        .where(p.operation_id == part.operation_id, p.host == part.host, p.model == part.model, _OPEN)
        .values(
            state=str(part.state),
            step=storable(part.step)[:_LONGEST_STEP],
            completed=part.completed,
            total=part.total,
            tries=part.tries,
            next_at=part.next_at,
            error=None if part.error is None else storable(part.error)[:_LONGEST_ERROR],
            digest=part.digest,
            changed_at=now,
        )
    ).rowcount
    if not part.is_open:
        _count(conn, [part.operation_id], now)
    return bool(kept)


def cancel_models(conn: Connection, operation_id: int, *, now: datetime) -> ModelOperation:
    """End what is left of an operation; whoever works on it stops within seconds. What was pulled so far stays on the
    host. Raises NotFound."""
    read_model_operation(conn, operation_id)
    conn.execute(
        update(operation_parts)
        .where(operation_parts.c.operation_id == operation_id, _OPEN)
        .values(state=str(PartState.CANCELLED), next_at=None, changed_at=now)
    )
    _count(conn, [operation_id], now)
    return read_model_operation(conn, operation_id)


def end_parts_of_gone_hosts(conn: Connection, *, now: datetime) -> int:
    """End the parts of hosts that were removed; returns how many."""
    p = operation_parts.c
    gone = conn.scalars(
        update(operation_parts)
        .where(_OPEN, p.host.not_in(select(hosts.c.name)))
        .values(state=str(PartState.FAILED), error="the host was removed", next_at=None, changed_at=now)
        .returning(p.operation_id)
    ).all()
    _count(conn, sorted(set(gone)), now)
    return len(gone)


def _count(conn: Connection, ids: Collection[int], now: datetime) -> None:
    """Bring operations in step with their parts: how many are done, and whether all are."""
    for operation_id in ids:
        values = {"id": operation_id, "now": now}
        conn.execute(_COUNT, values)


_COUNT = text(
    "UPDATE operations SET done = (SELECT count(*) FROM operation_parts p WHERE p.operation_id = :id "
    "AND p.state NOT IN ('waiting', 'working')), ended_at = CASE WHEN EXISTS (SELECT 1 FROM operation_parts p "
    "WHERE p.operation_id = :id AND p.state IN ('waiting', 'working')) THEN NULL ELSE coalesce(ended_at, :now) END "
    "WHERE id = :id"
).bindparams(bindparam("now", type_=UtcTime))


def last_removal(conn: Connection, model: str) -> tuple[str, datetime] | None:
    """The hosts from which the newest operation removed a model, and when; None where none did."""
    o, p = operations.c, operation_parts.c
    query = (
        select(p.operation_id, p.host, p.changed_at)
        .join(operations, o.id == p.operation_id)
        .where(o.verb == str(ModelVerb.REMOVE), o.batch_id.is_(None), p.model == model, p.state == "done")
        .order_by(p.operation_id.desc(), p.host)
    )
    rows = conn.execute(query).all()
    newest = [row for row in rows if row.operation_id == rows[0].operation_id]
    if not newest:
        return None
    return ", ".join(row.host for row in newest), max(row.changed_at for row in newest)


def jobs_of_model(conn: Connection, model: str) -> dict[JobState, int]:
    """Jobs of a model that run or will run, by state. Held jobs do not count: nothing is lost to them."""
    by_state: dict[JobState, int] = {}
    for key, states in jobs_by_runner_key(conn, None).items():
        if key.split(" ", 1)[0] == model:
            for state, n in states.items():
                if state not in FINAL and state is not JobState.HELD and n > 0:
                    by_state[state] = by_state.get(state, 0) + n
    return by_state


def batches_that_hold(conn: Connection, model: str) -> list[int]:
    """Batches with held jobs of a model."""
    both = union_all(
        *(
            select(table.c.batch_id, table.c.runner_key).where(table.c.state == str(JobState.HELD))
            for table in (counts, count_deltas)
        )
    ).subquery()
    rows = conn.execute(select(both.c.batch_id, both.c.runner_key).distinct())
    return sorted({batch for batch, key in rows if key.split(" ", 1)[0] == model})


def is_closed(conn: Connection, host: str, now: datetime) -> bool:
    """Whether a host is outside of its hours."""
    windows = conn.scalar(select(hosts.c.windows).where(hosts.c.name == host))
    return not is_open(stored_windows(windows), now)


def clear_blocks_of_model(conn: Connection, host: str, model: str) -> None:
    """Runner keys of a model that failed on a host may be tried again."""
    keys = conn.scalars(select(blocks.c.runner_key).where(blocks.c.host == host)).all()
    for key in keys:
        if key.split(" ", 1)[0] == model:
            clear_block(conn, host, key)


def _parts(conn: Connection, ids: Collection[int]) -> dict[int, list[Row[Any]]]:
    p = operation_parts.c
    rows_by_operation: dict[int, list[Row[Any]]] = {}
    for row in conn.execute(
        select(operation_parts).where(p.operation_id.in_(list(ids))).order_by(p.model, p.host)
    ):
        rows_by_operation.setdefault(row.operation_id, []).append(row)
    return rows_by_operation


def _operation(row: Row[Any], parts: Iterable[Row[Any]]) -> ModelOperation:
    with reading_row("operations", row.id):
        return from_row(
            ModelOperation,
            row,
            verb=ModelVerb(row.verb),
            arguments=row.arguments or {},
            parts=tuple(_part(part, row.verb, row.arguments) for part in parts),
        )


def _part(row: Row[Any], verb: str, arguments: Mapping[str, Any] | None) -> ModelPart:
    with reading_row("operation_parts", f"{row.operation_id} {row.host}"):
        return from_row(
            ModelPart, row, verb=ModelVerb(verb), arguments=arguments or {}, state=PartState(row.state)
        )
