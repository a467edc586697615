"""What every test may ask for: real databases, a real Redis, real processes, and a closed network."""

import gc
import logging
import os
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url, text

from tests import leaks, state_writer
from tests.processes import Processes
from tests.servers import postgres_server, redis_server
from tests.servers.cleaned import Cleaned
from worker.clock import Clock
from worker.storage.engine import Database, open_database


def pytest_configure(config: pytest.Config) -> None:
    """A plugin of its own, since a conftest does not hear of fixtures of the session."""
    config.pluginmanager.register(leaks, "leaks")
    settings.load_profile("ci")  # the same examples each time, on a person's machine too
    for kind in (date, datetime):
        sqlite3.register_adapter(kind, _refuse)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of every later collection of garbage: eight thousand tests are no garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


def pytest_sessionfinish() -> None:
    """Give it back: libraries say at the end of the process what nobody has collected."""
    gc.unfreeze()


def _refuse(value: object) -> str:
    """sqlite3 itself would turn it into text, and since Python 3.12 with a warning that it will not do so for ever."""
    raise TypeError(f"{value!r} is bound without its type: bindparam(…, type_=Date) or UtcTime")


# What ignores a signal passes that on to its children. Tests that are started in the background, or by nohup, still try
# what Ctrl-C and a closed terminal do.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's own settings must not reach a test."""
    for name in list(os.environ):
        if name.startswith("CARAVAN_") and not name.startswith("CARAVAN_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command that a test calls in this process must not send the events of the next test to its standard error."""
    log = logging.getLogger("caravan")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture(autouse=True)
def _one_writer_of_states() -> Iterator[None]:
    """Only ``storage/transitions.py`` builds statements that change a job's state."""
    state_writer.refused.clear()
    yield
    refused = state_writer.refused[:]
    state_writer.refused.clear()
    assert refused == []


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind more: ``tests.echo``."""
    from tests.echo import Echo
    from worker.kinds.registry import KINDS, Registered

    monkeypatch.setitem(KINDS, Echo.name, Registered(Echo.shape, Echo))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="session")
def _redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(_redis: str) -> str:
    """An empty Redis."""
    import redis

    with redis.Redis.from_url(_redis) as client:
        client.flushdb()
    return _redis


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def _create(server: str, *, template: str = "template0") -> str:
    name = f"caravan_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f'CREATE DATABASE {name} TEMPLATE "{template}"'))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _drop(server: str, url: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def postgres_url(_postgres: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    url = _create(_postgres)
    yield url
    _drop(_postgres, url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'caravan.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
def _migrated_postgres(_postgres: str) -> str:
    from worker.storage.migrate import upgrade

    url = _create(_postgres)
    upgrade(url)
    return str(make_url(url).database)


@pytest.fixture(scope="session")
def _cleaned_postgres(_postgres: str, _migrated_postgres: str) -> Cleaned:
    return Cleaned(lambda: _create(_postgres, template=_migrated_postgres), lambda url: _drop(_postgres, url))


@pytest.fixture
def migrated_postgres_url(_cleaned_postgres: Cleaned) -> Iterator[str]:
    """A PostgreSQL database at the newest revision without a row of a test before."""
    url = _cleaned_postgres.take()
    yield url
    _cleaned_postgres.give_back(url)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from worker.storage.migrate import upgrade

    path = tmp_path_factory.mktemp("template") / "caravan.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def migrated_sqlite_url(_migrated_sqlite: Path, tmp_path: Path) -> str:
    """A SQLite file at the newest revision."""
    path = tmp_path / "caravan.db"
    shutil.copyfile(_migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind at the newest revision."""
    return str(request.getfixturevalue(f"migrated_{request.param}_url"))


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """The same, open."""
    database = open_database(migrated_url)
    yield database
    database.close()


@pytest.fixture
def clock(database: Database) -> Clock:
    """The clock of the database."""
    return database.clock()


@pytest.fixture
def shell() -> Callable[..., Any]:
    """``tests.shell.run``."""
    from tests.shell import run

    return run


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of this machine, whatever it is."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()
