"""The rows of a sheet of a spreadsheet as plain values of JSON: .xlsx, .xlsm, .xls and .ods, by calamine.

A spreadsheet has no whole numbers and no text for a date: 12.0 is 12 here, a date is its text in ISO 8601, a number that
is shown as 0008 is that text, and so is an error (#N/A). A formula is its last result. Rows are counted as the spreadsheet
counts them, so that a message names the row that a person sees.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from worker.documents.cells import Cell, letters, plain_cell
from worker.documents.packed import UNPACKED_FREELY, UNPACKED_RATIO
from worker.documents.row import Row, Rows, check_columns, whole_problem
from worker.documents.sheet_cells import (
    MOST_CELLS,
    Source,
    Unreadable,
    lost_in_xls,
    odd_rows,
    opened,
    survey,
)
from worker.errors import InputRefused, Problem
from worker.records import record

_NO_ROW: tuple[int, Mapping[int, Cell]] = (2**63, {})
"""Behind every row."""


class SheetRow(NamedTuple):
    """A row of a sheet that holds something."""

    number: int
    """From 1, as the spreadsheet counts."""
    values: list[Any]
    """Of JSON; an empty cell is an empty text."""
    quirks: tuple[tuple[int, str], ...]
    """Places of cells that are odd, with keys of ``row.QUIRKS``."""


@record
class Sheet:
    """A sheet, which is held in memory: a spreadsheet cannot be read in parts."""

    path: Path
    """For messages."""
    source: Source
    cells: Any
    """As calamine has them."""
    odd: bool
    """Some of them have to be read from the XML of the workbook."""

    @property
    def name(self) -> str:
        return str(self.cells.name)

    @property
    def left(self) -> int:
        """How many empty columns are left of all rows; calamine leaves them out."""
        start = self.cells.start
        return 0 if start is None else int(start[1])

    def rows(self) -> Iterator[SheetRow]:
        """The rows that hold something. Raises InputRefused."""
        odd = self._odd_rows() if self.odd else iter(())
        ahead, places = next(odd, _NO_ROW)
        for number, cells in enumerate(self.cells.iter_rows(), start=1):
            while ahead < number:
                ahead, places = next(odd, _NO_ROW)
            values = [plain_cell(cell) for cell in cells]
            quirks = []
            if ahead == number:
                for place, cell in places.items():
                    at = place - self.left
                    if 0 <= at < len(values):
                        values[at] = cell.value
                        if cell.quirk is not None:
                            quirks.append((at, cell.quirk))
            if quirks or any(value != "" for value in values):
                yield SheetRow(number, values, tuple(quirks))

    def _odd_rows(self) -> Iterator[tuple[int, Mapping[int, Cell]]]:
        with _reading(self.path):
            yield from odd_rows(self.source, self.name)


@record
class SheetRows:
    """Rows of one sheet as those of a table."""

    sheet: Sheet
    columns: tuple[str, ...]
    places: tuple[int, ...]
    """Where each of the columns stands in a row."""
    header: int
    """The row of the header, from 1."""
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
        for number, values, quirks in self.sheet.rows():
            if number <= self.header:
                continue
            beside = next((at for at, value in enumerate(values) if value != "" and at not in named), None)
            if beside is not None:
                message = (
                    f"a value in column {letters(self.sheet.left + beside)}, which has no name; name the column in row "
                    f"{self.header}, or remove the value"
                )
                yield Row(number, None, None, Problem(number, "", "too_many_fields", message))
                continue
            cells = (values[at] if at < len(values) else "" for at in self.places)
            odd = tuple(dict.fromkeys(quirk for at, quirk in quirks if at in named))
            yield Row(number, dict(zip(self.columns, cells, strict=True)), None, quirks=odd)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of how it is read."""
        remarks = []
        name = self.sheet.path.name
        if self.remaining:
            others = ", ".join(map(repr, self.remaining[:5]))
            remarks.append(f"read from the sheet {self.sheet.name!r}; --sheet names another: {others}")
        zeros, errors = lost_in_xls(self.sheet.source)
        if zeros:
            remarks.append(
                f"{name} has a cell format with leading zeros (such as 0000), which an .xls loses here: 0008 is "
                "read as 8; save it as .xlsx"
            )
        if errors:
            remarks.append(f"{name} has cells with errors (such as #N/A), which are empty here; correct them")
        tall = [
            one
            for one in self.sheet.cells.merged_cell_ranges or ()
            if one[1][0] > max(one[0][0], self.header)
        ]
        if tall:
            (top, left), (bottom, right) = tall[0]
            merged = f"{letters(left)}{top + 1}:{letters(right)}{bottom + 1}"
            remarks.append(
                f"the sheet {self.sheet.name!r} has cells that are merged over several rows, such as {merged}; only the first "
                "row of them has the value"
            )
        return tuple(remarks)


