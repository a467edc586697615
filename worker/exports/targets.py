"""Where results go: what a file is by its ending, and how it is written whole or not at all."""

import gzip
import io
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from worker.errors import InputRefused, Problem
from worker.extras import require
from worker.records import record

Form = Literal["jsonl", "csv", "tsv", "xlsx", "parquet"]
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


@record
class OutputKind:
    """What a file holds, as its name says."""

    form: Form
    compressed: bool = False
    """With gzip. Parquet compresses by itself."""


@record
class CsvForm:
    """How a table is written as text."""

    bom: bool = False
    """Excel takes a file without a byte order mark for one in the system's own encoding."""
    safe: bool = True
    """Cells that a spreadsheet would calculate get an apostrophe; see ``writers``."""
    delimiter: str | None = None
    """None: a comma, or the tab of a TSV."""

    def of(self, form: Form) -> "CsvForm":
        """For a file of this kind."""
        return replace(self, delimiter=self.delimiter or ("\t" if form == "tsv" else ","))


AS_USUAL = CsvForm()


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
