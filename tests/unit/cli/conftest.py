"""A database that commands use."""

from collections.abc import Iterator

import pytest

from tests.integration.storage.conftest import Store
from worker.storage.engine import open_database


@pytest.fixture
def store(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", migrated_sqlite_url)
    database = open_database(migrated_sqlite_url)
    yield Store(database)
    database.close()
