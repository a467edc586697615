"""Many rows of one statement, as tuples, past what SQLAlchemy does for each value of each row."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from worker.records import record
from worker.storage.types import utc_text

Values = Sequence[tuple[Any, ...]]


@record
class Insert:
    """An INSERT of some columns of a table, and what follows its values."""

    table: str
    columns: tuple[str, ...]
    conflict: str = ""


BLOCK = 16
"""Rows in a statement, where they do not come by COPY. More of them save little, and are too many for a statement of few
rows."""


def write_rows(conn: Connection, insert: Insert, rows: Values) -> None:
    """Insert ``rows`` in as few steps of the driver as it allows. Times have to be given as ``time_value`` makes them, JSON
    as text.

    Columns that are NULL in all rows are left out: SQLite's driver takes as long for each NULL and each ``bytes`` as for
    four other values, since it looks for an adapter first.
    """
    if not rows:
        return
    values = [(name, column) for name, column in zip(insert.columns, zip(*rows, strict=True), strict=True)]
    used = [(name, column) for name, column in values if column.count(None) < len(rows)]
    names = tuple(name for name, _ in used)
    if conn.dialect.name == "sqlite":
        _write_blocks(
            conn, insert, names, list(zip(*(_plain(column) for _, column in used), strict=True)), "?"
        )
    elif len(rows) < BLOCK or insert.conflict:
        _write_blocks(conn, insert, names, list(zip(*(column for _, column in used), strict=True)), "%s")
    else:
        copy_rows(conn, insert.table, names, zip(*(column for _, column in used), strict=True))


def copy_rows(conn: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """COPY into PostgreSQL. The driver looks at the type of each value, which takes three times as long."""
    fields = [_fields(column) for column in zip(*rows, strict=True)]
    cursor = conn.connection.cursor()
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        copy.write("".join(f"{line}\n" for line in map("\t".join, zip(*fields, strict=True))))
    cursor.close()


def _fields(column: Sequence[Any]) -> Iterable[str]:
    """The values of a column in lines of COPY. Many columns have the same one in all rows."""
    rows = len(column)
    return [_field(column[0])] * rows if column.count(column[0]) == rows else map(_field, column)


def _field(value: Any) -> str:
    r"""A value in a line of COPY.

    >>> [_field(value) for value in (None, True, 7, "a\tb\\c\r\n", b"\x01\xff")] == [
    ...     r"\N", "True", "7", r"a\tb\\c\r\n", r"\\x01ff"]
    True
    """
    if value is None:
        return r"\N"
    if isinstance(value, bytes):
        return rf"\\x{value.hex()}"
    text = str(value)
    if isinstance(value, str) and not text.isalnum():
        for mark, escape in _ESCAPES:
            text = text.replace(mark, escape)
    return text


_ESCAPES = (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))


def _write_blocks(conn: Connection, insert: Insert, names: tuple[str, ...], rows: Values, mark: str) -> None:
    """In blocks of one size, so that the driver finds the statement that it has prepared."""
    cursor = conn.connection.cursor()
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        cursor.execute(_statement(insert, names, len(block), mark), list(chain.from_iterable(block)))
    cursor.close()


@lru_cache(maxsize=256)
def _statement(insert: Insert, names: tuple[str, ...], rows: int, mark: str) -> str:
    marks = f"({', '.join([mark] * len(names))})"
    return f"INSERT INTO {insert.table} ({', '.join(names)}) VALUES {', '.join([marks] * rows)} {insert.conflict}"


def _plain(column: Sequence[Any]) -> Sequence[Any]:
    """The values as SQLite's driver takes them without looking for an adapter."""
    kind = type(column[0])
    if kind is bytes:
        return [value if value is None else bytearray(value) for value in column]
    if kind is bool:
        return [value if value is None else int(value) for value in column]
    return column


def time_value(conn: Connection) -> Callable[[datetime], Any]:
    """How a time goes to the driver."""
    return _text if conn.dialect.name == "sqlite" else lambda moment: moment


_text = lru_cache(maxsize=64)(utc_text)
"""The texts of a call's answers begin and end at the same times."""


def json_value(value: Any) -> str | None:
    """How JSON goes to the driver."""
    return None if value is None else json.dumps(value)


def among(dialect: str, column: str) -> str:
    """The condition that ``column`` is one of the numbers ``:members``, which ``members`` makes: one statement however many
    there are, where an IN list of parameters is put together again for each number of them."""
    values = {
        "sqlite": "(SELECT value FROM json_each(:members))",
        "postgresql": "ANY(CAST(:members AS bigint[]))",
    }
    return f"{column} {'IN' if dialect == 'sqlite' else '='} {values[dialect]}"


def members(conn: Connection, numbers: Sequence[int]) -> Any:
    """The parameter of ``among``."""
    return json.dumps(list(numbers)) if conn.dialect.name == "sqlite" else list(numbers)
