"""What an error of the database means for whoever uses it, and what helps."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.domain.urls import masked
from worker.errors import (
    DatabaseContended,
    DatabaseFailure,
    DatabaseRefused,
    DatabaseUnavailable,
    SchemaOutdated,
)


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


_OWN = (__name__, "worker.storage.engine")
"""Modules that send no statement of their own."""


def _sender(trace: TracebackType | None) -> str:
    """The innermost function of ours that a traceback names: the one that sent the statement."""
    name = "an unnamed statement"
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("worker.") and module not in _OWN:
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
