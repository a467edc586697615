"""In which encoding is this file written, and where is the byte that fits none?

Known without being told: UTF-8 with or without a byte order mark, GB18030 (with GBK and GB2312 in it), UTF-16 and
UTF-32 with a byte order mark. A file is decoded strictly from end to end before an encoding is believed, once, in blocks.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from worker.errors import InputRefused, Problem

BLOCK = 1 << 20
UNPACKED_FREELY = 1 << 30
UNPACKED_RATIO = 200
"""A packed file may hold this many times its size; more only up to a gigabyte. Texts shrink to a tenth, repeated ones
to a fiftieth; a file made to fill whatever reads it to a thousandth."""
TEXT_LIMIT = 16 * 1024 * 1024
"""Bytes of a file given as ``@FILE``."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDENED = {"gbk": "gb18030", "gb2312": "gb18030", "utf-8-sig": "utf-8"}
"""Encodings read as the larger one that contains them, as browsers do."""
_PAIR = re.compile(rb"[\x81-\xfe](?:([\x40-\x7e])|[\x80-\xfe]|[\x30-\x39][\x81-\xfe][\x30-\x39])")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_SURELY_UTF8 = 8
"""So many characters beyond ASCII that read as UTF-8 are no accident: a Chinese character in GB18030 does in one of five."""

SourceError = (OSError, EOFError, zlib.error)
"""What reading a file, packed or not, may raise (gzip raises all three)."""


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzip (by its first bytes, or its ending .gz).

    Raises InputRefused where it cannot be read, also when that shows later, inside the block.
    """
    try:
        with path.open("rb") as file:
            if not file.seekable():
                told = f"{path}: a pipe, which cannot be read twice; give - for the file and pipe it into the command"
                raise InputRefused([Problem(0, "", "unreadable", told)])
            packed = file.read(2) == b"\x1f\x8b" or path.suffix.lower() == ".gz"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield io.BufferedReader(_Measured(unpacked, file, path), BLOCK)
            else:
                yield file
    except SourceError as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputRefused([Problem(0, "", "unreadable", f"{path}: {reason}")]) from error


class _Measured(io.RawIOBase):
    """What a packed file holds, as long as that is no bomb."""

    def __init__(self, unpacked: gzip.GzipFile, packed: IO[bytes], path: Path) -> None:
        self._unpacked, self._packed, self._path = unpacked, packed, path
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._unpacked.readinto(buffer)
        self._size += count
        if self._size > UNPACKED_FREELY and self._size > UNPACKED_RATIO * self._packed.tell():
            message = (
                f"{self._path}: more than {UNPACKED_FREELY:,} bytes unpacked and over {UNPACKED_RATIO} times its size; "
                "unpack it yourself if that is right"
            )
            raise InputRefused([Problem(0, "", "too_large", message)])
        return count


def named_encoding(name: str) -> str:
    """The codec a user means by ``name``. Raises InputRefused with the nearest one where there is none."""
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # a codec of bytes, such as hex, refuses to be one of text
        known = True
    except (LookupError, ValueError):
        known = False
    if known:
        return _WIDENED.get(found.name, found.name)
    import encodings.aliases  # only on the way to an error

    names = {alias.replace("_", "-") for pair in encodings.aliases.aliases.items() for alias in pair}
    wanted = name.lower().replace("_", "-")
    near = get_close_matches(wanted, sorted(names - {wanted}), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "usual ones are utf-8, gb18030, utf-16 and cp1252"
    raise InputRefused([Problem(0, "", "unknown_encoding", f"--encoding: no encoding {name!r}; {hint}")])


def find_encoding(path: Path) -> str:
    """``utf-8``, ``gb18030``, ``utf-16`` or ``utf-32``: the first in which the whole file can be read.

    Raises InputRefused with the line and the byte where the file is in none of them, or is only by accident.
    """
    with open_bytes(path) as file:
        head = file.read(4096)
    if head.startswith(b"PK\x03\x04"):
        message = f"{path}: a spreadsheet or zip archive, not a text; save the sheet as CSV (UTF-8)"
        raise InputRefused([Problem(0, "", "unknown_format", message)])
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name if name != "utf-8" or first_bad(path, name) is None else _refuse_utf8(path)
    _refuse_bare_utf16(path, head)
    bad = first_bad(path, "utf-8")
    if bad is None:
        return "utf-8"
    if bad.beyond_ascii >= _SURELY_UTF8:
        return _refuse_utf8(path)
    other = first_bad(path, "gb18030")
    if other is None and _is_chinese(path):
        return "gb18030"
    raise InputRefused([bad.problem(path, "neither UTF-8 nor GB18030")])


class Bad:
    """The first byte that cannot be decoded: where it stands, and how many characters beyond ASCII were right before."""

    def __init__(self, line: int, position: int, byte: int, beyond_ascii: int) -> None:
        self.line, self.position, self.byte, self.beyond_ascii = line, position, byte, beyond_ascii

    def problem(self, path: Path, what: str) -> Problem:
        message = (
            f"{path}: {what}: byte 0x{self.byte:02x} at {self.position:,} of the file; "
            "say --encoding (for instance cp1252, big5), or save the file as UTF-8"
        )
        return Problem(self.line, "", "invalid_encoding", message)


def first_bad(path: Path, encoding: str) -> Bad | None:
    """The first byte of the file that is not ``encoding``, or None. Raises InputRefused where it cannot be read."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, position, beyond = 1, 0, 0
    with open_bytes(path) as file:
        while True:
            block = file.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = error.start - (
                    len(error.object) - len(block)
                )  # below 0: held back from the block before
                before = decoder.decode(block[: max(at, 0)]) if at > 0 else ""
                beyond += _beyond_ascii(before)
                return Bad(line + before.count("\n"), position + at + 1, error.object[error.start], beyond)
            if not block:
                return None
            position += len(block)
            line += text.count("\n")
            if beyond < _SURELY_UTF8:
                beyond += _beyond_ascii(text)


