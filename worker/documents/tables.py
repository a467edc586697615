"""Which rows does a file hold? JSONL, CSV, Parquet, spreadsheets and plain text, one row at a time, each with its line.

What is wrong with one row comes with that row, so that the good ones beside it are not lost; what is wrong with
the whole file (no header, bytes of no known encoding) is raised.
"""

import codecs
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from worker.documents.delimited import SNIFFED, open_csv
from worker.documents.encodings import BadBytes, find_encoding, named_encoding
from worker.documents.lines import open_lines, open_text
from worker.documents.packed import open_bytes
from worker.documents.row import Quote, Rows, whole_problem
from worker.errors import InputRefused
from worker.extras import require
from worker.records import record

ENDINGS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "spreadsheet",
    ".xlsm": "spreadsheet",
    ".xls": "spreadsheet",
    ".ods": "spreadsheet",
    ".txt": "text",
}
PACKED = frozenset({".zst", ".zip", ".bz2", ".xz", ".lz4", ".br", ".7z", ".rar", ".tar", ".tgz", ".z"})
"""Endings of files that hold others, packed in ways that are not read."""
KINDS: Mapping[str, str] = {
    "jsonl": "JSON lines",
    "csv": "CSV",
    "parquet": "Parquet",
    "spreadsheet": "a spreadsheet",
    "text": "plain text",
    "rows": "rows of a query",
}
"""Each kind of file, in words."""


@record
class ReadingRules:
    """What somebody said about how a file is to be read; None: it is found out."""

    encoding: str | None = None
    quote: Quote | None = None
    """Whether cells stand in quotes. None: in CSV they may, in TSV a quote is a character like any other, as its
    registration says (IANA, text/tab-separated-values)."""
    delimiter: str | None = None
    """One character."""
    sheet: str | None = None
    """Name of a sheet, or its place from 1."""

    def idle_options(self, kind: str, path: Path) -> list[tuple[str, str]]:
        """The options that mean nothing for a file of this kind, with the reason."""
        what = f"{path} is {KINDS[kind]}"
        idle = []
        if self.quote is not None and kind != "csv":
            idle.append(("--quote", f"{what}, which has no cells in quotes"))
        if self.delimiter is not None and kind != "csv":
            idle.append(("--delimiter", f"{what}, whose cells are not separated by a character"))
        if self.sheet is not None and kind != "spreadsheet":
            idle.append(("--sheet", f"{what}, which has no sheets"))
        if self.encoding is not None and kind in {"parquet", "spreadsheet"}:
            idle.append(("--encoding", f"{what}, whose texts are UTF-8"))
        return idle


DEFAULT_RULES = ReadingRules()
"""Everything is found out."""


def open_rows(path: Path, rules: ReadingRules = DEFAULT_RULES) -> Rows:
    """The rows of ``path``, whose ending says what it is. gzip is unpacked, except of Parquet and of spreadsheets.

    Raises InputRefused: unreadable, empty, of unknown kind or encoding, not what its ending says, or a header that is
    none. ExtraMissing where a package is missing that reads it.
    """
    rules = rules if rules.encoding is None else replace(rules, encoding=named_encoding(rules.encoding))
    return _OPENERS[_kind(path, rules.encoding)](path, rules)


def _open_query(path: Path, _: ReadingRules) -> Rows:
    from worker.documents.query_rows import open_query_rows  # only where a query was kept

    return open_query_rows(path)


def _open_parquet(path: Path, _: ReadingRules) -> Rows:
    require("parquet", f"{path}: reading Parquet")
    from worker.documents.parquet import open_parquet  # pyarrow takes 0.2 s to import

    return open_parquet(path)


def _open_spreadsheet(path: Path, rules: ReadingRules) -> Rows:
    require("spreadsheets", f"{path}: reading a spreadsheet", "python_calamine")
    from worker.documents.spreadsheet import open_spreadsheet  # only where there is one

    return open_spreadsheet(path, rules.sheet)


def _open_job_lines(path: Path, rules: ReadingRules) -> Rows:
    _begin(path, 1)
    return open_lines(path, rules.encoding)


def _open_text(path: Path, rules: ReadingRules) -> Rows:
    return open_text(path, rules.encoding or find_encoding(path))


def _open_csv(path: Path, rules: ReadingRules) -> Rows:
    _begin(path, 1)
    tsv = ".tsv" in _endings(path)
    quoted = not tsv if rules.quote is None else rules.quote == '"'
    delimiter = rules.delimiter or ("\t" if tsv else None)
    try:
        encoding = rules.encoding or find_encoding(path)
    except BadBytes:
        encoding = "utf-8"  # each row with such a byte is named by itself
    return open_csv(path, encoding, delimiter, quoted=quoted, chosen=rules.quote is not None)


_OPENERS: Mapping[str, Callable[[Path, ReadingRules], Rows]] = {
    "jsonl": _open_job_lines,
    "csv": _open_csv,
    "parquet": _open_parquet,
    "spreadsheet": _open_spreadsheet,
    "text": _open_text,
    "rows": _open_query,
}
"""By kind of file."""


def _begin(path: Path, size: int) -> bytes:
    """The first bytes. Raises InputRefused for a file that has none."""
    with open_bytes(path) as file:
        head = file.read(size)
    if not head:
        raise InputRefused([whole_problem("empty", f"{path}: the file is empty")])
    return head


def _endings(path: Path) -> list[str]:
    return [suffix.lower() for suffix in path.suffixes]


def _kind(path: Path, encoding: str | None) -> str:
    if path.suffix == ".rows":
        return "rows"
    endings = [ending for ending in _endings(path) if ending != ".gz"][-1:]
    ending = endings[0] if endings else "no ending"
    known = ENDINGS.get(ending)
    if known is not None and known != "text":
        return known
    head = _begin(path, SNIFFED)
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode(encoding or ("utf-16" if utf16 else "utf-8"), "replace").lstrip("\ufeff").lstrip()
    if known == "text":
        return "jsonl" if _is_job_line(text) else "text"
    if text.startswith("{"):
        return "jsonl"
    if ending in PACKED:
        message = f"{path}: {ending} is packed; unpack it, or pack it with gzip (.csv.gz, .jsonl.gz)"
        raise InputRefused([whole_problem("unknown_format", message)])
    near = get_close_matches(ending, ENDINGS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    message = f"{path}: {ending} does not say what the file holds; known are {', '.join(ENDINGS)}{hint}"
    raise InputRefused([whole_problem("unknown_format", message)])


def _is_job_line(text: str) -> bool:
    """Whether the first line is an object of JSON: JSON lines under the name of a text."""
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text.partition("\n")[0]), dict)
    except ValueError:
        return False
