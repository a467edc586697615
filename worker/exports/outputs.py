"""Which files may a command write? Its inputs and databases never; files that Caravan did not write only by force.

What Caravan wrote is remembered in ``CARAVAN_HOME/outputs``: a small file for each path, with the size and the time of
the last change. A file that somebody changed since is somebody's own again.
"""

import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import field
from pathlib import Path

from worker.errors import InputRefused, Problem
from worker.exports.targets import is_stream
from worker.records import record

_SQLITE = b"SQLite format 3\0"
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""


@record
class Outputs:
    """The files of one command: what it reads, and what it may replace."""

    home: Path
    force: bool = False
    """Replace files that Caravan did not write."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """What each is to the command → the file, e.g. ``the input``."""
    is_document: Callable[[Path], bool] = lambda path: False
    """Whether a path is among the documents that are read."""

    def check(self, path: Path) -> None:
        """Raise InputRefused where writing ``path`` would destroy something that Caravan did not write, or needs."""
        if str(path) == "-":
            return
        for what, one in self.inputs.items():
            if _same(path, one):
                raise _refused(path, f"is {what}, and would be overwritten; name another file")
        if is_stream(path):
            return
        target = Path(os.path.realpath(path))
        if self.is_document(target):
            raise _refused(path, "is one of the documents that are read; name a file outside of them")
        try:
            status = target.stat()
        except OSError:
            return  # not there yet, or what check_output says of it
        if not stat.S_ISREG(status.st_mode):
            return
        if _is_database(target):
            raise _refused(path, "is a database of Caravan; name another file")
        if status.st_size and not self.force and not self._ours(target, status):
            raise _refused(
                path,
                "was not written by Caravan, or was changed since; "
                "name another file, or replace it with --force",
            )

    def remember(self, path: Path) -> None:
        """Keep in mind that Caravan wrote ``path`` as it is now. Without a place for that, the next command asks for
        ``--force``."""
        if str(path) == "-" or is_stream(path):
            return
        target = Path(os.path.realpath(path))
        with suppress(OSError):
            status = target.stat()
            record = self._record(target)
            record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = record.with_suffix(f".{os.getpid()}.part")
            partial.write_text(
                json.dumps(
                    {"path": os.fsdecode(target), "size": status.st_size, "changed": status.st_mtime_ns}
                ),
                encoding="utf-8",
                errors="surrogateescape",
            )
            partial.replace(record)

    def _ours(self, target: Path, status: os.stat_result) -> bool:
        try:
            plain = json.loads(self._record(target).read_bytes())
        except (OSError, ValueError):
            return False
        return (plain.get("size"), plain.get("changed")) == (status.st_size, status.st_mtime_ns)

    def _record(self, target: Path) -> Path:
        return self.home / "outputs" / hashlib.sha256(os.fsencode(target)).hexdigest()[:32]


def database_files(database: Path | None) -> dict[str, Path]:
    """A database in a file, and what lies beside it, as ``inputs`` of a command."""
    if database is None:
        return {}
    return {
        f"the database{f' ({ending[1:]})' if ending else ''}": database.with_name(database.name + ending)
        for ending in _BESIDE
    }


def _same(path: Path, other: Path) -> bool:
    """Whether both are one file, by links and in folders without capitals too, or would be."""
    try:
        return path.samefile(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _is_database(target: Path) -> bool:
    """Whether this is a database that Caravan works on: a backup and a snapshot are not."""
    try:
        with target.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                return False
        with closing(sqlite3.connect(f"{target.as_uri()}?mode=ro", uri=True)) as conn:
            tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (OSError, sqlite3.Error):
        return False
    return {"alembic_version", "jobs", "batches"} <= tables and "spool_files" not in tables


def _refused(path: Path, message: str) -> InputRefused:
    return InputRefused([Problem(0, "output", "protected_output", f"{path}: {message}")])
