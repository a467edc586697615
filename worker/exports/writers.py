"""How do rows become a file? What it is by its ending, whole or not at all; and the file of what was left out.

A spreadsheet takes a cell that begins with ``=`` for a formula, and answers are texts of a stranger: such cells are
told from formulas by an apostrophe before them (OWASP, CSV injection). Every text is quoted; but a spreadsheet of a
country that ends cells at ``;`` ends one there within the quotes of a second column too, and a line likewise. So what
stands behind such a separator within a text gets an apostrophe too, where it could compute or call something.
"""

import csv
import gzip
import io
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, assert_never

from worker.errors import InputRefused, Problem
from worker.extras import require
from worker.records import record
from worker.replies.vectors import unpack_vector, vector_values

if TYPE_CHECKING:
    pass  # which reads templates; a command that writes need not

Form = Literal["jsonl", "csv", "tsv", "xlsx", "parquet"]
Kind = Literal["text", "integer", "number", "truth", "time", "vector"]

ENDINGS: Mapping[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".pq": "parquet",
}

GROUP_ROWS = 20_000
GROUP_CHARACTERS = 12 * 2**20
"""A row group of Parquet ends at whichever comes first; Chinese text takes 3 bytes a character."""

_FORMULA = frozenset("=+-@＝＋－＠")
_CONTROL = frozenset("\t\r\n\0")
_BEFORE = "".join(chr(n) for n in range(33)) + "\x7f\u00a0\ufeff\u200b\u2060\u3000"
"""What a spreadsheet may pass over before a formula: control signs, spaces of all widths, marks that are not seen."""
_NUMBER = re.compile(r"[+-]?(\d[\d.,'’ \u00a0\u202f()]*|[.,]\d+)([eE][+-]?\d+)?\s?%?")
"""A number as people write it: -5.30, -5,30, -1 234, +49 (30) 901820. One of two signs is computed: +1-202-555-0143."""
_WITHIN = (
    r"([{separators}][\s\"'\0\ufeff\u200b\u2060]{{0,32}}+)(?=[=＝]|[-+@－＋＠][^;\t\r\n]{{0,1000}}?[(!|])"
)
"""Behind a separator: ``=``, or a sign with what a call, another sheet or another program needs. A list of lines that
begin with ``-`` stays as it is."""
_PLAIN_NAME = re.compile(r"[\w .]*")


@record
class OutputKind:
    """What a file holds, as its name says."""

    form: Form
    compressed: bool = False
    """With gzip. Parquet compresses by itself."""


@record
class Column:
    """A column of a table; ``kind`` is its type in Parquet."""

    name: str
    kind: Kind
    size: int | None = None
    """Of vectors: the numbers that each has, where all have as many."""
    own: bool = False
    """It came with the input."""


Say = Callable[[str], object]
"""Is told, in whole sentences, what a reader of a file should know."""


@record
class CsvForm:
    """How a table is written as text."""

    bom: bool = False
    """Excel takes a file without a byte order mark for one in the system's own encoding."""
    safe: bool = True
    """See the module."""
    delimiter: str | None = None
    """None: a comma, or the tab of a TSV."""

    def of(self, form: Form) -> "CsvForm":
        """For a file of this kind."""
        return replace(self, delimiter=self.delimiter or ("\t" if form == "tsv" else ","))


AS_USUAL = CsvForm()


# -- where it goes ----------------------------------------------------------------------------------------------------


def output_kind(path: Path) -> OutputKind:
    """What ``path`` will hold. JSON lines where it has no ending, or is ``-``. Raises InputRefused for an unknown one,
    ExtraMissing where the package is not installed that writes it.

    >>> output_kind(Path("answers.csv.gz"))
    OutputKind(form='csv', compressed=True)
    """
    endings = [ending.lower() for ending in path.suffixes]
    compressed = endings[-1:] == [".gz"]
    if compressed:
        endings.pop()
    if not endings:
        return OutputKind("jsonl", compressed)
    form = ENDINGS.get(endings[-1])
    if form is None and is_stream(path):
        return OutputKind("jsonl", compressed)
    if form is None or (form in _PACKED and compressed):
        raise InputRefused([_refused(path, _why_not(endings[-1], form))])
    if form == "parquet":
        require("parquet", f"{path}: writing Parquet")
    if form == "xlsx":
        require("spreadsheets", f"{path}: writing a spreadsheet", "xlsxwriter")
    return OutputKind(form, compressed)


_PACKED: Mapping[Form, str] = {"parquet": "Parquet", "xlsx": "A spreadsheet"}


