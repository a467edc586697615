"""Tables as text: CSV and TSV, one row at a time, each with the line at which it begins."""

import codecs
import csv
import io
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from worker.documents.lines import bounded, undecodable
from worker.documents.packed import open_bytes
from worker.documents.row import LINE_LIMIT, Row, Rows, check_columns, whole_problem
from worker.domain.numbers import count_of
from worker.errors import InputRefused, Problem
from worker.records import record

DELIMITERS = (",", ";", "\t", "|")
SNIFFED = 64 * 1024
"""Bytes at the beginning of a file that tell what it is."""
_SAMPLE_ROWS = 20


_ESCAPE = re.compile("[\udc80-\udcff]")
"""A byte that is not of its encoding, as ``surrogateescape`` has it."""


class _TooLong(Exception):
    """A row passed the limit: most likely a quote was opened and never closed."""


class _Physical:
    """The lines of a CSV, counted; remembers those of the row being read."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._lines = bounded(text)
        self.number = 0
        self._row: list[str] = []
        self._size = 0
        self.bad: str | None = None
        """What is wrong with the bytes of the row being read."""

    def __iter__(self) -> "_Physical":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if not self._row:  # the mark of a file that was put behind another one
            line = line.lstrip("\ufeff")
        self._size += len(line)
        if self._size > LINE_LIMIT:
            raise _TooLong
        self._row.append(line)
        if self.bad is None and not line.isascii() and (escape := _ESCAPE.search(line)):
            at = len(line[: escape.start()].encode(errors="surrogateescape")) + 1
            byte = ord(escape[0]) & 0xFF
            self.bad = (
                f"not UTF-8: byte 0x{byte:02x} at {at} of line {self.number:,}; correct it, or say --encoding"
            )
        return line

    def begin_row(self) -> int:
        """Forget the row before; the line at which the next one begins."""
        self._row, self._size, self.bad = [], 0, None
        return self.number + 1

    def row(self) -> bytes:
        return "".join(self._row).rstrip("\r\n").encode(errors="replace")


@record
class _Csv:
    """How a CSV is written."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    quoted: bool = True
    chosen: bool = False
    """Somebody said whether cells stand in quotes: there is nothing to note about it."""

    @property
    def kind(self) -> str:
        return "csv"

    def __iter__(self) -> Iterator[Row]:
        names = {name.casefold() for name in self.columns}
        header = sorted(name.casefold() for name in self.columns)
        with closing(_records(self.path, self.encoding, self.delimiter, quoted=self.quoted)) as records:
            place, _, _ = next(records, (1, None, None))
            held = False
            for line, cells, physical in records:
                held = True
                if isinstance(cells, Problem):
                    yield Row(line, None, physical.row(), cells)
                elif physical.bad is not None:
                    yield Row(line, None, physical.row(), Problem(line, "", "invalid_encoding", physical.bad))
                elif len(cells) > 1 and not any(map(str.strip, cells)):
                    continue  # what a spreadsheet writes of an empty row: ;;;
                elif len(cells) != len(header):
                    yield Row(line, None, physical.row(), self._wrong_count(line, cells))
                elif cells[0].strip().casefold() in names and header == sorted(
                    cell.strip().casefold() for cell in cells
                ):
                    message = (
                        f"the header of line {place} once more, as where files were put together; remove this line, or "
                        "leave it out with --on-bad-line skip"
                    )
                    yield Row(line, None, physical.row(), Problem(line, "", "repeated_header", message))
                else:
                    yield Row(
                        line,
                        dict(zip(self.columns, cells, strict=True)),
                        None,
                        lines=physical.number - line + 1,
                        quirks=() if self.quoted else _quirks(cells, chosen=self.chosen),
                    )
            if not held:
                raise InputRefused([whole_problem("empty", f"{self.path}: a header and no row")])

    def _wrong_count(self, line: int, cells: list[str]) -> Problem:
        expected, sign = len(self.columns), _delimiter_name(self.delimiter)
        message = f"{_fields(len(cells))}, the header has {expected}"
        if len(cells) > expected:
            hint = f"a text with {sign} in it stands in quotes"
            if not self.quoted:
                hint = f"no text may have {sign} in it where quotes are plain characters"
            return Problem(line, "", "too_many_fields", f"{message}; {hint}{self._if_quoted(cells)}")
        missing = ", ".join(self.columns[len(cells) :][:5])
        return Problem(
            line,
            missing,
            "too_few_fields",
            f"{message} (separated by {sign}): none for {missing}{self._if_quoted(cells)}",
        )

    def _if_quoted(self, cells: list[str]) -> str:
        """A cell in quotes may go on in the next line, where quotes are quoting."""
        if self.quoted or not any('"' in cell for cell in cells):
            return ""
        return "; quotes are plain characters here, --quote '\"' reads them as quoting"


