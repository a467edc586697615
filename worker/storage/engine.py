"""How the database is opened, and what its errors mean: it is away, contended, or it refuses a statement.

SQLite runs in WAL mode with ``BEGIN IMMEDIATE`` for writers: a deferred transaction that turns from reading to writing
fails with "database is locked" in spite of every time-out. PostgreSQL is spoken to through psycopg 3.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from sqlalchemy import PoolProxiedConnection, create_engine, event, make_url, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.clock import Clock, ElapsedClock, OffsetClock
from worker.domain.urls import masked
from worker.errors import (
    DatabaseContended,
    DatabaseFailure,
    DatabaseRefused,
    DatabaseUnavailable,
    SchemaOutdated,
    SettingsRefused,
)
from worker.extras import require

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


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn errors about the database itself into our own, cause kept, password masked; a defect stays what it is.

    What COPY and the drivers' executemany raise has not passed SQLAlchemy, so the drivers' own errors are read too.
    Raises DatabaseUnavailable, SchemaOutdated, DatabaseRefused.
    """
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable(f"{safe_url(url)}: all connections of this process are in use") from error
    except Exception as error:
        failure = _failure(error, url)
        if failure is None:
            raise
        raise failure from error


_DRIVERS = ("sqlite3", "psycopg")
_OUTDATED = {"UndefinedTable", "UndefinedColumn"}
_OUTDATED_SQLITE = ("no such table", "no such column")

_CONTENDED_STATES = {"40001", "40P01", "55P03"}
"""Serialization failure, deadlock, lock_timeout."""
_AWAY_STATES = ("08", "53", "57P", "58")
"""Classes of SQLSTATE: the connection, room and memory, shutdown, the system."""
_LIMITS = "54"
"""The class of what is too large or too complex for any statement: a defect, or a value that no column holds."""
_AWAY = {"OperationalError", "InterfaceError", "IdleInTransactionSessionTimeout", "ReadOnlySqlTransaction"}
"""The last two: the server ended a transaction that said nothing more, or has become one that is only read."""
_REFUSED_STATES: Mapping[str, str] = {
    "57014": "it took longer than statement_timeout, or somebody cancelled it; report it if that happens again",
    "42501": "grant the role of the database URL the rights on the tables of Caravan",
    "53300": "raise max_connections of the server, or run fewer processes",
}
"""SQLSTATE → what to do, of what waiting does not mend."""
_REFUSED_CONNECTIONS: Mapping[str, str] = {
    "too many clients": _REFUSED_STATES["53300"],
    "remaining connection slots": _REFUSED_STATES["53300"],
    "too many connections": _REFUSED_STATES["53300"],
    "password authentication failed": "correct the password in the database URL",
    "no pg_hba.conf entry": "let this machine connect in pg_hba.conf of the server",
}
"""A connection that is refused has no SQLSTATE (libpq keeps it to itself), so its words are read."""
_CONTENDED_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED_SQLITE: Mapping[int, str] = {
    sqlite3.SQLITE_READONLY: "let this user write to the file and its folder",
    sqlite3.SQLITE_PERM: "let this user read and write the file",
    sqlite3.SQLITE_AUTH: "let this user read and write the file",
    sqlite3.SQLITE_CORRUPT: "restore a backup: caravan db restore",
    sqlite3.SQLITE_NOTADB: "name the file of a Caravan database, or restore a backup: caravan db restore",
}
_WAIT = "check that it runs and can be reached from here; work goes on by itself when it is back"
_FULL = "make room; work goes on by itself when it takes writes again"
_AGAIN = "another transaction was in the way; try again"
_REPORT = "report it with this message"


def _failure(error: Exception, url: URL) -> DatabaseFailure | None:
    """What ``error`` means for whoever uses the database; None for a defect, or an error of something else."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    kinds = {kind.__name__ for kind in type(cause).__mro__ if kind.__module__.startswith(_DRIVERS)}
    if not kinds:
        return None
    reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    message = f"{safe_url(url)}: {reason}"
    if kinds & _OUTDATED or ("Error" in kinds and reason.startswith(_OUTDATED_SQLITE)):
        return SchemaOutdated(f"{safe_url(url)} has not been set up for this version: run caravan db upgrade")
    code, state = _sqlite_code(cause), getattr(cause, "sqlstate", None)
    if code in _CONTENDED_SQLITE or state in _CONTENDED_STATES:
        return DatabaseContended(message, _AGAIN)
    advice = _refusal(code, state, kinds, reason)
    if advice is not None:
        return DatabaseRefused(f"{message} (in {_sender(error.__traceback__)})", advice)
    if state is not None and state.startswith(_LIMITS):
        return None
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable(message, _WAIT)
    if kinds & _AWAY and code != sqlite3.SQLITE_ERROR:
        return DatabaseUnavailable(message, _FULL if _is_full(code, state) else _WAIT)
    return None


def _refusal(code: int | None, state: str | None, kinds: set[str], reason: str) -> str | None:
    """What to do where the database refuses a statement or a connection; None where it does not."""
    if code is not None:
        return _REFUSED_SQLITE.get(code)
    if state is None:
        return next((advice for words, advice in _REFUSED_CONNECTIONS.items() if words in reason), None)
    if state in _REFUSED_STATES:
        return _REFUSED_STATES[state]
    if "OperationalError" in kinds and not state.startswith((*_AWAY_STATES, _LIMITS)):
        return _REPORT
    return None


def _is_full(code: int | None, state: str | None) -> bool:
    return code == sqlite3.SQLITE_FULL or state == "53100"


def _sender(trace: TracebackType | None) -> str:
    """The innermost function of ours that a traceback names: the one that sent the statement."""
    name = "an unnamed statement"
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("worker.") and module != __name__:
            name = f"{module.removeprefix('worker.')}.{frame.f_code.co_name}"
        trace = trace.tb_next
    return name


def _sqlite_code(cause: object) -> int | None:
    code = getattr(cause, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # without what extends it


def safe_url(url: URL) -> str:
    """``url`` for people: a path of a SQLite file, any other without its secrets."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql")
    return masked(url.render_as_string(hide_password=False))
