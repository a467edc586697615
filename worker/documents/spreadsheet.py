"""The rows of a sheet of a spreadsheet as plain values of JSON: .xlsx, .xlsm, .xls and .ods, by calamine.

A spreadsheet has no whole numbers and no text for a date: 12.0 is 12 here, a date is its text in ISO 8601, a number that
is shown as 0008 is that text. A formula is its last result. Rows are counted as the spreadsheet counts them, so that a
message names the row that a person sees.
"""

import datetime as dt
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from worker.documents.packed import UNPACKED_FREELY, UNPACKED_RATIO
from worker.documents.row import Row, Rows, check_columns, whole_problem
from worker.errors import InputRefused, Problem
from worker.records import record

DIGITS = 15
"""Significant digits of a number that a spreadsheet shows: 0.1 + 0.2 is 0.3 there."""
_WHOLE = Decimal(10) ** 21
"""Whole numbers below this are written out."""
_NO_ROW: tuple[int, Mapping[int, str]] = (2**63, {})
"""Behind every row."""


@record
class SheetRows:
    """Rows of one sheet, which is held in memory: a spreadsheet cannot be read in parts."""

    path: Path
    sheet: Any
    """As calamine has it."""
    columns: tuple[str, ...]
    places: tuple[int, ...]
    """Where each of the columns stands in a row."""
    header: int
    """The row of the header, from 1."""
    left: int
    """How many empty columns of the sheet are left of all rows; calamine leaves them out."""
    remaining: tuple[str, ...] = ()
    """The sheets behind it, where nobody said which is meant."""

    @property
    def kind(self) -> str:
        return "spreadsheet"

    @property
    def encoding(self) -> str:
        return "utf-8"

    def __iter__(self) -> Iterator[Row]:
        named = frozenset(self.places)
        zeros = self._zeros()
        ahead, shown = next(zeros, _NO_ROW)
        for number, cells in enumerate(self.sheet.iter_rows(), start=1):
            while ahead < number:
                ahead, shown = next(zeros, _NO_ROW)
            if number <= self.header or all(cell == "" for cell in cells):
                continue
            beside = next((at for at, cell in enumerate(cells) if cell != "" and at not in named), None)
            if beside is not None:
                message = (
                    f"a value in column {letters(self.left + beside)}, which has no name; name the column in row {self.header}, "
                    "or remove the value"
                )
                yield Row(number, None, None, Problem(number, "", "too_many_fields", message))
                continue
            texts = shown if ahead == number else {}
            values = (
                texts.get(self.left + at) or plain_cell(cells[at]) if at < len(cells) else ""
                for at in self.places
            )
            yield Row(number, dict(zip(self.columns, values, strict=True)), None)

    def _zeros(self) -> Iterator[tuple[int, Mapping[int, str]]]:
        """The numbers that are shown with leading zeros. Raises InputRefused."""
        from worker.documents.leading_zeros import Unreadable, zero_rows  # the parser of XML

        try:
            yield from zero_rows(self.path, self.sheet.name)
        except Unreadable as error:
            raise _refused(self.path, f"not a spreadsheet that can be read: {error}", "unreadable") from error

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of how it is read."""
        from worker.documents.leading_zeros import loses_zeros  # the parser of XML

        remarks = []
        if self.remaining:
            others = ", ".join(map(repr, self.remaining[:5]))
            remarks.append(f"read from the sheet {self.sheet.name!r}; --sheet names another: {others}")
        if loses_zeros(self.path):
            remarks.append(
                f"{self.path.name} has a cell format with leading zeros (such as 0000), which an .xls loses here: 0008 is "
                "read as 8; save it as .xlsx"
            )
        return tuple(remarks)


def open_spreadsheet(path: Path, sheet: str | None) -> Rows:
    """The rows of ``sheet``, by its name or its place from 1; None: of the first that holds any.

    The first row that is not empty names the columns. Raises InputRefused: no spreadsheet, encrypted, no such sheet, no
    row, a column without a name or of the same name as another.
    """
    from python_calamine import (
        CalamineError,
        CalamineWorkbook,
        PasswordError,
        SheetTypeEnum,
        SheetVisibleEnum,
    )

    _check_size(path)
    try:
        book = CalamineWorkbook.from_path(path)
        sheets = [one for one in book.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
        if sheet is not None:
            names = [one.name for one in sheets]
            return _opened(path, book.get_sheet_by_name(_named(path, sheet, names)))
        names = [one.name for one in sheets if one.visible == SheetVisibleEnum.Visible]
        for at, name in enumerate(names, start=1):
            first = book.get_sheet_by_name(name)
            if first.start is not None:
                return _opened(path, first, remaining=tuple(names[at:]))
    except PasswordError as error:
        raise _refused(path, "is protected by a password; save it without one", "unreadable") from error
    except (CalamineError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _refused(path, f"not a spreadsheet that can be read: {reason}", "unreadable") from error
    raise _refused(path, "no sheet of it holds anything", "empty")


def _opened(path: Path, sheet: Any, *, remaining: tuple[str, ...] = ()) -> SheetRows:
    header, cells = next(
        (
            (number, cells)
            for number, cells in enumerate(sheet.iter_rows(), start=1)
            if any(cell != "" for cell in cells)
        ),
        (0, []),
    )
    if not header:
        raise _refused(path, f"the sheet {sheet.name!r} is empty", "empty")
    names = [_header_text(cell) for cell in cells]
    places = tuple(at for at, name in enumerate(names) if name)
    left = sheet.start[1]
    _check_twice(path, names, left)
    columns = tuple(names[at] for at in places)
    check_columns(columns, path)
    rows = SheetRows(path, sheet, columns, places, header, left, remaining)
    if not any(True for _ in rows):
        raise _refused(path, f"the sheet {sheet.name!r} has a header and no row", "empty")
    return rows


def plain_cell(cell: Any) -> Any:
    """A cell as JSON has it; an empty one is an empty text.

    >>> [plain_cell(cell) for cell in (12.0, 0.1 + 0.2, "007", True, dt.date(2026, 3, 1), dt.timedelta(hours=30))]
    [12, 0.3, '007', True, '2026-03-01', '30:00:00']
    """
    match cell:
        case bool() | str() | int():
            return cell
        case float():
            return cell_number(cell)
        case dt.datetime() | dt.date() | dt.time():
            return cell.isoformat()
        case dt.timedelta():
            seconds = round(cell.total_seconds())
            sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
            return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        case _:
            return str(cell)


def cell_number(number: float) -> int | float:
    """The number that a spreadsheet shows.

    >>> cell_number(1e5), cell_number(19.990000000000002), cell_number(4.012345678901e12)
    (100000, 19.99, 4012345678901)
    """
    shown = Decimal(f"{number:.{DIGITS}g}")
    if shown.is_finite() and shown == shown.to_integral_value() and abs(shown) < _WHOLE:
        return int(shown)
    return float(shown)


def letters(place: int) -> str:
    """The name of a column in a spreadsheet, by its place from 0.

    >>> letters(0), letters(25), letters(26), letters(701), letters(702)
    ('A', 'Z', 'AA', 'ZZ', 'AAA')
    """
    name = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def _header_text(cell: Any) -> str:
    return " ".join(str(plain_cell(cell)).split())


def _check_twice(path: Path, names: Sequence[str], left: int) -> None:
    """Raises InputRefused for two columns of one name, with the letters that a person sees."""
    first: dict[str, int] = {}
    problems = []
    for at, name in enumerate(names):
        if name and first.setdefault(name, at) != at:
            message = (
                f"{path}: two columns are named {name!r}, {letters(left + first[name])} and {letters(left + at)}; "
                "rename one of them"
            )
            problems.append(Problem(0, name, "duplicate_column", message))
    if problems:
        raise InputRefused(problems[:20], more_problems=max(0, len(problems) - 20))


def _named(path: Path, sheet: str, names: Sequence[str]) -> str:
    if sheet in names:
        return sheet
    if sheet.isdecimal() and 1 <= int(sheet) <= len(names):
        return names[int(sheet) - 1]
    near = get_close_matches(sheet, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, names[:10]))}"
    raise InputRefused([Problem(0, "--sheet", "missing_sheet", f"{path}: no sheet {sheet!r}; {hint}")])


def _check_size(path: Path) -> None:
    """Raises InputRefused for what is no file, is empty, or was packed so that it fills the memory of whoever reads it."""
    try:
        size = path.stat().st_size
        if not size:
            raise _refused(path, "the file is empty", "empty")
        if not zipfile.is_zipfile(path):
            return  # .xls, or nothing that calamine reads
        with zipfile.ZipFile(path) as packed:
            total = sum(entry.file_size for entry in packed.infolist())
    except OSError as error:
        raise _refused(path, error.strerror or str(error), "unreadable") from error
    except zipfile.BadZipFile as error:
        raise _refused(path, f"damaged: {error}", "unreadable") from error
    if total > UNPACKED_FREELY and total > UNPACKED_RATIO * size:
        raise _refused(
            path, f"{total:,} bytes unpacked, which is over {UNPACKED_RATIO} times its size", "too_large"
        )


def _refused(path: Path, message: str, code: str) -> InputRefused:
    return InputRefused([whole_problem(code, f"{path}: {message}")])
