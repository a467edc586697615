"""The rows of a Parquet file as plain values of JSON. Imported only where one is read: pyarrow is heavy.

A file of 600 bytes may hold a text of 40 MB a thousand times, in lists and objects too. So every text is read by reference,
few rows are read at once where they are large, and a row that would be larger than a line of JSONL may be is refused before
its values are made.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worker.documents.arrow_values import plain_column
from worker.documents.packed import UNPACKED_FREELY, UNPACKED_RATIO
from worker.documents.row import LINE_LIMIT, Row, check_columns
from worker.errors import InputRefused, Problem, in_words
from worker.records import record

BATCH_ROWS = 512
BATCH_BYTES = 16 * 1024 * 1024
"""Rows are read at once up to this size, by the mean of their row group."""
VALUE_BYTES = 32
"""What a value takes in memory beside its text, so that a row has at most two million of them."""
PAGES_BYTES = 1024 * 1024
"""A column is read in pieces of this size, and not a whole row group of it at once."""


@record
class ParquetRows:
    """Rows of one Parquet file."""

    path: Path
    columns: tuple[str, ...]
    texts: tuple[int, ...] = ()
    """Columns of the file, by their places, that are read by reference: each distinct text is kept once."""
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
            with _opened(self.path, self.texts) as file:
                for batch in file.iter_batches(batch_size=self.at_once, use_threads=False):
                    for values in _rows(batch, number):
                        number += 1
                        if isinstance(values, Problem):
                            yield Row(number, None, None, values)
                        else:
                            yield Row(number, dict(zip(self.columns, values, strict=True)), None)
        except MemoryError as error:
            message = f"{self.path}: what is stored behind row {number:,} takes more memory than there is"
            raise InputRefused([Problem(number + 1, "", "too_large", message)]) from error
        except (OSError, pa.ArrowException, ValueError, ArithmeticError) as error:
            message = f"{self.path}: damaged behind row {number:,}: {_first_line(error)}"
            raise InputRefused([Problem(number + 1, "", "unreadable", message)]) from error


def _opened(path: Path, texts: tuple[int, ...] = ()) -> Any:
    return pq.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=PAGES_BYTES,
        read_dictionary=list(texts),
        page_checksum_verification=True,
    )


def _rows(batch: Any, before: int) -> Iterator[tuple[Any, ...] | Problem]:
    """The rows of a batch; one that holds what cannot be written, or too much, as what is wrong with it."""
    lists = None
    if _size(batch.columns) <= LINE_LIMIT:
        with suppress(*_UNWRITABLE):
            lists = [plain_column(column) for column in batch.columns]
    if lists is not None:
        yield from zip(*lists, strict=True)
        return
    for index in range(batch.num_rows):
        yield _row(batch.slice(index, 1), before + index + 1)


def _row(row: Any, number: int) -> tuple[Any, ...] | Problem:
    size = _size(row.columns)
    if size > LINE_LIMIT:
        largest = max(zip(row.schema.names, row.columns, strict=True), key=lambda pair: _size([pair[1]]))[0]
        message = f"{size:,} bytes, a row may have at most {LINE_LIMIT:,}; the largest column is {largest!r}"
        return Problem(number, largest, "too_large", message)
    values = []
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            values += plain_column(column)
        except _UNWRITABLE as error:
            message = f"column {name!r}: a value of type {column.type} that has no form as text: {_first_line(error)}"
            return Problem(number, name, "invalid_value", message)
    return tuple(values)


def _size(columns: Iterable[Any]) -> int:
    """Bytes that the values of these arrays take once they are made: texts, and something for each value."""
    total = 0
    todo = list(columns)
    while todo:
        column = todo.pop()
        kind = column.type
        total += VALUE_BYTES * len(column)
        if pa.types.is_dictionary(kind):
            if _is_text(kind.value_type):
                lengths = pc.binary_length(column.dictionary).cast(pa.int64())
                total += pc.sum(lengths.take(column.indices)).as_py() or 0
        elif _is_text(kind):
            total += pc.sum(pc.binary_length(column).cast(pa.int64())).as_py() or 0
        elif pa.types.is_struct(kind):
            todo += column.flatten()
        elif pa.types.is_map(kind):
            first, end = column.offsets[0].as_py(), column.offsets[-1].as_py()
            todo += [column.keys.slice(first, end - first), column.items.slice(first, end - first)]
        elif kind.num_fields:  # lists of all kinds
            todo.append(column.flatten())
        elif not _is_fixed(kind):
            total += column.nbytes
    return total


_UNWRITABLE = (pa.ArrowException, ValueError, ArithmeticError, TypeError, NotImplementedError)


def open_parquet(path: Path) -> ParquetRows:
    """The file's rows. Raises InputRefused: not Parquet, no row, a column of bytes, or two of one name."""
    try:
        if path.stat().st_size == 0:
            raise InputRefused([Problem(0, "", "empty", f"{path}: the file is empty")])
        with _opened(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            texts = tuple(at for at in range(len(file.schema)) if _is_repeated_text(file, at))
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
    if metadata.num_rows == 0:
        raise InputRefused([Problem(0, "", "empty", f"{path}: columns and no row")])
    return ParquetRows(path, columns, texts, _rows_at_once(metadata, path))


def _rows_at_once(metadata: Any, path: Path) -> int:
    """How many rows fit into ``BATCH_BYTES`` where they are largest. Raises InputRefused for a file that is a bomb, as a packed
    one may be."""
    total, largest = 0, 1.0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = map(group.column, range(group.num_columns))
        size = sum(max(column.total_uncompressed_size, 8 * column.num_values) for column in columns)
        total += size
        largest = max(largest, size / max(group.num_rows, 1))
    if total > UNPACKED_FREELY and total > UNPACKED_RATIO * path.stat().st_size:
        message = f"{path}: {total:,} bytes unpacked, which is over {UNPACKED_RATIO} times its size"
        raise InputRefused([Problem(0, "", "too_large", message)])
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / largest)))


def _is_repeated_text(file: Any, at: int) -> bool:
    """Whether texts of this column of the file are stored once for many rows."""
    column, metadata = file.schema.column(at), file.metadata
    return (
        column.physical_type == "BYTE_ARRAY"
        and column.logical_type.type == "STRING"
        and any(
            metadata.row_group(group).column(at).has_dictionary_page
            for group in range(metadata.num_row_groups)
        )
    )


def _first_line(error: Exception) -> str:
    return (in_words(error)).splitlines()[0]


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


def _is_fixed(kind: Any) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind))