def open_spreadsheet(path: Path, sheet: str | None) -> Rows:
    """The rows of ``sheet``, by its name or its place from 1; None: of the first that holds any.

    The first row that is not empty names the columns. Raises InputRefused: no spreadsheet, encrypted, no such sheet, no
    row, a column without a name or of the same name as another.
    """
    _check_size(path, path)
    with _reading(path):
        book, sheets = _workbook(path, path)
        if sheet is not None:
            return sheet_rows(_sheet(path, path, book, _named(path, sheet, [name for name, _ in sheets])))
        names = [name for name, shown in sheets if shown]
        for at, name in enumerate(names, start=1):
            first = _sheet(path, path, book, name)
            if first.cells.start is not None:
                return sheet_rows(first, remaining=tuple(names[at:]))
    raise _refused(path, "no sheet of it holds anything", "empty")


def read_sheets(source: Source, path: Path) -> Iterator[Sheet]:
    """Each sheet of a workbook that holds something, hidden ones too. ``path`` is for messages. Raises InputRefused."""
    _check_size(source, path)
    with _reading(path):
        book, sheets = _workbook(source, path)
        for name, _ in sheets:
            sheet = _sheet(source, path, book, name)
            if sheet.cells.start is not None:
                yield sheet


def _workbook(source: Source, path: Path) -> tuple[Any, list[tuple[str, bool]]]:
    """A workbook, and the names of its sheets with whether each is shown."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    book = CalamineWorkbook.from_object(_named_rightly(source, path))
    return book, [
        (one.name, one.visible == SheetVisibleEnum.Visible)
        for one in book.sheets_metadata
        if one.typ == SheetTypeEnum.WorkSheet
    ]


def _sheet(source: Source, path: Path, book: Any, name: str) -> Sheet:
    """Raises InputRefused for one that would fill the memory."""
    look = survey(source, name)
    if look.cells > MOST_CELLS:
        message = (
            f"the sheet {name!r} reaches to {look.last}, which is {look.cells:,} cells with the empty ones, at most "
            f"{MOST_CELLS:,} are held; remove what lies far out, or save the sheet as CSV"
        )
        raise _refused(path, message, "too_large")
    return Sheet(path, source, book.get_sheet_by_name(name), look.odd)


def _named_rightly(source: Source, path: Path) -> Any:
    """What calamine opens: it goes by the ending of a path, and by the bytes of what has none. Raises InputRefused for a text
    under the name of a workbook."""
    head = source[:2000] if isinstance(source, bytes) else _head(source)
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if head.startswith((b"PK", b"\xd0\xcf")):
        if isinstance(source, bytes) or head.startswith(b"PK") == (source.suffix.lower() != ".xls"):
            return opened(source)
        return opened(source.read_bytes())
    if begin == b"<":
        hint = "a page of HTML or XML; open it in a spreadsheet program and save it as .xlsx"
    elif b"\0" not in head:
        hint = "a text; name it .csv, .tsv or .jsonl"
    else:
        return opened(source)
    raise _refused(path, f"not a spreadsheet, but {hint}", "unknown_format")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2000)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raises InputRefused for what reading a workbook raises."""
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except PasswordError as error:
        raise _refused(path, "is protected by a password; save it without one", "unreadable") from error
    except (CalamineError, Unreadable, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _refused(path, f"not a spreadsheet that can be read: {reason}", "unreadable") from error


def sheet_rows(sheet: Sheet, *, remaining: tuple[str, ...] = ()) -> SheetRows:
    """A sheet as a table. Raises InputRefused."""
    path, left = sheet.path, sheet.left
    first = next(sheet.rows(), None)
    if first is None:
        raise _refused(path, f"the sheet {sheet.name!r} is empty", "empty")
    names = [" ".join(str(value).split()) for value in first.values]
    places = tuple(at for at, name in enumerate(names) if name)
    _check_twice(path, names, left)
    columns = tuple(names[at] for at in places)
    check_columns(columns, path)
    rows = SheetRows(sheet, columns, places, first.number, remaining)
    if not any(True for _ in rows):
        raise _refused(path, f"the sheet {sheet.name!r} has a header and no row", "empty")
    return rows


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


def _check_size(source: Source, path: Path) -> None:
    """Raises InputRefused for what is no file, is empty, or was packed so that it fills the memory of whoever reads it."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if not size:
            raise _refused(path, "the file is empty", "empty")
        if not zipfile.is_zipfile(opened(source)):
            return  # .xls, or nothing that calamine reads
        with zipfile.ZipFile(opened(source)) as packed:
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
