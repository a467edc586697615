"""The fleet of the acceptance tests, on servers of its own where a test breaks them."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.soak.servers import PostgresServer, RedisServer, cluster_folder
from tests.acceptance.conftest import environment, fleet, hosts
from tests.leaks import outlast_tests
from worker.storage.migrate import upgrade

__all__ = ["environment", "fleet", "hosts"]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill; empty after each start."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.part.kill()


@pytest.fixture(scope="session")
def _own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with cluster_folder() as folder:
        server = PostgresServer(folder, tmp_path_factory.mktemp("postgres"))
        server.start()
        yield server
        if server.part.running:
            server.stop(crash=True)


@pytest.fixture
def own_postgres(_own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may crash and start again."""
    if not _own_postgres.part.running:
        _own_postgres.start()
    yield _own_postgres
    outlast_tests(_own_postgres.part.pids)


@pytest.fixture
def own_postgres_url(own_postgres: PostgresServer) -> Iterator[str]:
    """A database there, at the newest revision."""
    name = f"caravan_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(own_postgres.url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")  # a name of our own
    url = own_postgres.url.rpartition("/")[0] + f"/{name}"
    upgrade(url)
    yield url
    if not own_postgres.part.running:
        own_postgres.start()
