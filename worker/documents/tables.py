"""Which rows does a file hold? JSONL, CSV and Parquet, one row at a time in constant memory, each with its line.

What is wrong with one row comes with that row, so that the good ones beside it are not lost; what is wrong with
the whole file (no header, bytes of no known encoding) is raised.
"""

import codecs
import csv
import io
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, AnyStr, Literal, Protocol

from worker.documents.encodings import find_encoding, first_bad, named_encoding, open_bytes
from worker.errors import InputRefused, Problem
from worker.extras import require

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in one line of JSONL, characters in one row of CSV; a longer one is refused without being read whole."""

MOST_COLUMNS = 10_000

ENDINGS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
KINDS = ("jsonl", "csv", "parquet")
DELIMITERS = (",", ";", "\t", "|")
Quote = Literal["none", '"']
QUIRKS: Mapping[str, str] = {
    "fields": "lines say themselves how they are asked (prompt, options, …), which is metadata beside a template",
    "quoted": "cells in quotes, which are plain characters here; --quote '\"' reads them as quoting",
    "null": r"cells \N, as PostgreSQL's COPY writes null, which are taken as text; COPY … (FORMAT csv) writes none",
}

_SNIFFED = 64 * 1024
_SKIPPED = 1024 * 1024
_SAMPLE_ROWS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row: of a table its ``values``, of JSONL its bytes in UTF-8 (``raw``; empty where the line is blank).

    ``line`` is where the row begins in the file, from 1 (of Parquet the row's number). A row with a ``problem`` has no
    values; its ``raw`` is the text as it stands, for a file of rejects. ``lines``: how many of the file it spans.
    ``quirks``: what is odd about its cells, as keys of ``QUIRKS``.
    """

    line: int
    values: dict[str, Any] | None
    raw: bytes | None
    problem: Problem | None = None
    lines: int = 1
    quirks: tuple[str, ...] = ()


class Rows(Protocol):
    """A file's rows; each iteration reads it anew. Iterating raises InputRefused for what ends the reading."""

    @property
    def kind(self) -> str:
        """``jsonl``, ``csv``, ``parquet`` or ``rows``, of a query."""

    @property
    def encoding(self) -> str:
        """As found or as told; ``utf-8`` for Parquet."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Known before any row is read, except of JSONL."""

    def __iter__(self) -> Iterator[Row]: ...


def open_rows(
    path: Path, *, encoding: str | None = None, kind: str | None = None, quote: Quote | None = None
) -> Rows:
    """The rows of ``path``, whose ending says what it is unless ``kind`` does. gzip is unpacked, except of Parquet.

    ``quote``: whether cells of a table stand in quotes, ``none`` or ``"``. None: in CSV they may, in TSV a quote is a
    character like any other, as its registration says (IANA, text/tab-separated-values).

    Raises InputRefused: unreadable, empty, of unknown kind or encoding, not Parquet, or a header that is none.
    """
    if kind is None and path.suffix == ".rows":
        from worker.documents.kept_rows import open_kept_rows  # which needs Row

        return open_kept_rows(path)
    told = named_encoding(encoding) if encoding else None
    kind = _kind(path, told) if kind is None else kind
    if kind == "parquet":
        require("parquet", f"{path}: reading Parquet")
        from worker.documents.parquet import open_parquet  # pyarrow takes 0.2 s to import

        return open_parquet(path)
    if kind not in KINDS:
        raise InputRefused(
            [_whole("unknown_format", f"no kind of input {kind!r}: one of {', '.join(KINDS)}")]
        )
    with open_bytes(path) as file:
        if not file.read(1):
            raise InputRefused([_whole("empty", f"{path}: the file is empty")])
    if kind == "jsonl":
        return _open_lines(path, told)
    found = told or find_encoding(path)
    tsv = ".tsv" in _endings(path)
    quoted = not tsv if quote is None else quote == '"'
    return _open_csv(path, found, "\t" if tsv else None, quoted=quoted, chosen=quote is not None)


