"""Brings a database to this version's schema, whoever starts first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.errors import SchemaOutdated
from worker.storage.engine import Database, open_database

_LOCK = 7_240_115
"""PostgreSQL's advisory lock around an upgrade."""


def scripts() -> Path:
    """The folder of the migrations: inside this package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def head() -> str:
    """The newest revision this version knows."""
    found = ScriptDirectory(str(scripts())).get_current_head()
    if found is None:
        raise SchemaOutdated("this installation has no migrations")
    return found


def revision(url: str) -> str | None:
    """The revision a database is at; None where it is empty. Raises DatabaseUnavailable."""
    database = open_database(url)
    try:
        with database.read() as conn:
            return _revision(conn)
    finally:
        database.close()


def upgrade(url: str) -> None:
    """Bring ``url`` to ``head()``. Many may do so at once: one does the work, the others wait and find it done.

    Raises DatabaseUnavailable.
    """
    database = open_database(url)
    try:
        with database.read() as conn:
            if _revision(conn) == head():
                return
        with _locked(database) as conn:
            config = Config()
            config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
    finally:
        database.close()


def check_schema(database: Database) -> None:
    """Raise SchemaOutdated unless the database is at this version's revision."""
    with database.read() as conn:
        found = _revision(conn)
    if found != head():
        shown = database.url.render_as_string(hide_password=True)
        raise SchemaOutdated(
            f"{shown} is at revision {found or 'none'}, this version needs {head()}: caravan db upgrade"
        )


def _revision(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """A transaction in which nobody else upgrades: SQLite's write lock, PostgreSQL's advisory lock."""
    with database.write() as conn:
        if database.dialect == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            conn.execute(text("SET LOCAL lock_timeout = '60s'"))
        yield conn
