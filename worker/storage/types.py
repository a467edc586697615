"""Column types that mean the same on SQLite and PostgreSQL."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, String, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time: TIMESTAMPTZ on PostgreSQL; on SQLite text that sorts, ``2026-11-23T02:00:00.000000Z``.

    SQLite's own date functions and pandas read that form.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return utc_text(value) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Not ``process_result_value``, which costs two calls a value: a decision reads a dozen times for each host."""
        return _time_of_text if dialect.name == "sqlite" else _time_in_utc


def _time_of_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _time_in_utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


class StateWord(String):
    """A state, which a comparison writes into the statement instead of binding it.

    The indexes of the large tables hold the rows of some states. A database uses one only where the statement itself names
    the state: PostgreSQL makes one plan of a statement that it has prepared, for whatever values, and it would read all jobs.
    """

    class comparator_factory(String.Comparator[str]):  # noqa: N801 - the name is SQLAlchemy's
        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> Any:
            return super().operate(op, *(_written(value) for value in other), **kwargs)


def _written(value: Any) -> Any:
    if isinstance(value, str):
        return bindparam(None, str(value), String(), unique=True, literal_execute=True)
    if isinstance(value, (list, tuple, set, frozenset)):
        words = [str(word) for word in value]
        return bindparam(None, words, String(), unique=True, expanding=True, literal_execute=True)
    return value


def utc_text(value: datetime) -> str:
    """How a time stands in a SQLite file.

    >>> utc_text(datetime(1, 2, 3, tzinfo=UTC))
    '0001-02-03T00:00:00.000000Z'
    """
    # not strftime: glibc writes the year 1 as "1", which neither sorts nor can be read again
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def storable(value: str) -> str:
    """Text from elsewhere (a host, an input) as both databases can hold it: PostgreSQL takes no NUL, neither takes a
    lone surrogate. Both become U+FFFD, as they do in a job line.

    >>> storable("a\\0b\\ud800") == "a\\ufffdb\\ufffd"
    True
    """
    if value.isascii() and "\0" not in value:
        return value
    return _UNSTORABLE.sub("\ufffd", value)


Json = JSON(none_as_null=True)
"""PostgreSQL's plain json keeps the order of keys as it was sent; ``->>`` reads it on both databases."""
BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in an INTEGER key."""