def check_columns(columns: tuple[str, ...], path: Path) -> None:
    """Refuse names by which no value could be told from another. Raises InputRefused with every one."""
    problems = []
    if not columns:
        problems.append(_whole("no_header", f"{path}: no column; the first line names the columns"))
    if len(columns) > MOST_COLUMNS:
        told = f"{path}: {len(columns):,} columns, at most {MOST_COLUMNS:,} are allowed"
        raise InputRefused([_whole("too_large", told)])
    first: dict[str, int] = {}
    for at, name in enumerate(columns, start=1):
        if not name:
            message = f"{path}: column {at} has no name; name it in the header"
            message += " (from pandas: to_csv(..., index=False))" if at == 1 else ""
            problems.append(Problem(0, "", "empty_column", message))
        elif first.setdefault(name, at) != at:
            message = f"{path}: column {name!r} is there twice ({first[name]} and {at})"
            problems.append(Problem(0, name, "duplicate_column", message))
    if problems:
        raise InputRefused(problems[:20], left_out=max(0, len(problems) - 20))


def _whole(code: str, message: str) -> Problem:
    return Problem(0, "", code, message)


def _endings(path: Path) -> list[str]:
    return [suffix.lower() for suffix in path.suffixes]


def _kind(path: Path, encoding: str | None) -> str:
    endings = [ending for ending in _endings(path) if ending != ".gz"][-1:]
    if endings and endings[0] in ENDINGS:
        return ENDINGS[endings[0]]
    with open_bytes(path) as file:
        head = file.read(_SNIFFED)
    if not head:
        raise InputRefused([_whole("empty", f"{path}: the file is empty")])
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode(encoding or ("utf-16" if utf16 else "utf-8"), "replace").lstrip("\ufeff").lstrip()
    if text.startswith("{"):
        return "jsonl"
    ending = endings[0] if endings else "no ending"
    near = get_close_matches(ending, ENDINGS, n=1)
    if ending in {".xlsx", ".xls", ".ods"}:
        hint = "; save the sheet as CSV (UTF-8)"
    else:
        hint = f"; did you mean {near[0]}?" if near else ""
    message = f"{path}: {ending} does not say what the file holds; known are {', '.join(ENDINGS)}{hint}"
    raise InputRefused([_whole("unknown_format", message)])


# -- lines ------------------------------------------------------------------------------------------------------------


