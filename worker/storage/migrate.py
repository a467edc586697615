"""Brings a database to this version's schema, whoever starts first."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import insert, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from worker.errors import Conflict, DatabaseFailure, SchemaOutdated
from worker.observability.events import emit
from worker.storage.engine import Database, open_database
from worker.storage.failures import safe_url
from worker.storage.tables import FIRST_ROWS, with_dialect_options
from worker.storage.view_upkeep import create_views, renew_views, run_statements, views_are_current

HEAD = "0036"
"""The newest revision; a test compares it with the scripts. Alembic costs a quarter of a second to import, and is
needed only where there is something to upgrade."""

END_OF_STATEMENT = ";\n\n"
"""In ``sqlite_schema.sql``, which ``make reference`` writes: compiling it takes longer than all else that a new file costs."""

_LOCK = 7_240_115
"""PostgreSQL's advisory lock around an upgrade."""


def scripts() -> Path:
    """The folder of the migrations: inside this package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def revision(url: str) -> str | None:
    """The revision a database is at; None where it is empty. Raises DatabaseUnavailable."""
    with closing(open_database(url)) as database:
        return revision_of(database)


def revision_of(database: Database) -> str | None:
    """The revision a database is at; None where it is empty. Raises DatabaseUnavailable."""
    with database.read() as conn:
        return _revision(conn)


def upgrade(url: str) -> None:
    """Bring ``url`` to ``HEAD``, as ``upgrade_database`` does."""
    with closing(open_database(url)) as database:
        upgrade_database(database)


def upgrade_database(database: Database) -> None:
    """Bring a database to ``HEAD``. Many may do so at once: one does the work, the others wait and find it done.

    The report views become what this version says, with the rights on them and the views on top of them. Raises
    DatabaseFailure; SchemaOutdated for a database of a newer version of caravan; Conflict for what is built on a
    report view and cannot be built again.
    """
    with database.read() as conn:
        before = _revision(conn)
        if before == HEAD and views_are_current(conn):
            return
    _refuse_newer(database, before)
    with _locked(database) as conn:
        match _revision(conn):
            case None:
                _create(conn)
            case revision if revision == HEAD:
                renew_views(conn)
            case _:
                run_migrations(conn)


def bring_up_to_date(database: Database, *, backups: Path, now: datetime) -> None:
    """Bring a database to this version's schema where one process owns it: an SQLite file after it was saved in
    ``backups``. PostgreSQL is left to ``caravan db upgrade``, unless it is empty: others may be at work on it.

    Raises DatabaseUnavailable; SchemaOutdated for PostgreSQL that is older, and for any database that is newer.
    """
    before = revision_of(database)
    if database.dialect == "sqlite":
        if before is not None and before < HEAD:
            from worker.storage.backup import before_upgrade

            file = Path(str(database.url.database))
            saved = before_upgrade(file, backups, revision=before, now=now)
            emit("database.backed_up", file=str(saved), revision=before)
        upgrade_database(database)
    elif before is None:
        upgrade_database(database)
    else:
        check_schema(database)
        renew_report_views(database)


def run_migrations(conn: Connection, to: str = "head") -> None:
    """Run the scripts from the revision that the database is at, one after the other."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, to)


def _create(conn: Connection) -> None:
    """Make an empty database what the scripts make of it, in one step: a test compares the two."""
    if conn.dialect.name == "sqlite":
        stored = Path(__file__).with_name("sqlite_schema.sql").read_text(encoding="utf-8")
        run_statements(conn, stored.split(END_OF_STATEMENT)[:-1])
    else:
        tables = with_dialect_options(conn.dialect.name)
        tables.create_all(conn, checkfirst=False)
        for table, row in FIRST_ROWS.items():
            conn.execute(insert(tables.tables[table]), row)
    create_views(conn)
    conn.execute(
        text(
            "CREATE TABLE IF NOT EXISTS alembic_version "
            "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    conn.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})


def renew_report_views(database: Database) -> None:
    """Bring the report views of a database at this version's schema to what this version says, at the start of what
    serves it. What stands in the way is reported and stops nothing: they are for readers only."""
    try:
        with database.read() as conn:
            if _revision(conn) != HEAD or views_are_current(conn):
                return
        with _locked(database) as conn:
            if database.dialect == "postgresql":  # whoever reads a view for long keeps nobody from starting
                conn.execute(text("SET LOCAL lock_timeout = '5s'"))
            renew_views(conn)
    except (Conflict, DatabaseFailure) as error:
        emit("database.views_outdated", message=str(error))


def is_current(database: Database) -> bool:
    """Whether there is nothing to upgrade, as far as its revision and its views tell."""
    with database.read() as conn:
        return _revision(conn) == HEAD and views_are_current(conn)


def check_schema(database: Database) -> None:
    """Raise SchemaOutdated unless the database is at this version's revision."""
    its_revision = revision_of(database)
    _refuse_newer(database, its_revision)
    if its_revision != HEAD:
        state = (
            f"is at revision {its_revision}, this version needs {HEAD}"
            if its_revision
            else "has no tables of Caravan yet"
        )
        raise SchemaOutdated(f"{safe_url(database.url)} {state}; run: caravan db upgrade")


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision is not None and revision > HEAD:  # revisions are numbered 0001, 0002, …
        raise SchemaOutdated(
            f"{safe_url(database.url)} is at revision {revision}, of a newer version of caravan; "
            f"this one knows {HEAD}: install the newer"
        )


def _revision(conn: Connection) -> str | None:
    try:
        with conn.begin_nested():
            version = conn.scalar(text("SELECT version_num FROM alembic_version"))
    except DBAPIError as error:
        if "no such table" in str(error.orig) or "UndefinedTable" in type(error.orig).__name__:
            return None
        raise
    return None if version is None else str(version)


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """A transaction in which nobody else upgrades: SQLite's write lock, PostgreSQL's advisory lock."""
    with database.write() as conn:
        if database.dialect == "postgresql":
            # the limits of everyday work are too short for a large table, and for waiting until somebody else did it
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            conn.execute(text("SET LOCAL lock_timeout = '10min'"))
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield conn
