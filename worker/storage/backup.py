"""A backup is one SQLite file, of either kind of database: all tables, and what lies in the spool.

A file that needs no tool to be read, and that can be restored into a database of the other kind.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from worker.errors import Conflict, NotFound, SchemaOutdated
from worker.storage.check import Checked, check_database
from worker.storage.copy import copy_rows, empty, is_empty, nobody_serves
from worker.storage.engine import Database, open_database, sqlite_url
from worker.storage.migrate import (
    HEAD,
    revision,
    upgrade,
)
from worker.storage.rescues import rescue_holder
from worker.storage.snapshots import unwritable

MOST_COPIES = 3
"""Automatic backups that stay; older ones go."""


def back_up(database: Database, file: Path, *, spool: Path, force: bool = False) -> int:
    """Write a backup of a database at work, as it is at one moment; bytes of the file.

    It appears whole or not at all, readable by its owner alone. Raises Conflict where ``file`` exists and not
    ``force``; DatabaseUnavailable, OSError.
    """
    if file.exists() and not force:
        raise Conflict(f"{file} exists; give another name, or --force")
    with _written(file) as part:
        # before the database: an answer stored in between is then in both, and the fence takes it once
        spooled = {file.name: file.read_bytes() for file in sorted(spool.glob("*.jsonl"))}
        if database.dialect == "sqlite":
            with unwritable(file):
                _snapshot(Path(str(database.url.database)), part)
        else:
            upgrade(sqlite_url(part))
            target = open_database(sqlite_url(part))
            try:
                with database.read() as conn:
                    conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                    conn.execute(text("SET LOCAL statement_timeout = 0"))
                    with target.write() as own:
                        empty(own)
                    copy_rows(conn, target)
            finally:
                target.close()
        with unwritable(file):
            _keep_spool(part, spooled)
    return file.stat().st_size


def restore(
    file: Path,
    database: Database,
    *,
    spool: Path,
    now: datetime,
    force: bool = False,
) -> list[Checked]:
    """Bring a backup into an empty database at this version's schema, and its spool beside; what a check then finds.

    With ``force`` what the database held goes, once ``file`` has proved to be a backup. What ran when the backup was
    made runs no more. Raises NotFound; Conflict for a file that is no backup, and for a database that is not empty or
    is being served; SchemaOutdated for a backup of a newer version.
    """
    if not file.is_file():
        raise NotFound(f"no backup {file}")
    with _at_head(file) as source:
        with database.write() as conn:
            nobody_serves(conn, now=now)
            if not force and not is_empty(conn):
                raise Conflict("the database holds jobs or hosts; --force deletes them first")
            empty(conn)
        with source.read() as conn:
            copy_rows(conn, database)
            files = conn.execute(text("SELECT name, content FROM spool_files")).all()
    for name, content in files:
        _bring_back(spool / Path(str(name)).name, content)
    with database.write() as conn:
        rescue_holder(conn, now=now, blameless=True)  # it was copied at work, not amid a crash
    return check_database(database, now=now)


def before_upgrade(database: Path, folder: Path, *, revision: str, now: datetime) -> Path:
    """Back an SQLite file up before its schema changes, and forget the oldest such backups. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"caravan-{revision}-{now:%Y%m%dT%H%M%SZ}.db"
    with _written(file) as part:
        _snapshot(database, part)
    for old in sorted(folder.glob("caravan-*.db"), key=lambda path: path.stat().st_mtime)[:-MOST_COPIES]:
        old.unlink(missing_ok=True)
    return file


@contextmanager
def _written(file: Path) -> Iterator[Path]:
    """A file beside ``file`` that takes its place once it is whole and on the disk."""
    with tempfile.TemporaryDirectory(dir=file.resolve().parent, prefix=f".{file.name}.") as folder:
        part = Path(folder) / "backup.db"
        part.touch(mode=0o600)
        yield part
        with part.open("r+b") as whole:
            os.fsync(whole.fileno())
        part.replace(file)
    if os.name == "posix":  # the name too outlives a power cut
        descriptor = os.open(file.resolve().parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _snapshot(source: Path, target: Path) -> None:
    """SQLite's own backup: consistent while others write, and no write-ahead log beside it.

    In one step: between steps another process may write, and each such write would start the backup over.
    """
    address = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written, pages=-1)
        written.execute("PRAGMA journal_mode = DELETE")


def _bring_back(path: Path, content: bytes) -> None:
    """Put what was saved before what lies there: that may be answers nobody stored yet, also of the lost database."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = path.read_bytes() if path.exists() else b""
    if content in there:
        return
    gap = b"" if content.endswith(b"\n") else b"\n"
    with _written(path) as part:
        part.write_bytes(content + gap + there)


def _keep_spool(file: Path, files: Mapping[str, bytes]) -> None:
    with closing(sqlite3.connect(file)) as conn, conn:
        conn.execute("PRAGMA journal_mode = DELETE")
        conn.execute("DROP TABLE IF EXISTS spool_files")
        conn.execute("CREATE TABLE spool_files (name TEXT PRIMARY KEY, content BLOB NOT NULL)")
        conn.executemany("INSERT INTO spool_files VALUES (?, ?)", files.items())


@contextmanager
def _at_head(file: Path) -> Iterator[Database]:
    """The backup at this version's schema: a copy of it, where it is older."""
    with tempfile.TemporaryDirectory(prefix="caravan-restore-") as folder:
        copy = Path(folder) / "backup.db"
        url = sqlite_url(copy)
        try:
            _snapshot(file, copy)
            its_revision = revision(url)
        except sqlite3.DatabaseError as error:
            raise Conflict(f"{file} is not a backup of Caravan: {error}") from error
        if its_revision is None:
            raise Conflict(f"{file} is not a backup of Caravan: it has no schema of Caravan")
        if its_revision > HEAD:
            raise SchemaOutdated(
                f"{file} is at revision {its_revision}, of a newer version of caravan; this one knows {HEAD}: install the newer"
            )
        if its_revision != HEAD:
            upgrade(url)
        with closing(sqlite3.connect(copy)) as own, own:  # a file saved before an upgrade has no spool in it
            own.execute(
                "CREATE TABLE IF NOT EXISTS spool_files (name TEXT PRIMARY KEY, content BLOB NOT NULL)"
            )
        database = open_database(url)
        try:
            yield database
        finally:
            database.close()
