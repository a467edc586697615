"""What every reader of tables hands out: rows with their lines, and the names of the columns."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from worker.errors import InputRefused, Problem

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in one line of JSONL, characters in one row of CSV; a longer one is refused without being read whole."""

MOST_COLUMNS = 10_000

Quote = Literal["none", '"']
QUIRKS: Mapping[str, str] = {
    "fields": "rows say themselves how they are asked (prompt, options, messages, tools …), which is metadata beside a template",
    "after": "after is metadata beside a template, so these rows follow no job; with a column prompt in place of the template "
    "they do",
    "quoted": "cells in quotes, which are plain characters here; --quote '\"' reads them as quoting",
    "error": "cells with errors (such as #N/A), which are taken as these texts; correct them in the spreadsheet",
    "formula": "formulas without a stored result, which are taken as empty cells; open the workbook in a spreadsheet program, "
    "and save it",
    "null": r"cells \N, as PostgreSQL's COPY writes null, which are taken as text; COPY … (FORMAT csv) writes none",
}
"""What may be odd about a row that is taken all the same."""


class Row(NamedTuple):
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
    """A file's rows; each iteration reads it again. Iterating raises InputRefused for what ends the reading."""

    @property
    def kind(self) -> str:
        """A key of ``tables.KINDS``."""

    @property
    def encoding(self) -> str:
        """As found or as told; ``utf-8`` where the kind of file says it."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Known before any row is read; None of JSONL."""

    def __iter__(self) -> Iterator[Row]: ...


def check_columns(columns: tuple[str, ...], path: Path) -> None:
    """Refuse names by which no value could be told from another. Raises InputRefused with every one."""
    problems = []
    if not columns:
        problems.append(whole_problem("no_header", f"{path}: no column; the first line names the columns"))
    if len(columns) > MOST_COLUMNS:
        too_many = f"{path}: {len(columns):,} columns, at most {MOST_COLUMNS:,} are allowed"
        raise InputRefused([whole_problem("too_large", too_many)])
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
        raise InputRefused(problems[:20], more_problems=max(0, len(problems) - 20))


def whole_problem(code: str, message: str) -> Problem:
    """What is wrong with a file and with no line of it."""
    return Problem(0, "", code, message)
