"""Which rows does a Parquet file hold, as plain JSON-able values? Imported only where one is read: pyarrow is heavy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.documents.tables import Row, check_columns
from worker.errors import InputRefused, Problem

BATCH_ROWS = 512


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """Rows of one Parquet file."""

    path: Path
    columns: tuple[str, ...]

    @property
    def kind(self) -> str:
        return "parquet"

    @property
    def encoding(self) -> str:
        return "utf-8"

    def __iter__(self) -> Iterator[Row]:
        number = 0
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                    lists = [_microseconds(column).to_pylist() for column in batch.columns]
                    for values in zip(*lists, strict=True):
                        number += 1
                        row = {name: _plain(v) for name, v in zip(self.columns, values, strict=True)}
                        yield Row(number, row, None)
        except (OSError, pa.ArrowException, ValueError) as error:
            message = f"{self.path}: damaged behind row {number:,}: {_first_line(error)}"
            raise InputRefused([Problem(number + 1, "", "unreadable", message)]) from error


def open_parquet(path: Path) -> ParquetRows:
    """The file's rows. Raises InputRefused: not Parquet, no row, a column of bytes, or two of one name."""
    try:
        if path.stat().st_size == 0:
            raise InputRefused([Problem(0, "", "empty", f"{path}: the file is empty")])
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, ValueError) as error:
        message = f"{path}: not Parquet: {_first_line(error)}"
        raise InputRefused([Problem(0, "", "not_parquet", message)]) from error
    except OSError as error:
        message = f"{path}: {error.strerror or _first_line(error)}"
        raise InputRefused([Problem(0, "", "unreadable", message)]) from error
    columns = tuple(schema.names)
    check_columns(columns, path)
    problems = [
        Problem(0, field.name, "binary_column", f"{path}: column {field.name!r} holds bytes; leave it out")
        for field in schema
        if _holds_bytes(field.type)
    ]
    if problems:
        raise InputRefused(problems)
    if rows == 0:
        raise InputRefused([Problem(0, "", "empty", f"{path}: columns and no row")])
    return ParquetRows(path, columns)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    ):
        return True
    return any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))


def _microseconds(column: Any) -> Any:
    """Times in nanoseconds become the finest that Python holds, cut rather than refused."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    return column


def _plain(value: Any) -> Any:
    """``value`` as JSON has it: times in ISO 8601, decimals and spans of time as text, NaN as null, infinity as text."""
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            if math.isnan(value):
                return None
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case timedelta() | Decimal():
            return str(value)
        case _:
            return str(value)
