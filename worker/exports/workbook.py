"""A table as a spreadsheet (.xlsx), written row by row in little memory.

Texts are texts there, also those that begin like a formula; but a column of an input without types (CSV) whose cells are
all numbers is one of numbers, shown with as many decimals as it came with. What a cell cannot hold is cut with a note in
the cell itself, and rows beyond what a sheet holds go on in another sheet.
"""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from worker.exports.writers import Column, Say, plain_text

CELL_CHARACTERS = 32_767
"""UTF-16 units that a cell holds."""
SHEET_ROWS = 1_048_575
"""Rows that a sheet holds below its header."""
SHEET_COLUMNS = 16_384
_CARRIAGE_RETURN = re.compile("(?<!_x005F)_x000D_")
_EXACT = 2**53
"""Whole numbers beyond this lose digits in a spreadsheet, and are texts there."""
_WIDE = 60
_NUMERAL = 13
_WIDTHS = {"answer": _WIDE, "reasoning": _WIDE, "error_message": 40}
"""Characters that the columns of long texts show."""


def write_workbook(
    out: BinaryIO, columns: Sequence[Column], rows: Iterable[Sequence[Any]], *, say: Say | None = None
) -> int:
    """A header and the rows; returns how many rows. ``say`` gets a sentence about texts that were cut. Raises OSError."""
    from xlsxwriter.exceptions import FileCreateError

    columns = columns[:SHEET_COLUMNS]
    book = _workbook_class()(
        out, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    )
    pages = _Pages(book, columns)
    try:
        for row in rows:
            pages.add(row)
    finally:
        try:
            book.close()
        except FileCreateError as error:
            raise error.args[0] if isinstance(error.args[0], OSError) else OSError(str(error)) from error
    if pages.cut and say is not None:
        say(
            f"{pages.cut:,} texts are longer than the {CELL_CHARACTERS:,} characters of a cell and were cut, which the cell "
            "says; .csv, .parquet and .jsonl hold them whole."
        )
    return pages.count


def _workbook_class() -> Any:
    """Workbooks whose carriage returns are characters of XML. XlsxWriter escapes them as Excel does (``_x000D_``), which
    openpyxl and with it pandas hand out as it stands."""
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

    class Sheet(Worksheet):  # type: ignore[misc, unused-ignore]
        def _xml_inline_string(self, string: str, preserve: bool, *rest: Any) -> None:
            kept = _CARRIAGE_RETURN.sub("\r", string) if "_x000D_" in string else string
            super()._xml_inline_string(kept, preserve or kept != string, *rest)

        def _escape_data(self, data: Any) -> Any:
            escaped = super()._escape_data(data)
            return escaped.replace("\r", "&#13;") if isinstance(escaped, str) else escaped

    class Book(Workbook):  # type: ignore[misc, unused-ignore]
        worksheet_class = Sheet

    return Book


class _Pages:
    """The sheets of a workbook, each with the header."""

    def __init__(self, book: Any, columns: Sequence[Column]) -> None:
        self._book = book
        self._columns = columns
        self._bold = book.add_format({"bold": True})
        self._measured = book.add_format({"num_format": "0.0#####"})  # no 2.7E-05
        self._decimals: dict[int, Any] = {}
        self._time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._sheet: Any = None
        self._row = 0
        self.count = self.cut = 0
        self._begin()

    def _begin(self) -> None:
        number = len(self._book.worksheets()) + 1
        self._sheet = self._book.add_worksheet("results" if number == 1 else f"results {number}")
        self._sheet.freeze_panes(1, 0)
        for at, column in enumerate(self._columns):
            if column.numerals:
                self._sheet.set_column(at, at, _NUMERAL)
            if column.kind == "time" or column.name in _WIDTHS or column.name.startswith("answer_"):
                self._sheet.set_column(
                    at, at, _WIDTHS.get(column.name, 19 if column.kind == "time" else _WIDE)
                )
            self._sheet.write_string(0, at, _storable(column.name)[:CELL_CHARACTERS], self._bold)
        self._row = 0

    def add(self, row: Sequence[Any]) -> None:
        if self._row == SHEET_ROWS:
            self._begin()
        self._row += 1
        self.count += 1
        for at, value in enumerate(row[: len(self._columns)]):
            self._write(at, value)

    def _write(self, at: int, value: Any) -> None:
        sheet, row = self._sheet, self._row
        match value:
            case None:
                pass
            case bool():
                sheet.write_boolean(row, at, value)
            case int() if abs(value) <= _EXACT:
                sheet.write_number(row, at, value)
            case float() if math.isfinite(value):
                own = self._columns[at].own
                sheet.write_number(row, at, value, None if own else self._measured)
            case datetime():
                sheet.write_datetime(row, at, value.astimezone(UTC).replace(tzinfo=None), self._time)
            case str() if self._columns[at].numerals and value:
                sheet.write_number(row, at, float(value), self._with_decimals(value))
            case _:
                text = _storable(plain_text(value) or "")
                if len(text) * 2 > CELL_CHARACTERS and _units(text) > CELL_CHARACTERS:
                    text = _shortened(text)
                    self.cut += 1
                if text:
                    sheet.write_string(row, at, text)

    def _with_decimals(self, numeral: str) -> Any:
        """The format that shows a number as it is written."""
        count = len(numeral.partition(".")[2])
        if count not in self._decimals:
            code = "0." + "0" * count if count else "0"
            self._decimals[count] = self._book.add_format({"num_format": code})
        return self._decimals[count]


def _storable(text: str) -> str:
    """The text without halves of pairs, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _shortened(text: str) -> str:
    """The beginning of a text, with a note that it is one.

    >>> _shortened("x" * 40_000)[-47:]
    'xx … [cut here: the text has 40,000 characters]'
    """
    note = f" … [cut here: the text has {len(text):,} characters]"
    kept = text.encode("utf-16-le")[: 2 * (CELL_CHARACTERS - len(note))].decode("utf-16-le", "ignore")
    return kept + note
