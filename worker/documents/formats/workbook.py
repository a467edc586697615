"""Workbooks as documents: each sheet as a table of Markdown, read as ``worker.documents.spreadsheet`` reads tables."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.documents.formats.limits import Content, Refused, check_size, clean, content
from worker.documents.formats.package import Package, core_properties
from worker.documents.row import QUIRKS
from worker.documents.spreadsheet import Sheet, read_sheets
from worker.errors import InputRefused

_PATH = Path("the workbook")


@contextmanager
def refusing(path: Path, name: str = "") -> Iterator[None]:
    """Raises Refused in place of InputRefused; ``path`` in its message becomes ``name``."""
    try:
        yield
    except InputRefused as error:
        problem = error.problems[0]
        code = problem.code if problem.code in {"empty", "too_large", "unknown_format"} else "unreadable"
        message = problem.message if name else problem.message.removeprefix(f"{path}: ")
        raise Refused(code, message.replace(str(path), name)) from error  # type: ignore[arg-type]


def sheets_in(data: bytes) -> Iterator[Sheet]:
    """The sheets of a workbook that hold something. Raises Refused."""
    with refusing(_PATH):
        yield from read_sheets(data, _PATH)


def read_workbook(data: bytes) -> Content:
    """The sheets as one text, and ``sheets``, name and text of each. Raises Refused."""
    package = (
        Package(data, ending=".xlsx") if data.startswith(b"PK") else None
    )  # a bound of what it unpacks to
    sheets: list[tuple[str, str, list[str]]] = []
    size = 0
    for sheet in sheets_in(data):
        lines = []
        quirks: dict[str, int] = {}
        for line in _lines(sheet, quirks):
            size += len(line)
            check_size(size)
            lines.append(line)
        name = clean(sheet.name)
        notes = [f"{QUIRKS[quirk]} (the first is in row {row:,})" for quirk, row in quirks.items()]
        sheets.append((name, f"## {name}\n\n" + "\n".join(lines) + "\n", notes))
    text = "\n".join(text for _, text, _ in sheets)
    document = content(text, metadata={} if package is None else core_properties(package))
    document["sheets"] = sheets
    return document


def _lines(sheet: Sheet, quirks: dict[str, int]) -> Iterator[str]:
    """The lines of a table of Markdown. Rows without a value are one empty row. ``quirks`` gets the row that has each first."""
    width = int(sheet.cells.width)
    last = 0
    with refusing(_PATH):
        for number, values, odd in sheet.rows():
            for _, quirk in odd:
                quirks.setdefault(quirk, number)
            if last and number > last + 1:
                yield _line([""] * width)
            yield _line([cell_text(value) for value in values])
            if not last:
                yield _line(["---"] * width)
            last = number


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def cell_text(value: Any) -> str:
    """A value within a table of Markdown.

    >>> cell_text("a|b\\nc"), cell_text(True), cell_text(0.5)
    ('a\\\\|b c', 'true', '0.5')
    """
    if not isinstance(value, str):
        return json.dumps(value)
    return re.sub(r"\s*\n\s*", " ", clean(value)).replace("|", "\\|").strip()
