"""Transactions that meet another one, as tests make them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker.errors import DatabaseContended
from worker.storage.engine import Connection, Database


@contextmanager
def each_contended_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every transaction that changes something is given up at its end, the first time; gives a list of these times."""
    write, times, first = Database.write, list[int](), [True]

    @contextmanager
    def met_once(database: Database) -> Iterator[Connection]:
        with write(database) as conn:
            yield conn
            first[0] = not first[0]
            if not first[0]:
                times.append(len(times))
                raise DatabaseContended("deadlock")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", met_once)
        yield times