def _why_not(ending: str, form: Form | None) -> str:
    if form is not None:
        return f"{_PACKED[form]} is compressed by itself; leave .gz out"
    near = get_close_matches(ending, ENDINGS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if ending in {".xlsm", ".xls", ".ods"}:
        hint = "; every spreadsheet opens .xlsx"
    known = ", ".join(ENDINGS)
    return f"{ending} does not say what to write; known are {known} (.gz behind those of text){hint}"


def _refused(path: Path, message: str, code: str = "unknown_output") -> Problem:
    return Problem(0, "output", code, f"{path}: {message}")


def check_output(path: Path) -> OutputKind:
    """What ``path`` will hold, after a look whether it can be written at all: a night's work ends there.

    Raises InputRefused: an unknown ending, no such folder, a folder itself, no permission, a name too long.
    """
    kind = output_kind(path)
    if str(path) == "-" or is_stream(path):
        return kind
    try:
        target = _target(path)
        if target.is_dir():
            raise InputRefused([_refused(path, "is a folder; name a file in it", "unwritable_output")])
        if not target.parent.is_dir():
            message = f"no folder {target.parent}; make it first"
            raise InputRefused([_refused(path, message, "unwritable_output")])
        partial = _partial(target)
        # only by trying: permissions, a disk that is read-only and the longest name differ by system
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        partial.unlink()
    except FileExistsError:
        pass  # of a writer that was killed, or is at work
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise InputRefused([_refused(path, message, "unwritable_output")]) from error
    return kind


def is_stream(path: Path) -> bool:
    """A pipe, a terminal, a device: written to as it is. So is ``/dev/stdout``, also where the shell put a file there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0
    ordinary = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not mode
    return not ordinary or path.parent.as_posix() in ("/dev", "/dev/fd", "/proc/self/fd")


def _target(path: Path) -> Path:
    """The file itself: of a link, what it points to is replaced, not the link."""
    return path.resolve() if path.is_symlink() else path


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` (and its permissions) only when all is written.

    After an exception there is what was there before. A stream is written to as it is. Raises OSError.
    """
    if is_stream(path):
        with path.open("wb") as out:
            yield out
        return
    try:
        with _replacing(path) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    target = _target(path)
    partial = _partial(target)
    try:
        with _opened(partial) as out:
            if target.exists():
                shutil.copymode(target, partial)  # answers that were private stay so
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _opened(partial: Path) -> BinaryIO:
    """``partial`` for writing. What a killed writer left is overwritten; a link that somebody else put there, in a
    folder that both may write to, is not followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(partial, flags, 0o666), "wb")


@contextmanager
def text_of(out: BinaryIO, *, compressed: bool = False) -> Iterator[TextIO]:
    """``out`` as UTF-8 text, line ends as they are written. ``out`` stays open."""
    # no name and no time in the head: the same answers are the same bytes
    with gzip.GzipFile("", "wb", 6, out, mtime=0) if compressed else nullcontext(out) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="")
        try:
            yield text
            text.flush()
        finally:
            text.detach()


# -- CSV --------------------------------------------------------------------------------------------------------------


def write_csv(
    out: TextIO,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    *,
    form: CsvForm = AS_USUAL,
    say: Say | None = None,
) -> int:
    """A header and the rows; returns how many rows. ``out`` must leave line ends as they are."""
    delimiter, names = form.delimiter or ",", [column.name for column in columns]
    # "\r\n" and not "\n": before Python 3.13 the writer quotes a lone carriage return only where the line end has one
    plain = all(_PLAIN_NAME.fullmatch(name) for name in names)
    head = csv.writer(
        out, delimiter=delimiter, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL if plain else csv.QUOTE_ALL
    )
    quoting: Literal[2, 0] = csv.QUOTE_NONNUMERIC if form.safe else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n", quoting=quoting)
    if form.bom:
        out.write("\ufeff")
    shown: Callable[[Any], Any] = partial(_safe_cell, _behind(delimiter)) if form.safe else plain_text
    head.writerow([shown(name) for name in names])
    own = [at for at, column in enumerate(columns) if column.own] if form.safe else []
    count = changed = 0
    for row in rows:
        cells = [shown(value) for value in row]
        changed += sum(cells[at] != row[at] and isinstance(row[at], str) for at in own)
        writer.writerow(cells)
        count += 1
    if changed and say is not None:
        noun, have = ("cell", "has") if changed == 1 else ("cells", "have")
        say(
            f"{changed:,} {noun} of the input's columns {have} ' before what a spreadsheet would calculate; "
            "--raw leaves them as they came."
        )
    return count


class _Plain(float):
    """A number that the writer of CSV writes without an exponent."""

    def __str__(self) -> str:
        return plain_number(self)


def plain_number(number: float) -> str:
    """A number without an exponent.

    >>> plain_number(3.4123e-05), plain_number(1e22), plain_number(0.5)
    ('0.000034123', '10000000000000000000000', '0.5')
    """
    text = float.__repr__(number)
    return format(Decimal(text), "f") if "e" in text else text


def plain_text(value: Any) -> str | None:
    """A value as one text: ``true``, ``0.5``, a time in ISO 8601, nested ones as JSON. None stays None.

    >>> plain_text({"天": [1, None]})
    '{"天": [1, null]}'
    """
    match value:
        case None | str():
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return json.dumps(vector_values(value))
        case float() if math.isfinite(value):
            return plain_number(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _behind(delimiter: str) -> re.Pattern[str]:
    """Formulas behind what ends a cell or a line elsewhere than in a file of this delimiter."""
    return re.compile(_WITHIN.format(separators=";\t\r\n" if delimiter == "," else ",;\t\r\n"))


def _safe_cell(within: re.Pattern[str], value: Any) -> str | float | None:
    """As ``plain_text``, and no formula.

    >>> within = _behind(",")
    >>> [_safe_cell(within, value) for value in ("=1+1", "-5,30", -5, " =1+1", "- a\\n- list", "a;=b", None)]
    ["'=1+1", '-5,30', -5, "' =1+1", "'- a\\n- list", "a;'=b", None]
    """
    if isinstance(value, str):
        begins = value[:1] in _CONTROL or value.lstrip(_BEFORE)[:1] in _FORMULA
        risky = begins and not _NUMBER.fullmatch(value.strip(" "))
        text = within.sub(r"\1'", value)
        return f"'{text}" if risky else text
    if isinstance(value, int | float) and not isinstance(value, bool):  # written without quotes
        if not isinstance(value, float):
            return value
        return _Plain(value) if math.isfinite(value) else plain_text(value)
    return plain_text(value)


# -- Parquet ----------------------------------------------------------------------------------------------------------


def write_parquet(out: BinaryIO, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    """The rows in row groups, zstd; returns how many. A value that is not of its column's kind is null there."""
    import pyarrow.parquet as pq  # 0.2 s to import
    from pyarrow import Table

    schema = _schema(columns)
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in _groups(rows):
            arrays = [
                [column_value(column.kind, value) for value in values]
                for column, values in zip(columns, zip(*group, strict=True), strict=True)
            ]
            count += len(group)
            group.clear()  # two copies of the texts are enough
            writer.write_table(Table.from_arrays([*_arrays(arrays, schema)], schema=schema))
    return count


def _schema(columns: Sequence[Column]) -> Any:
    import pyarrow as pa

    def arrow(kind: Kind, size: int | None) -> Any:
        match kind:
            case "text":
                return pa.string()
            case "integer":
                return pa.int64()
            case "number":
                return pa.float64()
            case "truth":
                return pa.bool_()
            case "time":
                return pa.timestamp("us", tz="UTC")
            case "vector":
                return pa.list_(pa.float32(), -1 if size is None else size)
            case _:
                assert_never(kind)

    return pa.schema([(column.name, arrow(column.kind, column.size)) for column in columns])


def _arrays(columns: list[list[Any]], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for at, field in enumerate(schema):
        yield pa.array([_listed(value) for value in columns[at]], type=field.type)
        columns[at] = []


def _listed(value: Any) -> Any:
    """A vector as the list that pyarrow takes; all else as it is."""
    return unpack_vector(value) if isinstance(value, bytes) else value


def _groups(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    group: list[Sequence[Any]] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += sum(_weight(value) for value in row if isinstance(value, str | bytes))
        if len(group) >= GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _weight(value: str | bytes) -> int:
    """Characters, or for a vector what its list of numbers takes."""
    return len(value) if isinstance(value, str) else 8 * len(value)


def _integer(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        else None
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_CAST: Mapping[Kind, Callable[[Any], Any]] = {
    "text": plain_text,
    "integer": _integer,
    "number": _number,
    "truth": lambda value: value if isinstance(value, bool) else None,
    "time": lambda value: value if isinstance(value, datetime) else None,
    "vector": lambda value: value if isinstance(value, bytes) else None,
}


def column_value(kind: Kind, value: Any) -> Any:
    """A value as a column of this kind takes it; None where it is of another."""
    return _CAST[kind](value)
