"""A database with two hosts in it."""

import pytest

from tests.integration.storage.conftest import NOW, Store
from worker.domain.hosts import Host
from worker.storage.engine import Database
from worker.storage.hosts import add_host


@pytest.fixture
def store(database: Database) -> Store:
    """gpu-1 and gpu-2, and no batch yet."""
    with database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            add_host(conn, Host(name, f"http://{name}:11434"), now=NOW)
    return Store(database)