def _quirks(cells: list[str], *, chosen: bool) -> tuple[str, ...]:
    quirks = []
    if not chosen and any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells):
        quirks.append("quoted")
    if "\\N" in cells:
        quirks.append("null")
    return tuple(quirks)


def _fields(count: int) -> str:
    return count_of(count, "field")


def _delimiter_name(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else repr(delimiter)


def _cells(lines: Iterable[str], delimiter: str, *, quoted: bool) -> Iterator[list[str]]:
    if quoted:
        return csv.reader(lines, delimiter=delimiter, strict=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def _records(
    path: Path, encoding: str, delimiter: str, *, quoted: bool
) -> Generator[tuple[int, list[str] | Problem, _Physical]]:
    """Each record with the line at which it begins, the header first; blank lines and Excel's ``sep=`` are passed over."""
    csv.field_size_limit(LINE_LIMIT)
    with open_bytes(path) as file:
        errors = (
            "surrogateescape" if encoding == "utf-8" else "strict"
        )  # a byte that is wrong spoils its row alone
        text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
        physical = _Physical(text)
        reader = _cells(physical, delimiter, quoted=quoted)
        line = 0
        try:
            while True:
                line = physical.begin_row()
                try:
                    cells = next(reader)
                except csv.Error as error:
                    yield line, Problem(line, "", "invalid_csv", _explain(error, physical.number)), physical
                    continue
                if cells and not (line == 1 and _SEP.fullmatch(delimiter.join(cells))):
                    yield line, cells, physical
        except StopIteration:
            return
        except _TooLong:
            message = f"longer than {LINE_LIMIT:,} characters; is a quote opened here and never closed?"
            raise InputRefused([Problem(line, "", "too_large", message)]) from None
        except UnicodeError as error:
            raise undecodable(path, encoding, error, physical.number + 1) from error
        finally:
            text.detach()


_SEP = re.compile(r"sep=(.?)", re.IGNORECASE)


def _explain(error: csv.Error, line: int) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        return "a quote is opened and never closed"
    if "expected after" in message:
        return f"text behind a closing quote (on line {line}); a quote within a text is written twice"
    return f"not CSV: {message}"


def open_csv(path: Path, encoding: str, delimiter: str | None, *, quoted: bool, chosen: bool) -> Rows:
    """A table as text. ``delimiter`` None: it is found out. ``chosen``: somebody said whether cells stand in quotes.

    Raises InputRefused for an invalid header.
    """
    delimiter = delimiter or _delimiter(path, encoding, quoted=quoted)
    with closing(_records(path, encoding, delimiter, quoted=quoted)) as records:
        first = next(records, None)
    if first is None:
        raise InputRefused(
            [whole_problem("no_header", f"{path}: only blank lines; the first line names the columns")]
        )
    line, cells, physical = first
    if isinstance(cells, Problem):
        raise InputRefused([Problem(line, "", cells.code, f"header: {cells.message}")])
    if physical.bad is not None:
        raise InputRefused([Problem(line, "", "invalid_encoding", f"header: {physical.bad}")])
    columns = tuple(cell.strip() for cell in cells)
    check_columns(columns, path)
    return _Csv(path, encoding, delimiter, columns, quoted, chosen)


def _delimiter(path: Path, encoding: str, *, quoted: bool) -> str:
    """The sign that splits the header, and the rows after it most evenly; a comma where none does."""
    with open_bytes(path) as file:
        head = file.read(SNIFFED)
    whole = len(head) < SNIFFED
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    except UnicodeError as error:  # UTF-16 without a byte order mark
        raise undecodable(path, encoding, error, 1) from error
    lines = text.splitlines(keepends=True)
    if lines and (separator := _SEP.fullmatch(lines[0].rstrip("\r\n"))) and separator[1]:
        return separator[1]
    best, score = ",", (0.0, 0)
    for sign in DELIMITERS:
        counts = _counts(text, sign, whole, quoted=quoted)
        if not counts or counts[0] < 2:
            continue
        even = sum(count == counts[0] for count in counts) / len(counts)
        if (even, counts[0]) > score:
            best, score = sign, (even, counts[0])
    return best


def _counts(text: str, delimiter: str, whole: bool, *, quoted: bool) -> list[int]:
    """How many fields the first records have; -1 for one that is no CSV. The last of a cut text is left out."""
    csv.field_size_limit(LINE_LIMIT)
    counts: list[int] = []
    reader = _cells(io.StringIO(text, newline=""), delimiter, quoted=quoted)
    cut = False
    while len(counts) <= _SAMPLE_ROWS:
        try:
            cells = next(reader)
        except StopIteration:
            cut = not whole
            break
        except csv.Error:
            counts.append(-1)
            continue
        if cells:
            counts.append(len(cells))
    return counts[:-1] if cut and len(counts) > 1 else counts
