"""The rows of a table as documents; runs in the child that reads documents."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from api_schemas.json_text import NotJson, Repair, load_json
from api_schemas.line_bounds import MOST_VALUES, values_of
from worker.documents.formats.kinds import check_kind
from worker.documents.formats.limits import MOST_TEXT, Refused, clean
from worker.documents.formats.workbook import refusing, sheets_in
from worker.documents.packed import UNPACKED_FREELY, UNPACKED_RATIO
from worker.documents.row import QUIRKS, Row
from worker.documents.spreadsheet import sheet_rows
from worker.documents.tables import ReadingRules, open_rows

MOST_ROW = 64 * 1024 * 1024
"""Bytes of JSON for one row."""
CHUNK = 1024 * 1024
"""Rows are handed out in chunks of this size, in bytes of JSON."""


def read_rows(path: Path, name: str, encoding: str | None) -> Iterator[bytes]:
    """Lists of rows as JSON. A row is an object: ``line``, and either ``refused`` (code and message) or ``text`` (null
    where it is the column of that name), ``metadata``, ``sha256``, ``encoding`` and ``notes``.

    ``path`` holds the table, and its ending says which kind; ``name`` is for messages. Raises Refused for what is wrong
    with the whole file, also between two chunks.
    """
    with refusing(path, name):
        rows = open_rows(path, ReadingRules(encoding))
        most = max(UNPACKED_FREELY, UNPACKED_RATIO * path.stat().st_size)
        yield from _chunks((_written(row, rows.encoding) for row in rows if not _is_blank(row)), most)


def read_sheet_rows(data: bytes, name: str) -> Iterator[bytes]:
    """The rows of each sheet of a workbook as ``read_rows`` hands them out, with the name of their ``sheet``, whose first row
    names the columns. What is wrong with a whole sheet is its row 0; one without rows is passed over where others have
    some. Raises Refused.
    """
    check_kind(name, data)
    yield from _chunks(_of_sheets(data), max(UNPACKED_FREELY, UNPACKED_RATIO * len(data)))


def _of_sheets(data: bytes) -> Iterator[bytes]:
    held = False
    for sheet in sheets_in(data):
        named = {"sheet": clean(sheet.name)}
        try:
            with refusing(sheet.path):
                for row in sheet_rows(sheet):
                    held = True
                    yield _written(row, None, **named)
        except Refused as error:
            if error.code != "empty":
                held = True
                yield _json({**named, "line": 0, "refused": [error.code, error.message]})
    if not held:
        raise Refused("empty", "no sheet has a row below its header")


def _chunks(rows: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Raises Refused for more than ``most`` bytes."""
    chunk: list[bytes] = []
    size = total = 0
    for written in rows:
        chunk.append(written)
        size += len(written)
        total += len(written)
        if total > most:
            raise Refused("too_large", f"its rows take more than {most:,} bytes, far more than the file")
        if size >= CHUNK:
            yield b"[%s]" % b",".join(chunk)
            chunk, size = [], 0
    yield b"[%s]" % b",".join(chunk)


def _is_blank(row: Row) -> bool:
    return row.problem is None and row.values is None and not (row.raw or b"").strip()


def _written(row: Row, encoding: str | None, **more: str) -> bytes:
    try:
        content = _content(row)
    except Refused as error:
        return _json({**more, "line": row.line, "refused": [error.code, error.message]})
    written = _json({**more, "line": row.line, "encoding": encoding, **content})
    if len(written) > MOST_ROW:
        refused = ["too_large", f"{len(written):,} bytes, a row may have at most {MOST_ROW:,}"]
        return _json({**more, "line": row.line, "refused": refused})
    return written


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _content(row: Row) -> dict[str, Any]:
    """Raises Refused for a row that is no document."""
    if row.problem is not None:
        code = "too_large" if row.problem.code == "too_large" else "unreadable"
        raise Refused(code, row.problem.message)  # type: ignore[arg-type]
    values, notes = (
        (row.values, tuple(QUIRKS[name] for name in row.quirks))
        if row.values is not None
        else _parsed(row.raw or b"")
    )
    own = isinstance(values.get("text"), str)
    text = values["text"] if own else _lines(values)
    if not text.strip():
        why = (
            "the column text is empty"
            if own and any(map(_is_some, values.values()))
            else "every column is empty"
        )
        raise Refused("no_text", "; ".join([why, *notes]))
    if len(text) > MOST_TEXT:
        raise Refused("too_large", f"{len(text):,} characters, at most {MOST_TEXT:,} are read")
    digest = hashlib.sha256(
        json.dumps(values, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")
    )
    return {
        "text": None if own else text,
        "metadata": values,
        "sha256": digest.hexdigest(),
        "notes": notes,
    }


def _parsed(raw: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values of a line of JSON, and what was changed in them. Raises Refused."""
    if values_of(raw) > MOST_VALUES:
        raise Refused("too_large", f"more than {MOST_VALUES:,} values, which is the most that a row may have")
    repair = Repair()
    try:
        values = load_json(raw)
        if not isinstance(values, dict):
            raise Refused("unreadable", "not a JSON object")
        values = repair.object(values)
    except NotJson as error:
        raise Refused("unreadable", str(error)) from error
    return values, repair.notes()


def _is_some(value: Any) -> bool:
    return value not in (None, "")


def _lines(values: dict[str, Any]) -> str:
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if _is_some(value)
    )
