"""Rows that this version cannot read: written by a newer one, or naming something that this machine does not know.

Readers pass over such a row, and ``caravan health`` names it: one row never stops the work on the others.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from worker.errors import InputRefused, UnreadableRow, in_words
from worker.policy.windows import stored_windows
from worker.storage.tables import batches, hosts

Read = TypeVar("Read")
UNSETTLED = ("receiving", "open", "paused")


@contextmanager
def reading_row(table: str, key: object) -> Iterator[None]:
    """Raises UnreadableRow for what goes wrong while a row's values are turned into ours."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, InputRefused) as error:
        raise UnreadableRow(table, str(key), in_words(error)) from error


def readable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], Read]) -> list[Read]:
    """What ``read`` makes of the rows; those that cannot be read are left out."""
    result = []
    for row in rows:
        with suppress(UnreadableRow):
            result.append(read(row))
    return result


def unreadable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], Read]) -> list[UnreadableRow]:
    """The errors of the rows that ``read`` cannot read."""
    result = []
    for row in rows:
        try:
            read(row)
        except UnreadableRow as error:
            result.append(error)
    return result


def unreadable_windows(conn: Connection) -> list[UnreadableRow]:
    """Hosts, and batches that are not over, whose hours cannot be read; they count as closed."""
    result = []
    for table, query in (
        ("hosts", select(hosts.c.name.label("key"), hosts.c.windows).where(hosts.c.windows.is_not(None))),
        (
            "batches",
            select(batches.c.id.label("key"), batches.c.windows).where(
                batches.c.windows.is_not(None), batches.c.state.in_(UNSETTLED)
            ),
        ),
    ):
        for row in conn.execute(query):
            windows = stored_windows(row.windows)
            if windows is not None and windows.problem:
                result.append(UnreadableRow(table, str(row.key), f"windows: {windows.problem}"))
    return result
