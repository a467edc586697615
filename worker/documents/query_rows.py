"""Rows of a query, kept in a file: they have a hash then, and can be read again.

The first line names the columns; each further one is a JSON list with the values of a row.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from worker.documents.row import LINE_LIMIT, Row, check_columns
from worker.errors import Problem
from worker.records import record

ENDING = ".rows"


@record
class QueryRows:
    """The rows of such a file; each iteration reads it again."""

    path: Path
    columns: tuple[str, ...]

    @property
    def kind(self) -> str:
        return "rows"

    @property
    def encoding(self) -> str:
        return "utf-8"

    def __iter__(self) -> Iterator[Row]:
        with self.path.open("rb") as file:
            file.readline()
            for number, line in enumerate(file, start=1):
                if len(line) > LINE_LIMIT:
                    message = f"{len(line):,} bytes, a row may have at most {LINE_LIMIT:,}"
                    yield Row(number, None, None, Problem(number, "", "too_large", message))
                    continue
                yield Row(number, dict(zip(self.columns, json.loads(line), strict=True)), None)


def open_query_rows(path: Path) -> QueryRows:
    """Raises OSError."""
    with path.open("rb") as file:
        return QueryRows(path, tuple(json.loads(file.readline())))


def keep_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], folder: Path, *, name: str) -> Path:
    """Write rows to a file in ``folder`` that is named by ``name`` and their hash.

    Raises InputRefused for columns without a name or with the same one; OSError.
    """
    check_columns(tuple(columns), Path(name))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(
        "wb", dir=folder, prefix=f"{name}-", suffix=".part", delete=False
    ) as file:
        partial = Path(file.name)  # of its own: two queries may run at once
        try:
            _write(file, digest, list(columns))
            for row in rows:
                _write(file, digest, [plain(value) for value in row])
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    kept = folder / f"{name}-{digest.hexdigest()[:16]}{ENDING}"
    partial.rename(kept)
    return kept


def _write(file: Any, digest: Any, values: list[Any]) -> None:
    line = json.dumps(values, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    digest.update(line)
    file.write(line)


def plain(value: Any) -> Any:
    """A value of a database as JSON has it: times in ISO 8601, decimals and all else that JSON does not know as text,
    NaN as null.

    >>> plain(Decimal("12.50")), plain(date(2026, 11, 30)), plain(float("nan"))
    ('12.50', '2026-11-30', None)
    """
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            if math.isnan(value):
                return None
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)