def _bounded(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Lines with their ends; one over the limit is cut one unit behind it, and its rest passed over."""
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            end = line[-1:]
            while end and end not in ("\n", b"\n", "\r"):
                end = file.readline(_SKIPPED)[-1:]
        yield line


def _open_lines(path: Path, told: str | None) -> "Rows":
    if told is not None:
        return _Lines(path, told)
    try:
        return _Lines(path, find_encoding(path))
    except InputRefused as error:
        if error.problems[0].code != "invalid_encoding" or error.problems[0].line == 0:
            raise  # among them what may be one of two encodings
        return _Lines(path, "utf-8")  # most lines are right: each that is not is named by itself


@dataclass(frozen=True, slots=True)
class _Lines:
    """JSONL: what a line holds is read elsewhere; here it only becomes UTF-8."""

    path: Path
    encoding: str

    @property
    def kind(self) -> str:
        return "jsonl"

    @property
    def columns(self) -> None:
        return None

    def __iter__(self) -> Iterator[Row]:
        with open_bytes(self.path) as file:
            yield from self._utf8(file) if self.encoding == "utf-8" else self._decoded(file)

    def _utf8(self, file: IO[bytes]) -> Iterator[Row]:
        for number, line in enumerate(_bounded(file), start=1):
            raw = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            raw = raw.rstrip(b"\r\n")
            try:
                if not raw.isascii() and len(raw) <= LINE_LIMIT:
                    raw.decode()
            except UnicodeDecodeError as error:
                message = (
                    f"not UTF-8: byte 0x{raw[error.start]:02x} at {error.start + 1} of the line; "
                    "say --encoding, or save the file as UTF-8"
                )
                yield Row(number, None, raw, Problem(number, "", "invalid_encoding", message))
            else:
                yield Row(number, None, raw)

    def _decoded(self, file: IO[bytes]) -> Iterator[Row]:
        text = io.TextIOWrapper(file, encoding=self.encoding, newline="\n")
        number = 0
        try:
            for number, line in enumerate(_bounded(text), start=1):
                line = line.removeprefix("\ufeff") if number == 1 else line
                yield Row(number, None, line.rstrip("\r\n").encode(errors="replace"))
        except UnicodeError as error:
            raise _undecodable(self.path, self.encoding, error, number + 1) from error
        finally:
            text.detach()


def _undecodable(path: Path, encoding: str, error: UnicodeError, near: int) -> InputRefused:
    """A decoder works ahead of the lines, so the one at fault is counted anew."""
    if isinstance(error, UnicodeDecodeError) and (bad := first_bad(path, encoding)) is not None:
        return InputRefused([bad.problem(path, f"not {encoding}")])
    message = f"{path}: not {encoding}: {error}; say --encoding"
    return InputRefused([Problem(near, "", "invalid_encoding", message)])


# -- CSV --------------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """A row passed the limit: most likely a quote was opened and never closed."""


class _Physical:
    """The lines of a CSV, counted; remembers those of the row being read."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._lines = _bounded(text)
        self.number = 0
        self._row: list[str] = []
        self._size = 0

    def __iter__(self) -> "_Physical":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if not self._row:  # the mark of a file that was put behind another one
            line = line.removeprefix("\ufeff")
        self._size += len(line)
        if self._size > LINE_LIMIT:
            raise _TooLong
        self._row.append(line)
        return line

    def begin_row(self) -> int:
        """Forget the row before; the line at which the next one begins."""
        self._row, self._size = [], 0
        return self.number + 1

    def row(self) -> bytes:
        return "".join(self._row).rstrip("\r\n").encode(errors="replace")


@dataclass(frozen=True, slots=True)
class _Csv:
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
                raise InputRefused([_whole("empty", f"{self.path}: a header and no row")])

    def _wrong_count(self, line: int, cells: list[str]) -> Problem:
        expected, sign = len(self.columns), _shown(self.delimiter)
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
    found = []
    if not chosen and any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells):
        found.append("quoted")
    if "\\N" in cells:
        found.append("null")
    return tuple(found)


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"


def _shown(delimiter: str) -> str:
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
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
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
            raise _undecodable(path, encoding, error, physical.number + 1) from error
        finally:
            text.detach()


_SEP = re.compile(r"sep=(.?)", re.IGNORECASE)


def _explain(error: csv.Error, line: int) -> str:
    said = str(error)
    if "unexpected end of data" in said:
        return "a quote is opened and never closed"
    if "expected after" in said:
        return f"text behind a closing quote (on line {line}); a quote within a text is written twice"
    return f"not CSV: {said}"


def _open_csv(path: Path, encoding: str, delimiter: str | None, *, quoted: bool, chosen: bool) -> _Csv:
    delimiter = delimiter or _delimiter(path, encoding, quoted=quoted)
    with closing(_records(path, encoding, delimiter, quoted=quoted)) as records:
        first = next(records, None)
    if first is None:
        raise InputRefused(
            [_whole("no_header", f"{path}: only blank lines; the first line names the columns")]
        )
    line, cells, _ = first
    if isinstance(cells, Problem):
        raise InputRefused([Problem(line, "", cells.code, f"header: {cells.message}")])
    columns = tuple(cell.strip() for cell in cells)
    check_columns(columns, path)
    return _Csv(path, encoding, delimiter, columns, quoted, chosen)


def _delimiter(path: Path, encoding: str, *, quoted: bool) -> str:
    """The sign that splits the header, and the rows after it most evenly; a comma where none does."""
    with open_bytes(path) as file:
        head = file.read(_SNIFFED)
    whole = len(head) < _SNIFFED
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    except UnicodeError as error:  # UTF-16 without a byte order mark
        raise _undecodable(path, encoding, error, 1) from error
    lines = text.splitlines(keepends=True)
    if lines and (told := _SEP.fullmatch(lines[0].rstrip("\r\n"))) and told[1]:
        return told[1]
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
