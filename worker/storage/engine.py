"""How the database is opened, and its transactions.

SQLite runs in WAL mode with ``BEGIN IMMEDIATE`` for writers: a deferred transaction that turns from reading to writing
fails with "database is locked" in spite of every time-out. PostgreSQL is spoken to through psycopg 3.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import PoolProxiedConnection, create_engine, event, make_url, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError

from worker.clock import Clock, ElapsedClock, OffsetClock
from worker.errors import (
    DatabaseContended,
    DatabaseFailure,
    SettingsRefused,
)
from worker.extras import require
from worker.storage.failures import safe_url, translated

__all__ = [
    "Connection",
    "Database",
    "Dialect",
    "database_url",
    "open_database",
    "retry_contended",
    "sqlite_file",
    "sqlite_url",
]

Dialect = Literal["sqlite", "postgresql"]

T = TypeVar("T")

RETRIES = 2
"""How often a transaction that met another one is begun again, at once."""
BUSY_SECONDS = 30.0
CACHED_STATEMENTS = 32
"""Of one SQLite connection. A list of ids makes a statement of its own for each length; with Python's 128 of them a worker
grew by 40 MB over 100,000 jobs, and was no faster."""
REANCHOR_SECONDS = 300.0
IDLE_SECONDS = 60.0


class Database:
    """A database and its connections. Thread-safe; nothing is opened before the first transaction."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self.url = url
        self.dialect: Dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block. Raises DatabaseFailure."""
        with translated(self.url), self._engine.connect() as conn:
            if self.dialect == "sqlite":
                conn = conn.execution_options(sqlite_begin="IMMEDIATE")
            with conn.begin():
                yield conn

    def transact(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns, done in a transaction; it is begun again, ``RETRIES`` times at most, where another
        transaction was in the way. So ``work`` changes nothing outside of the database. Raises DatabaseFailure.
        """

        def once() -> T:
            with self.write() as conn:
                return work(conn)

        return retry_contended(once)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises DatabaseFailure."""
        with translated(self.url), self._engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """A connection without a transaction, for what none can hold. Raises DatabaseFailure."""
        with translated(self.url), self._engine.connect() as conn:
            yield conn.execution_options(sqlite_begin=None, isolation_level="AUTOCOMMIT")

    @contextmanager
    def raw(self) -> Iterator[PoolProxiedConnection]:
        """A connection of the driver, outside of a transaction: for a statement that is read so often that SQLAlchemy would
        cost more than it does. Raises DatabaseFailure."""
        if (
            self.dialect == "postgresql"
        ):  # where the driver would begin a transaction, in a round trip of its own
            with self.outside() as conn:
                yield conn.connection
            return
        with translated(self.url), closing(self._engine.raw_connection()) as connection:
            yield connection

    def clock(self) -> Clock:
        """A clock that shows the database's time: leases of all workers are measured by one clock."""
        return DatabaseClock(self)

    def close(self) -> None:
        self._engine.dispose()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's connections without closing them (they are the parent's)."""
        self._engine.dispose(close=False)


def retry_contended(work: Callable[[], T]) -> T:
    """What ``work`` returns; it is called again, ``RETRIES`` times at most, while it raises DatabaseContended."""
    for _ in range(RETRIES):
        try:
            return work()
        except DatabaseContended:
            pass
    return work()


class DatabaseClock:
    """The database's time, carried on by this machine's monotonic clock and asked again every few minutes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._elapsed = ElapsedClock()
        self._clock = self._ask()
        self._asked_at = self._elapsed.monotonic()

    def now(self) -> datetime:
        with self._lock:
            due = self._elapsed.monotonic() - self._asked_at > REANCHOR_SECONDS
            if due:
                self._asked_at = self._elapsed.monotonic()
        if due:  # asked outside the lock: a database that is away holds up one caller, not all
            try:
                self._clock = self._ask()
            except DatabaseFailure:
                pass  # the old anchor is good enough until it is back
        return self._clock.now()

    def monotonic(self) -> float:
        return time.monotonic()

    def _ask(self) -> OffsetClock:
        with self._database.read() as conn:
            if self._database.dialect == "sqlite":
                seconds = float(conn.scalar(text("SELECT (julianday('now') - 2440587.5) * 86400.0")) or 0.0)
                return OffsetClock(datetime.fromtimestamp(seconds, UTC), base=self._elapsed)
            theirs = conn.scalar(text("SELECT clock_timestamp()"))
            return OffsetClock(theirs.astimezone(UTC), base=self._elapsed)


def database_url(url: str) -> URL:
    """``url`` with its driver: a bare path is a SQLite file, ``postgres://`` is PostgreSQL.

    Raises SettingsRefused for anything else.
    """
    bare = "://" not in url
    parsed = URL.create("sqlite", database=str(Path(url).expanduser())) if bare else _parsed(url)
    match parsed.get_backend_name():
        case "sqlite":
            if parsed.database is None or parsed.database in ("", ":memory:"):
                raise SettingsRefused(
                    "a database in memory cannot be shared by threads; expected sqlite:///FILE"
                )
            file = str(Path(parsed.database).expanduser())
            return parsed.set(drivername="sqlite", database=file)
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise SettingsRefused(
                f"{other} databases are not supported; expected sqlite:///FILE or postgresql://…"
            )


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file, whatever characters its path has.

    >>> sqlite_url(Path("/tmp/a?b/caravan.db"))
    'sqlite:////tmp/a%3Fb/caravan.db'
    """
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for any other database. Raises SettingsRefused.

    >>> sqlite_file("sqlite:////tmp/a%3Fb/caravan.db"), sqlite_file("postgresql://db/caravan")
    (PosixPath('/tmp/a?b/caravan.db'), None)
    """
    parsed = database_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def _parsed(url: str) -> URL:
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:  # a port that is no number is a ValueError
        raise SettingsRefused(
            "the database URL is not valid; expected sqlite:///FILE or postgresql://…"
        ) from error


def open_database(
    url: str,
    *,
    pool_size: int = 5,
    busy_seconds: float = BUSY_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> Database:
    """Open ``url``; nothing is sent before the first transaction. Raises SettingsRefused for an invalid URL,
    ExtraMissing for PostgreSQL without psycopg.

    ``idle_seconds``: after so long PostgreSQL ends a transaction that says nothing more, and its locks. A process that
    was paused in the middle of one holds them until then.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=20,
            connect_args={
                "timeout": busy_seconds,
                "check_same_thread": False,
                "cached_statements": CACHED_STATEMENTS,
            },
        )
        _prepare_file(parsed)
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
    else:
        require("fleet", f"{safe_url(parsed)}: a PostgreSQL database", "psycopg")
        engine = create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=20,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={
                "connect_timeout": 5,
                "options": "-c statement_timeout=60000 -c lock_timeout=10000 "
                f"-c idle_in_transaction_session_timeout={idle_seconds * 1000:.0f} -c timezone=UTC",
            },
        )
    return Database(engine, parsed)


def _prepare_file(url: URL) -> None:
    """Answers are somebody's data: the file, and a folder made for it, are their owner's alone."""
    path = Path(url.database or "")
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError:
            return  # opening it says what is wrong


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _sqlite_begin, not by the driver
    cursor = connection.cursor()
    if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
        # a new file, whose room can be given back in steps; said of one that is there it would wait for its writer
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit that was answered survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _sqlite_begin(conn: Connection) -> None:
    mode = conn.get_execution_options().get("sqlite_begin", "DEFERRED")
    if mode is not None:
        conn.exec_driver_sql(f"BEGIN {mode}")
