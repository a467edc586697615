"""A table as Parquet, in row groups, and values as columns of a type take them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, assert_never

from worker.exports.writers import Column, Kind, plain_text
from worker.replies.vectors import unpack_vector

GROUP_ROWS = 20_000

GROUP_CHARACTERS = 12 * 2**20
"""A row group of Parquet ends at whichever comes first; Chinese text takes 3 bytes a character."""


def write_parquet(out: BinaryIO, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    """The rows in row groups, zstd; returns how many. A value that is not of its column's kind is null there."""
    import pyarrow.parquet as pq  # 0.2 s to import
    from pyarrow import Table

    schema = _schema(columns)
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in _groups(rows):
            arrays = [
                [column_value(column.kind, value) for value in values]
                for column, values in zip(columns, zip(*group, strict=True), strict=True)
            ]
            count += len(group)
            group.clear()  # two copies of the texts are enough
            writer.write_table(Table.from_arrays([*_arrays(arrays, schema)], schema=schema))
    return count


def _schema(columns: Sequence[Column]) -> Any:
    import pyarrow as pa

    def arrow(kind: Kind, size: int | None) -> Any:
        match kind:
            case "text":
                return pa.string()
            case "integer":
                return pa.int64()
            case "number":
                return pa.float64()
            case "truth":
                return pa.bool_()
            case "time":
                return pa.timestamp("us", tz="UTC")
            case "vector":
                return pa.list_(pa.float32(), -1 if size is None else size)
            case _:
                assert_never(kind)

    return pa.schema([(column.name, arrow(column.kind, column.size)) for column in columns])


def _arrays(columns: list[list[Any]], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for at, field in enumerate(schema):
        yield pa.array([_listed(value) for value in columns[at]], type=field.type)
        columns[at] = []


def _listed(value: Any) -> Any:
    """A vector as the list that pyarrow takes; all else as it is."""
    return unpack_vector(value) if isinstance(value, bytes) else value


def _groups(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    group: list[Sequence[Any]] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += sum(_weight(value) for value in row if isinstance(value, str | bytes))
        if len(group) >= GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _weight(value: str | bytes) -> int:
    """Characters, or for a vector what its list of numbers takes."""
    return len(value) if isinstance(value, str) else 8 * len(value)


def _integer(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        else None
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_CAST: Mapping[Kind, Callable[[Any], Any]] = {
    "text": plain_text,
    "integer": _integer,
    "number": _number,
    "truth": lambda value: value if isinstance(value, bool) else None,
    "time": lambda value: value if isinstance(value, datetime) else None,
    "vector": lambda value: value if isinstance(value, bytes) else None,
}


def column_value(kind: Kind, value: Any) -> Any:
    """A value as a column of this kind takes it; None where it is of another."""
    return _CAST[kind](value)
