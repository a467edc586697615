"""The report views as tables of one file, for tools that cannot read a database at work.

Such a file has no write-ahead log, so that it can lie on a read-only mount and be opened by anybody. All of it is seen
at one moment, and it takes the place of what was there when it is complete.
"""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.errors import Conflict
from worker.extras import require
from worker.replies.vectors import unpack_vector
from worker.storage.engine import Database
from worker.storage.types import utc_text
from worker.storage.view_columns import COLUMNS
from worker.storage.views import VERSION, views

Kind = Literal["sqlite", "duckdb"]
PAGE = 1000
OF_BATCH = ("report_results", "report_batches", "report_failures", "report_numbers", "report_comparisons")
"""Views that can be asked for one batch. The others are figures of all the fleet, without a text."""
LEFT_OUT = frozenset({"report_contexts"})
"""Larger than all texts, and of use only to whoever sends a host its tokens again."""

ABOUT = "report_snapshot"
_ABOUT_COLUMNS = {"version": "integer", "taken_at": "time", "batch": "integer"}

_SQLITE = {
    "integer": "INTEGER",
    "number": "REAL",
    "text": "TEXT",
    "boolean": "INTEGER",
    "time": "TEXT",
    "date": "TEXT",
    "json": "TEXT",
    "vector": "BLOB",
}
_DUCKDB = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP",
    "date": "DATE",
    "json": "JSON",
    "vector": "FLOAT[]",
}
_INDEXES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "report_results": (
        ("batch", "job_id"),
        ("batch", "custom_id"),
        ("custom_id",),
        ("day",),
        ("finished_at",),
        ("model",),
        ("number",),
    ),
    "report_batches": (("batch",),),
    "report_failures": (("batch",), ("day",)),
    "report_models_daily": (("day",),),
    "report_hosts_hourly": (("hour",),),
    "report_runs": (("run",), ("host",)),
    "report_numbers": (("number",), ("job_id",)),
    "report_comparisons": (("batch", "custom_id"), ("from_batch", "custom_id")),
    "report_firings": (("schedule", "fire_at"),),
    "report_changes": (("schedule", "fire_at"),),
    "report_schedules": (("schedule",),),
    "report_documents": (("schedule", "path", "model"),),
}
_ORDER = {
    "report_results": "job_id",
    "report_batches": "batch",
    "report_failures": "batch, day",
    "report_models_daily": "day, model",
    "report_hosts_hourly": "hour, host",
    "report_runs": "run",
    "report_numbers": "number",
    "report_comparisons": "job_id, from_job_id",
    "report_firings": "firing",
    "report_changes": "firing, custom_id, model",
    "report_schedules": "schedule",
    "report_documents": "schedule, path, custom_id, model",
}
_BATCH_FILTERS = {
    **dict.fromkeys(OF_BATCH, "WHERE batch = :batch"),
    "report_documents": "WHERE job_id IN (SELECT job_id FROM report_results WHERE batch = :batch)",
}

Rows = Generator[list[Any], None, None]
Table = tuple[str, Mapping[str, str], Rows]
"""Name, column → type as in ``COLUMNS``, and rows: times are datetimes in UTC, JSON is its text."""


def snapshot(
    database: Database,
    path: Path,
    *,
    kind: Kind,
    now: datetime,
    batch_id: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Write the views, of one batch or all, to ``path``; rows by table. Little memory is taken.

    Raises ExtraMissing where DuckDB is not installed; Conflict where ``path`` is the database itself;
    DatabaseUnavailable, OSError.
    """
    target = path.resolve()
    if database.dialect == "sqlite" and target == Path(str(database.url.database)).resolve():
        raise Conflict(f"{path} is the database itself; name another file")
    if target.is_dir() or not target.parent.is_dir():
        raise Conflict(f"{path} cannot be written: expected a file in a folder that exists")
    write = _write_sqlite if kind == "sqlite" else _write_duckdb
    if kind == "duckdb":
        require("duckdb", f"{path}: writing DuckDB")
    with _replacing(target) as part, database.read() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                conn.execute(text(f"SET LOCAL {limit} = 0"))
        about: Table = (ABOUT, _ABOUT_COLUMNS, _once(VERSION, now, batch_id))
        with unwritable(path):
            return write(part, iter([about, *_tables(conn, batch_id)]), progress)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """What SQLite and DuckDB say of a file that they write, as an OSError that names ``path``."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(
            number, os.strerror(number) if number == errno.ENOSPC else str(error), str(path)
        ) from error
    except Exception as error:
        if type(error).__name__ != "IOException":  # of DuckDB, which is an extra
            raise
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def _tables(conn: Connection, batch_id: int | None) -> Iterator[Table]:
    for view, columns in COLUMNS.items():
        if view in LEFT_OUT:
            continue
        types = {name: kind for name, (kind, _) in columns.items()}
        yield view, types, _rows(conn, view, types, batch_id)


