"""Where a benchmark runs: a real Redis, a real PostgreSQL, answering hosts, and databases of its own in them."""

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from sqlalchemy import create_engine, make_url

from benchmarks.baselines.celery_per_job import metadata
from benchmarks.processes import Stuck, group
from tests.servers import postgres_server, redis_server
from tests.servers.children import free_port


@dataclass(frozen=True, slots=True)
class Place:
    """A fresh database and broker for one run. ``count`` reads how many rows a table of it holds."""

    database: str
    """``sqlite`` or ``postgresql``."""
    url: str
    """As Caravan takes it; SQLAlchemy's driver is added where a baseline needs one."""
    broker: str
    folder: Path

    @property
    def sqlalchemy_url(self) -> str:
        url = make_url(self.url)
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return url.render_as_string(hide_password=False)

    @contextlib.contextmanager
    def counter(self, rows: str) -> Iterator[Callable[[], int]]:
        """A function that counts ``rows``, a table or its rows ``WHERE`` something; 0 while it is not there."""
        query = f"SELECT count(*) FROM {rows}"
        if self.database == "sqlite":
            path = make_url(self.url).database
            connection = sqlite3.connect(str(path), timeout=30)
            with contextlib.closing(connection):
                yield lambda: _count_in_file(connection, query)
        else:
            with psycopg.connect(_plain(self.url), autocommit=True) as server:
                yield lambda: _first(server.execute(query).fetchone())

    @contextlib.contextmanager
    def writes(self) -> Iterator[Callable[[], int]]:
        """A function that tells how much was written so far, by whomever: commits that wrote, of those that it is called
        between (SQLite), or rows (PostgreSQL, which tells them some seconds late)."""
        if self.database == "sqlite":
            connection = sqlite3.connect(str(make_url(self.url).database), timeout=30)
            versions: set[int] = set()

            def count() -> int:
                versions.add(connection.execute("PRAGMA data_version").fetchone()[0])
                return len(versions) - 1

            with contextlib.closing(connection):
                count()
                yield count
        else:
            rows = (
                "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database "
                "WHERE datname = current_database()"
            )
            with psycopg.connect(_plain(self.url), autocommit=True) as server:
                yield lambda: _first(server.execute(rows).fetchone())

    def make_baseline_tables(self) -> None:
        engine = create_engine(self.sqlalchemy_url)
        metadata.create_all(engine)
        engine.dispose()

    def release(self, parked: str, queue: str) -> None:
        """Give all messages of ``parked`` to ``queue`` in one step."""
        with redis.Redis.from_url(self.broker) as broker:
            broker.rename(parked, queue)

    def drop(self, parked: str) -> None:
        """Throw the messages of ``parked`` away."""
        with redis.Redis.from_url(self.broker) as broker:
            broker.delete(parked)


def _count_in_file(connection: sqlite3.Connection, query: str) -> int:
    try:
        return _first(connection.execute(query).fetchone())
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


def _first(row: Sequence[object] | None) -> int:
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def fresh_place(database: str, servers: "Servers", scratch: Path) -> Iterator[Place]:
    """A place for one run: an empty database that is dropped afterwards, the broker, a folder."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    folder = scratch / name
    folder.mkdir(parents=True)
    if database == "sqlite":
        yield Place(database, f"sqlite:///{folder / 'caravan.db'}", servers.redis, folder)
        return
    assert servers.postgres is not None
    with psycopg.connect(_plain(servers.postgres), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield Place(
                database,
                make_url(_plain(servers.postgres)).set(database=name).render_as_string(hide_password=False),
                servers.redis,
                folder,
            )
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class Servers:
    """URLs of a running Redis and PostgreSQL."""

    redis: str
    postgres: str | None


@contextlib.contextmanager
def open_servers(*, postgres: bool) -> Iterator[Servers]:
    """The servers of the tests: those of ``CARAVAN_TEST_REDIS_URL`` and ``CARAVAN_TEST_POSTGRES_URL``, else our own."""
    with contextlib.ExitStack() as exits:
        broker = exits.enter_context(redis_server())
        yield Servers(broker, exits.enter_context(postgres_server()) if postgres else None)


@contextlib.contextmanager
def answering(hosts: int, logs: Path) -> Iterator[list[str]]:
    """That many answering hosts in one process; their URLs."""
    ports = [free_port() for _ in range(hosts)]
    with group("answerer", logs) as answerer:
        answerer.start("benchmarks.answerer", *(f"--port={port}" for port in ports))
        until = time.monotonic() + 15
        while b"ready" not in answerer.log(0).read_bytes():
            if not answerer.running() or time.monotonic() > until:
                raise Stuck(f"the answering hosts do not answer\n{answerer.last_words()}")
            time.sleep(0.02)
        yield [f"http://127.0.0.1:{port}" for port in ports]
