"""Files of DuckDB, of somebody else: rows out of them by a query, results into a table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from worker.errors import InputRefused, Problem
from worker.replies.vectors import unpack_vector
from worker.storage.external import NUMBER, PAGE, Kind

_TYPES: Mapping[Kind, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "truth": "BOOLEAN",
    "time": "TIMESTAMP",
    "vector": "FLOAT[]",
}
_KINDS: Mapping[str, Kind] = {
    "VARCHAR": "text",
    "BIGINT": "integer",
    "HUGEINT": "integer",
    "INTEGER": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "truth",
    "TIMESTAMP": "time",
}


class DuckFile:
    """A file, opened for each action: DuckDB lets one process write to it at a time."""

    def __init__(self, path: str, option: str) -> None:
        self._path = Path(path).expanduser()
        self._option = option

    @contextmanager
    def query(self, query: str) -> Iterator[tuple[tuple[str, ...], Iterator[Sequence[Any]]]]:
        with closing(self._opened(read_only=True)) as conn:
            result = conn.execute(query)
            columns = tuple(column[0] for column in result.description or ())
            yield columns, _fetched(result)

    def columns(self, table: str) -> Mapping[str, Kind | None] | None:
        if not self._path.exists():
            return None
        schema, _, name = table.rpartition(".")
        with closing(self._opened(read_only=True)) as conn:
            rows = conn.execute(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_name = ? AND table_schema = ? AND table_catalog = current_database()",
                [name, schema or "main"],
            ).fetchall()
        return {column: _kind(type_) for column, type_ in rows} or None

    def create(self, table: str, columns: Mapping[str, Kind], *, size: int | None = None) -> None:
        types = _TYPES if size is None else {**_TYPES, "vector": f"FLOAT[{size}]"}
        each = ", ".join(
            f"{_quoted(name)} {types[kind]}{' PRIMARY KEY' if name == NUMBER else ''}"
            for name, kind in columns.items()
        )
        with closing(self._opened(read_only=False)) as conn:
            conn.execute(f"CREATE TABLE IF NOT EXISTS {_dotted(table)} ({each})")

    def numbers(self, table: str, first: int, last: int) -> frozenset[int]:
        query = f"SELECT {NUMBER} FROM {_dotted(table)} WHERE {NUMBER} BETWEEN ? AND ?"
        with closing(self._opened(read_only=True)) as conn:
            return frozenset(number for (number,) in conn.execute(query, [first, last]).fetchall())

    def append(self, table: str, columns: Mapping[str, Kind], rows: Sequence[Sequence[Any]]) -> bool:
        import pyarrow as pa

        types = {
            "integer": pa.int64(),
            "number": pa.float64(),
            "truth": pa.bool_(),
            "time": pa.timestamp("us"),
            "vector": pa.list_(pa.float32()),
        }
        schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in columns.items()])
        arrays = [
            pa.array([_written(value) for value in values], type=field.type)
            for field, values in zip(schema, zip(*rows, strict=True), strict=True)
        ]
        names = ", ".join(map(_quoted, columns))
        try:
            with closing(self._opened(read_only=False)) as conn:
                conn.register("page", pa.Table.from_arrays(arrays, schema=schema))
                conn.execute(f"INSERT INTO {_dotted(table)} ({names}) SELECT * FROM page")
        except duckdb.ConstraintException:
            if self.numbers(table, rows[0][0], rows[-1][0]):
                return False
            raise
        return True

    def _opened(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        if read_only and not self._path.is_file():
            raise _refused(self._option, f"{self._path}: no such file")
        return duckdb.connect(str(self._path), read_only=read_only, config={"memory_limit": "200MB"})


@contextmanager
def duckdb_errors(option: str, url: str) -> Iterator[None]:
    """What DuckDB says, as a refusal that names the option and the file."""
    try:
        yield
    except duckdb.Error as error:
        raise _refused(option, f"{url}: {str(error).strip().splitlines()[0]}") from error


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while page := result.fetchmany(PAGE):
        yield from page


def _written(value: Any) -> Any:
    """DuckDB needs another package to show a time with a zone; what stands in the file is UTC. A vector is a list."""
    match value:
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None)
        case bytes():
            return unpack_vector(value)
        case _:
            return value


def _kind(type_: str) -> Kind | None:
    return "vector" if type_.startswith("FLOAT[") else _KINDS.get(type_)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _dotted(table: str) -> str:
    return ".".join(_quoted(part) for part in table.split(".", 1))


def _refused(option: str, message: str) -> InputRefused:
    return InputRefused([Problem(0, option, "external_database", f"{option}: {message}")])
