"""Files of lines: JSONL, and plain text with a prompt a line."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr

from worker.documents.encodings import find_encoding, first_bad
from worker.documents.packed import open_bytes
from worker.documents.row import LINE_LIMIT, Row, Rows
from worker.errors import InputRefused, Problem
from worker.records import record

_SKIPPED = 1024 * 1024


def bounded(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Lines with their ends; one over the limit is cut one unit behind it, and its rest passed over."""
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            end = line[-1:]
            while end and end not in ("\n", b"\n", "\r"):
                end = file.readline(_SKIPPED)[-1:]
        yield line


def open_lines(path: Path, encoding: str | None) -> Rows:
    """JSON lines in this encoding. None: the encoding is detected."""
    if encoding is not None:
        return _Lines(path, encoding)
    try:
        return _Lines(path, find_encoding(path))
    except InputRefused as error:
        if error.problems[0].code != "invalid_encoding" or error.problems[0].line == 0:
            raise  # among them what may be one of two encodings
        return _Lines(path, "utf-8")  # most lines are right: each that is not is named by itself


@record
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
        for number, line in enumerate(bounded(file), start=1):
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
            for number, line in enumerate(bounded(text), start=1):
                line = line.removeprefix("\ufeff") if number == 1 else line
                yield Row(number, None, line.rstrip("\r\n").encode(errors="replace"))
        except UnicodeError as error:
            raise undecodable(self.path, self.encoding, error, number + 1) from error
        finally:
            text.detach()


def undecodable(path: Path, encoding: str, error: UnicodeError, near: int) -> InputRefused:
    """A decoder works ahead of the lines, so the line at fault is counted again."""
    if isinstance(error, UnicodeDecodeError) and (bad := first_bad(path, encoding)) is not None:
        return InputRefused([bad.problem(path, f"not {encoding}")])
    message = f"{path}: not {encoding}: {error}; say --encoding"
    return InputRefused([Problem(near, "", "invalid_encoding", message)])


def open_text(path: Path, encoding: str) -> Rows:
    """Plain text, of which each line is a prompt. Raises InputRefused where every line is blank."""
    rows = _Text(path, _Lines(path, encoding))
    if not any(True for _ in rows):
        raise InputRefused([Problem(0, "", "empty", f"{path}: every line is blank; a line is a prompt")])
    return rows


@record
class _Text:
    """Plain text: a table with the one column ``prompt``. Blank lines are passed over."""

    path: Path
    lines: _Lines

    @property
    def kind(self) -> str:
        return "text"

    @property
    def encoding(self) -> str:
        return self.lines.encoding

    @property
    def columns(self) -> tuple[str, ...]:
        return ("prompt",)

    def __iter__(self) -> Iterator[Row]:
        for row in self.lines:
            raw = row.raw or b""
            if row.problem is not None:
                yield row
            elif len(raw) > LINE_LIMIT:
                message = f"longer than {LINE_LIMIT:,} bytes; each line is a prompt"
                yield Row(row.line, None, None, Problem(row.line, "", "too_large", message))
            elif text := raw.decode(errors="replace").strip():
                yield Row(row.line, {"prompt": text}, None)