def _beyond_ascii(text: str) -> int:
    return 0 if text.isascii() else sum(sign > "\x7f" for sign in text)


def _refuse_utf8(path: Path) -> str:
    bad = first_bad(path, "utf-8")
    assert bad is not None
    raise InputRefused([bad.problem(path, "UTF-8 with a byte that is not")])


def _refuse_bare_utf16(path: Path, head: bytes) -> None:
    """Bytes of UTF-16 pass for UTF-8 full of NULs; its NULs stand all in odd or all in even places."""
    places = {at % 2 for at, byte in enumerate(head) if byte == 0}
    if len(places) == 1 and head.count(0) > 1:
        name = "utf-16-le" if places == {1} else "utf-16-be"
        message = f"{path}: looks like UTF-16 without a byte order mark; say --encoding {name}"
        raise InputRefused([Problem(0, "", "invalid_encoding", message)])


def _is_chinese(path: Path) -> bool:
    """Whether what decodes as GB18030 is likely meant so, judged by the first block that says anything.

    In Chinese text the second byte is mostly above ASCII; in Western text (cp1252) an accented letter is followed by
    a plain one, and the two would pass for one rare character. Big5 would pass for text full of private characters.
    """
    with open_bytes(path) as file:
        while block := file.read(BLOCK):
            low = [bool(match[1]) for match in _PAIR.finditer(block)]
            if len(low) >= _SURELY_UTF8 or (low and len(block) < BLOCK):
                private = len(_PRIVATE.findall(block.decode("gb18030", "ignore")))
                return sum(low) * 2 < len(low) and private * 20 < len(low)
    return True


def read_text_argument(value: str) -> str:
    """What ``--prompt``, ``--system`` mean: ``@FILE`` is the file's text, ``@@x`` the text ``@x``, else the text itself.

    UTF-8 and GB18030 are read, a byte order mark is dropped. Raises InputRefused where it cannot be read.
    """
    if not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    return read_text(Path(value[1:]))


def read_text(path: Path, *, encoding: str | None = None) -> str:
    """A whole text file of at most 16 MB, its byte order mark dropped. Raises InputRefused."""
    with open_bytes(path) as file:
        data = file.read(TEXT_LIMIT + 1)
    if len(data) > TEXT_LIMIT:  # before all of it is read for its encoding: a device never ends
        raise InputRefused([Problem(0, "", "too_large", f"{path}: more than {TEXT_LIMIT:,} bytes")])
    found = named_encoding(encoding) if encoding else find_encoding(path)
    try:
        text = data.decode(found)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = (
            f"{path}: not {found}: byte 0x{data[error.start]:02x} at {error.start + 1:,}; say --encoding"
        )
        raise InputRefused([Problem(line, "", "invalid_encoding", message)]) from error
    return text.removeprefix("\ufeff")


def decoded(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of these bytes, its byte order mark dropped, and the encoding: as told, or found as in a file.

    Raises ValueError, saying which byte fits none.
    """
    if encoding is not None:
        try:
            name = named_encoding(encoding)
        except InputRefused as error:
            raise ValueError(str(error)) from error
        return _strictly(data, name), name
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name), name
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        beyond = _beyond_ascii(data[: error.start].decode("utf-8"))
        bad = f"byte 0x{data[error.start]:02x} at {error.start + 1:,}"
    if beyond >= _SURELY_UTF8:
        raise ValueError(f"UTF-8 with a byte that is not: {bad}; say --encoding")
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    if text and _reads_as_chinese(data, text):
        return text, "gb18030"
    raise ValueError(f"neither UTF-8 nor GB18030: {bad}; say --encoding (for instance cp1252, big5)")


def _strictly(data: bytes, name: str) -> str:
    try:
        return data.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        message = f"not {name}: byte 0x{data[error.start]:02x} at {error.start + 1:,}; say --encoding"
        raise ValueError(message) from error


def _reads_as_chinese(data: bytes, text: str) -> bool:
    """As ``_is_chinese``, of bytes at hand."""
    low = [bool(match[1]) for match in _PAIR.finditer(data[:BLOCK])]
    return bool(low) and sum(low) * 2 < len(low) and len(_PRIVATE.findall(text[:BLOCK])) * 20 < len(low)
