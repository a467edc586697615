"""Many rows of one statement, as tuples, past what SQLAlchemy does for each value of each row."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from worker.storage.types import utc_text

Values = Sequence[tuple[Any, ...]]


def write_rows(conn: Connection, statement: str, rows: Values) -> None:
    """Run ``statement`` for each of ``rows`` with the driver's own executemany. ``?`` stands for a value of the row;
    times have to be given as ``time_value`` makes them, JSON as text."""
    if rows:
        own = statement if conn.dialect.name == "sqlite" else statement.replace("?", "%s")
        conn.exec_driver_sql(own, list(rows))


def insert_statement(table: str, columns: Sequence[str]) -> str:
    """``INSERT INTO table`` with a ``?`` for each column."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


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
