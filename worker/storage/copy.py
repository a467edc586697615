"""Copies all rows of one database into another, of either kind, with their ids; goes on where it was stopped.

Rows go in the order of their keys, in chunks that are committed one by one. So the target always holds a beginning, and the
last key in the target says where to go on.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Integer, Table, and_, delete, func, insert, or_, select, text
from sqlalchemy.engine import Connection

from worker.domain.numbers import count_of
from worker.errors import Conflict
from worker.storage.engine import Database
from worker.storage.tables import all_tables, drafts, fleet, hosts, jobs, pulses, results

CHUNK = 2000
_SKIP = frozenset({fleet.name, pulses.name, drafts.name})
"""The row of ``fleet`` is in every database; who was alive, and who was looking on, is not what is moved."""

Progress = Callable[[str, int], None]
"""A table, and how many rows of it were copied so far."""


def copied_tables() -> list[Table]:
    """What is copied, each after those that it refers to."""
    return [table for table in all_tables().sorted_tables if table.name not in _SKIP]


def is_empty(conn: Connection) -> bool:
    """Whether nothing was ever submitted here, and no host added."""
    return not any(conn.scalar(select(func.count()).select_from(table)) for table in (hosts, jobs))


def empty(conn: Connection) -> None:
    """Delete every row that is copied."""
    for table in reversed(copied_tables()):
        conn.execute(delete(table))


def copy_rows(
    source: Connection, target: Database, *, progress: Progress = lambda _table, _rows: None
) -> None:
    """Copy what the transaction ``source`` sees and ``target`` does not have yet. Raises DatabaseUnavailable."""
    for table in copied_tables():
        copied = 0
        with target.write() as conn:
            if not _goes_on(table):
                conn.execute(delete(table))  # few rows, or in an order of text that the two do not share
            after = _last(conn, table)
        for rows in _chunks(source, table, after):
            with target.write() as conn:
                conn.execute(insert(table), rows)
            copied += len(rows)
            progress(table.name, copied)
    with target.write() as conn:
        _set_sequences(conn)


def differences(source: Connection, target: Connection) -> list[str]:
    """Where the two do not hold the same: rows by table, and a checksum over jobs and answers."""
    lines = []
    for table in copied_tables():
        counted = [conn.scalar(select(func.count()).select_from(table)) or 0 for conn in (source, target)]
        if counted[0] != counted[1]:
            lines.append(f"{table.name}: {count_of(counted[0], 'row')}, copied {counted[1]:,}")
    for table, columns in ((jobs, ("id", "state", "attempt")), (results, ("job_id", "state", "answer"))):
        if len({_checksum(conn, table, columns) for conn in (source, target)}) > 1:
            lines.append(f"{table.name}: the checksums of {', '.join(columns)} differ")
    return lines


def nobody_serves(conn: Connection, *, now: Any) -> None:
    """Raise Conflict while a worker holds a host."""
    serving = conn.scalars(select(hosts.c.name).where(hosts.c.serving_until > now)).all()
    if serving:
        raise Conflict(f"{', '.join(serving)} is being served; stop the workers first")


def _chunks(conn: Connection, table: Table, after: tuple[Any, ...] | None) -> Iterator[list[dict[str, Any]]]:
    keys = list(table.primary_key.columns)
    while True:
        query = select(table).order_by(*keys).limit(CHUNK)
        if after is not None:
            query = query.where(_beyond(keys, after))
        rows = [dict(row) for row in conn.execute(query).mappings()]
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        after = tuple(rows[-1][key.name] for key in keys)


def _beyond(keys: list[Any], after: tuple[Any, ...]) -> Any:
    """The rows after ``after`` in the order of ``keys``: (a, b) > (x, y), said in a way that both databases take."""
    return or_(
        *(
            and_(*(keys[before] == after[before] for before in range(at)), keys[at] > after[at])
            for at in range(len(keys))
        )
    )


def _last(conn: Connection, table: Table) -> tuple[Any, ...] | None:
    keys = list(table.primary_key.columns)
    row = conn.execute(select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).first()
    return None if row is None else tuple(row)


def _goes_on(table: Table) -> bool:
    """Whether a copy that was stopped goes on behind the last key: many rows, never changed while they are moved.

    Keys of numbers alone: databases order text each in their way, and the last one here is not the last one there.
    """
    many = _numbers_itself(table) or any(name in table.c for name in ("job_id", "batch_id"))
    return many and all(isinstance(key.type, Integer) for key in table.primary_key.columns)


def _numbers_itself(table: Table) -> bool:
    return any(key.autoincrement is True for key in table.primary_key.columns)


def _set_sequences(conn: Connection) -> None:
    if conn.dialect.name != "postgresql":
        return
    for table in copied_tables():
        if _numbers_itself(table):
            conn.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                    f"greatest((SELECT max(id) FROM {table.name}), 1), (SELECT max(id) FROM {table.name}) IS NOT NULL)"
                )
            )


def _checksum(conn: Connection, table: Table, columns: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    query = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
    for row in conn.execution_options(yield_per=CHUNK).execute(query):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()
