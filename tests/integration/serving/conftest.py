"""The database that a test serves hosts from, and its clock."""

from collections.abc import Iterator

import pytest

from worker.clock import Clock
from worker.storage.engine import Database, open_database


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    opened = open_database(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def clock(database: Database) -> Clock:
    return database.clock()