def _rows(conn: Connection, view: str, types: Mapping[str, str], batch_id: int | None) -> Rows:
    shown = ", ".join(
        f"CAST({name} AS TEXT) AS {name}" if kind == "json" else name for name, kind in types.items()
    )
    where = "" if batch_id is None else _BATCH_FILTERS.get(view, "")
    read = [_READ.get(kind, _as_it_is) for kind in types.values()]
    # not from the view: its JSON would have its keys in another order than they were given
    query = views(conn.dialect.name, stored_json=True)[view]
    cursor = conn.execute(
        text(f"SELECT {shown} FROM ({query}) AS {view} {where} ORDER BY {_ORDER[view]}"),
        {"batch": batch_id} if where else {},
        execution_options={"stream_results": True, "yield_per": PAGE},
    )
    with cursor as rows:
        for row in rows:
            yield [each(value) for each, value in zip(read, row, strict=True)]


def _once(*row: Any) -> Rows:
    yield list(row)


def _as_it_is(value: Any) -> Any:
    return value


def _time(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)


def _date(value: Any) -> date | None:
    return value if value is None or isinstance(value, date) else date.fromisoformat(value)


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "time": _time,
    "date": _date,
    "boolean": _truth,
    "number": _number,
    "integer": _integer,
}


def _pages(rows: Rows) -> Iterator[list[list[Any]]]:
    with closing(rows):
        while page := list(islice(rows, PAGE)):
            yield page


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A place for a file that takes the place of ``target``, and its permissions, once it is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        part = Path(folder) / "snapshot"
        yield part
        if target.exists():
            shutil.copymode(target, part)
        else:
            part.chmod(0o600)  # every prompt and every answer is in it, as in the database
        with part.open("r+b") as whole:
            os.fsync(whole.fileno())
        part.replace(target)


def _write_sqlite(
    part: Path, tables: Iterator[Table], progress: Callable[[int], None] | None
) -> dict[str, int]:
    written: dict[str, int] = {}
    with closing(sqlite3.connect(part, isolation_level=None)) as out:
        out.execute("PRAGMA journal_mode = OFF")  # a file that is not complete is thrown away
        out.execute("PRAGMA synchronous = OFF")
        for name, types, rows in tables:
            columns = ", ".join(f"{column} {_SQLITE[kind]}" for column, kind in types.items())
            out.execute(f"CREATE TABLE {name} ({columns})")
            put = f"INSERT INTO {name} VALUES ({', '.join('?' * len(types))})"
            written[name] = 0
            for page in _pages(rows):
                out.execute("BEGIN")
                out.executemany(put, ([_sqlite_value(value) for value in row] for row in page))
                out.execute("COMMIT")
                written[name] += len(page)
                _tell(progress, name, written)
            for index in _INDEXES.get(name, ()):
                out.execute(f"CREATE INDEX ix_{name}_{'_'.join(index)} ON {name} ({', '.join(index)})")
        out.execute("ANALYZE")
        out.execute("PRAGMA journal_mode = DELETE")
    return written


def _sqlite_value(value: Any) -> Any:
    match value:
        case datetime():
            return utc_text(value)
        case date():
            return value.isoformat()
        case bool():
            return int(value)
        case _:
            return value


def _write_duckdb(
    part: Path, tables: Iterator[Table], progress: Callable[[int], None] | None
) -> dict[str, int]:
    import duckdb
    import pyarrow as pa

    arrow = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us"),
        "date": pa.date32(),
        "vector": pa.list_(pa.float32()),
    }
    written: dict[str, int] = {}
    with closing(duckdb.connect(str(part), config={"memory_limit": "200MB", "threads": 1})) as out:
        for name, types, rows in tables:
            columns = ", ".join(f'"{column}" {_DUCKDB[kind]}' for column, kind in types.items())
            out.execute(f"CREATE TABLE {name} ({columns})")
            schema = pa.schema([(column, arrow.get(kind, pa.string())) for column, kind in types.items()])
            written[name] = 0
            for page in _pages(rows):
                arrays = [
                    pa.array([_naive(value) for value in values], type=field.type)
                    for field, values in zip(schema, zip(*page, strict=True), strict=True)
                ]
                out.register("page", pa.Table.from_arrays(arrays, schema=schema))
                out.execute(f"INSERT INTO {name} SELECT * FROM page")
                out.unregister("page")
                written[name] += len(page)
                _tell(progress, name, written)
        for name, index in (("report_results", "job_id"), ("report_results", "custom_id")):
            out.execute(f"CREATE INDEX ix_{name}_{index} ON {name} ({index})")
        out.execute("CHECKPOINT")
    return written


def _naive(value: Any) -> Any:
    """DuckDB needs another package to show a time with a zone; what stands in the file is UTC. A vector is a list."""
    if isinstance(value, bytes):
        return unpack_vector(value)
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _tell(progress: Callable[[int], None] | None, name: str, written: Mapping[str, int]) -> None:
    if progress is not None and name == "report_results":
        progress(written[name])
