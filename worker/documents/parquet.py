"""Which rows does a Parquet file hold, as plain JSON-able values? Imported only where one is read: pyarrow is heavy."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.documents.arrow_values import plain_column
from worker.documents.tables import Row, check_columns
from worker.errors import InputRefused, Problem

BATCH_ROWS = 512
NESTED_ROWS = 32
"""Where values hold others, a repeated one among them takes room for each time that it stands there."""


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """Rows of one Parquet file."""

    path: Path
    columns: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    """Columns of texts, whose repeated values are kept once."""
    at_once: int = BATCH_ROWS

    @property
    def kind(self) -> str:
        return "parquet"

    @property
    def encoding(self) -> str:
        return "utf-8"

    def __iter__(self) -> Iterator[Row]:
        number = 0
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, read_dictionary=list(self.repeated)) as file:
                for batch in file.iter_batches(batch_size=self.at_once, use_threads=False):
                    for values in _rows(batch, number):
                        number += 1
                        if isinstance(values, Problem):
                            yield Row(number, None, None, values)
                        else:
                            yield Row(number, dict(zip(self.columns, values, strict=True)), None)
        except (OSError, pa.ArrowException, ValueError, ArithmeticError) as error:
            message = f"{self.path}: damaged behind row {number:,}: {_first_line(error)}"
            raise InputRefused([Problem(number + 1, "", "unreadable", message)]) from error


def _rows(batch: Any, before: int) -> Iterator[tuple[Any, ...] | Problem]:
    """The rows of a batch; one that holds what cannot be written as what is wrong with it."""
    try:
        lists = [plain_column(column) for column in batch.columns]
    except _UNWRITABLE:
        for index in range(batch.num_rows):
            yield _row(batch.slice(index, 1), before + index + 1)
    else:
        yield from zip(*lists, strict=True)


def _row(row: Any, number: int) -> tuple[Any, ...] | Problem:
    values = []
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            values += plain_column(column)
        except _UNWRITABLE as error:
            message = f"column {name!r}: a value of type {column.type} that has no form as text: {_first_line(error)}"
            return Problem(number, name, "invalid_value", message)
    return tuple(values)


_UNWRITABLE = (pa.ArrowException, ValueError, ArithmeticError, TypeError, NotImplementedError)


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
    texts = tuple(field.name for field in schema if _is_text(field.type) and "." not in field.name)
    nested = any(field.type.num_fields for field in schema)
    return ParquetRows(path, columns, texts, NESTED_ROWS if nested else BATCH_ROWS)


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


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
