"""Tells whether work was added or moved, by whatever process, at a cost that is not worth naming."""

from contextlib import ExitStack

from sqlalchemy import PoolProxiedConnection

from worker.errors import DatabaseFailure
from worker.storage.engine import Connection, Database

_MARKS = (
    "SELECT (SELECT max(id) FROM jobs), (SELECT max(id) FROM count_deltas), (SELECT max(id) FROM firings), "
    "(SELECT max(id) FROM operations), (SELECT count(*) FROM hosts)"
)
"""What changes with every submission, transition of a job, firing, operation and host: four probes of an index, and a few rows.
Pulses and leases are no part of it, so that whoever rests does not wake itself by saying that it is alive."""

Marks = tuple[object, ...]


def read_marks(database: Database) -> Marks | None:
    """What changes with the work, on a connection of the pool; None where it cannot be read. For those who are many in one
    process: each ``Changes`` holds a connection."""
    try:
        with database.raw() as connection:
            return _row(connection, _MARKS)
    except Exception:  # whatever it is, whoever works next says it
        return None


class Changes:
    """Remembers what it saw last. For one thread; it holds one connection until it is closed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = ExitStack()
        self._conn: Connection | None = None
        self._version: Marks | None = None
        self._marks: Marks | None = None

    def any(self) -> bool:
        """Whether anything changed since the last call; the first call, and one that cannot tell, say so too.

        SQLite counts the commits of other connections (``PRAGMA data_version``, some microseconds); only where there were
        any, and on PostgreSQL always, the marks are read.
        """
        try:
            conn = self._connection()
            if self._database.dialect == "sqlite":
                version = _row(conn.connection, "PRAGMA data_version")
                if version == self._version:
                    return False
                self._version = version
            marks = _row(conn.connection, _MARKS)
        except Exception:  # whatever it is, whoever works next says it
            self.close()
            return True
        changed, self._marks = marks != self._marks, marks
        return changed

    def close(self) -> None:
        """Give the connection back."""
        self._conn = self._version = self._marks = None
        held, self._held = self._held, ExitStack()
        try:
            held.close()
        except DatabaseFailure:
            pass

    def _connection(self) -> Connection:
        if self._conn is None:
            self._conn = self._held.enter_context(self._database.outside())
        return self._conn


def _row(connection: PoolProxiedConnection, statement: str) -> Marks:
    """Past SQLAlchemy, which costs ten times as much as such a statement."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        return tuple(cursor.fetchone() or ())
    finally:
        cursor.close()
