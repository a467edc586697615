"""Finds the encoding of a file, or the byte that fits none.

Read without being named: UTF-8, UTF-16 and UTF-32 by their byte order marks or (UTF-8) without one, and the encodings of
Chinese, Japanese and Korean (``ENCODINGS``, ISO-2022-JP and ISO-2022-KR) where the text is clearly one of them.
A file is decoded strictly from end to end before an encoding is believed, in blocks.
"""

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

from worker.documents.packed import BLOCK, open_bytes
from worker.errors import InputRefused, Problem

SAMPLE = 64 * 1024
"""Bytes that are weighed."""
ENCODINGS: Mapping[str, tuple[str, ...]] = {
    "gb18030": ("zh-hans", "zh-hant"),
    "cp949": ("ko",),
    "cp932": ("ja",),
    "euc_jp": ("ja",),
    "euc_jis_2004": ("ja",),
    "cp950": ("zh-hant",),
    "big5hkscs": ("zh-hant",),
}
"""Encodings that are read without being named, and what is written in them. A larger one stands behind its usual form."""
TEXT_LIMIT = 16 * 1024 * 1024
"""Bytes of a file given as ``@FILE``."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDENED = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "utf-8-sig": "utf-8",
    "big5": "cp950",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
"""Encodings read as the larger one that contains them, as browsers do."""
_SURELY_UTF8 = 8
"""So many characters beyond ASCII that read as UTF-8 are no accident: a Chinese character in GB18030 does in one of five."""
_LARGER = {"euc_jp": "euc_jis_2004", "cp950": "big5hkscs"}
"""Tried where a file holds a few characters that its usual encoding does not have."""
_UTF8_WITHIN = re.compile(rb"(?<![\x80-\xff])(?:[\xe3-\xed][\x80-\xbf]{2}){2,}(?![\x80-\xff])")
"""Words of UTF-8 in a file of another encoding: files that were put together."""
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\$\([DOPQ]|\(I|\$\)C)")
_WITH_ESCAPES = ("iso2022_jp", "iso2022_jp_ext", "iso2022_kr")
_HZ = re.compile(rb"~\{(?:[!-w][!-~]){2,}~\}")
_LANGUAGES = {
    "gb18030": "Chinese",
    "cp950": "traditional Chinese",
    "big5hkscs": "traditional Chinese",
    "cp932": "Japanese",
    "euc_jp": "Japanese",
    "euc_jis_2004": "Japanese",
    "cp949": "Korean",
    "iso2022_jp": "Japanese",
    "iso2022_jp_ext": "Japanese",
    "iso2022_kr": "Korean",
}


def named_encoding(name: str) -> str:
    """The codec a user means by ``name``. Raises InputRefused with the nearest one where there is none."""
    try:
        codec = codecs.lookup(name)
        "".encode(codec.name)  # a codec of bytes, such as hex, refuses to be one of text
        known = True
    except (LookupError, ValueError):
        known = False
    if known:
        return _WIDENED.get(codec.name, codec.name)
    import encodings.aliases  # only on the way to an error

    names = {alias.replace("_", "-") for pair in encodings.aliases.aliases.items() for alias in pair}
    plain_name = name.lower().replace("_", "-")
    near = get_close_matches(plain_name, sorted(names - {plain_name}), n=1, cutoff=0.6)
    if plain_name == "ansi":  # what Windows calls its own, in Western Europe and America
        near = ["cp1252"]
    hint = f"did you mean {near[0]}?" if near else "usual ones are utf-8, gb18030, cp932, cp949 and cp1252"
    raise InputRefused([Problem(0, "", "unknown_encoding", f"--encoding: no encoding {name!r}; {hint}")])


def encoding_label(encoding: str) -> str:
    """An encoding's name as ``--encoding`` takes it, and for which language it is.

    >>> encoding_label("cp949"), encoding_label("euc_jp"), encoding_label("utf-16")
    ('cp949 (Korean)', 'euc-jp (Japanese)', 'utf-16')
    """
    name = encoding.replace("_", "-")
    return f"{name} ({_LANGUAGES[encoding]})" if encoding in _LANGUAGES else name


def is_unusual(encoding: str | None) -> bool:
    """Whether to tell users that a text was read in this encoding, which nobody named."""
    return encoding is not None and encoding not in ("utf-8", "utf-16", "utf-32")


def find_encoding(path: Path) -> str:
    """The encoding of a text file, as a codec's name.

    Raises InputRefused with the line and the byte where the file is in none that is read without being named, or where two
    are about as likely.
    """
    status = path.stat()
    return _encoding_of_version(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _encoding_of_version(path: Path, *_version: int) -> str:
    """Of a file as it is now: a command opens its input several times, and a look goes through all of its bytes."""
    try:
        return _detect(partial(open_bytes, path))
    except _Doubt as doubt:
        problem = Problem(doubt.line, "", doubt.code, f"{path}: {doubt}")
        raise (InputRefused if doubt.surely is None else BadBytes)([problem]) from doubt


class BadBytes(InputRefused):
    """A file is UTF-8, with bytes that are not."""


class _Doubt(Exception):
    """No encoding can be believed."""

    def __init__(
        self, message: str, *, line: int = 0, code: str = "invalid_encoding", surely: str | None = None
    ) -> None:
        self.line, self.code, self.surely = line, code, surely
        super().__init__(message)


_Opened = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens the bytes from their beginning."""


def _detect(opened: _Opened) -> str:
    with opened() as file:
        head = file.read(4096)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
        message = "a spreadsheet, an archive or a file of Office, not a text; save the sheet as CSV (UTF-8)"
        raise _Doubt(message, code="unknown_format")
    for mark, name in _MARKS:
        if head.startswith(mark):
            bad = _scanned(opened, name).bad if name == "utf-8" else None
            if bad is not None:
                raise _Doubt(bad.message("UTF-8 with a byte that is not"), line=bad.line, surely=name)
            return name
    _refuse_bare_utf16(head)
    scan = _scanned(opened, "utf-8")
    if scan.bad is None:
        if scan.escapes:
            return _with_escapes(opened)
        if not scan.beyond_ascii:
            _refuse_hz(opened)
        if 0 < scan.beyond_ascii < _SURELY_UTF8:
            _refuse_accidental_utf8(opened)
        return "utf-8"
    if scan.bad.beyond_ascii >= _SURELY_UTF8:
        raise _Doubt(scan.bad.message("UTF-8 with a byte that is not"), line=scan.bad.line, surely="utf-8")
    _refuse_bare_utf16(head, mixed=True)
    from worker.documents.likelihood import likeliest  # most files are UTF-8

    encoding, candidates = likeliest(_sample(opened))
    for candidate in (encoding, _LARGER.get(encoding or "")):
        if candidate is not None and _scanned(opened, candidate).bad is None:
            return candidate
    code = "ambiguous_encoding" if candidates and candidates[0] in ENCODINGS else "invalid_encoding"
    raise _Doubt(scan.bad.message("not UTF-8", candidates), line=scan.bad.line, code=code)


def _sample(opened: _Opened) -> bytes:
    """The first lines with something beyond ASCII in them."""
    kept, size = [], 0
    with opened() as file:
        while size < SAMPLE and (line := file.readline(SAMPLE)):
            if not line.isascii():
                kept.append(line)
                size += len(line)
    return b"".join(kept)


def _with_escapes(opened: _Opened) -> str:
    for name in _WITH_ESCAPES:
        if _scanned(opened, name).bad is None:
            return name
    shown = ", ".join(name.replace("_", "-") for name in _WITH_ESCAPES)
    raise _Doubt(
        f"escape sequences of ISO-2022, and is none of {shown}; say --encoding, or save the file as UTF-8"
    )


def _refuse_hz(opened: _Opened) -> None:
    """HZ writes Chinese with letters of ASCII, between ~{ and ~}."""
    with opened() as file:
        head = file.read(SAMPLE)
    if _HZ.search(head):
        raise _Doubt("letters between ~{ and ~}, which may be Chinese in HZ; say --encoding hz or utf-8")


def _refuse_accidental_utf8(opened: _Opened) -> None:
    """A word or two of another encoding may be valid UTF-8, of characters that nobody writes together."""
    from worker.documents.likelihood import ambiguous_utf8

    other = ambiguous_utf8(_sample(opened))
    if other is not None:
        raise _Doubt(
            f"few characters beyond ASCII, which may be UTF-8 or {encoding_label(other)}; say --encoding "
            f"utf-8 or {other.replace('_', '-')}"
        )


class Bad:
    """The first byte that cannot be decoded: where it stands, and how many characters beyond ASCII were right before."""

    def __init__(self, line: int, position: int, byte: int, beyond_ascii: int) -> None:
        self.line, self.position, self.byte, self.beyond_ascii = line, position, byte, beyond_ascii

    def message(self, what: str, candidates: Sequence[str] = ()) -> str:
        names = [encoding_label(name) for name in candidates[:4]]
        hint = f"it may be {' or '.join(names)}; " if names else ""
        return (
            f"{what}: byte 0x{self.byte:02x} at {self.position:,} of the file; {hint}"
            "say --encoding (for instance cp1252, big5), or save the file as UTF-8"
        )

    def problem(self, path: Path, what: str) -> Problem:
        return Problem(self.line, "", "invalid_encoding", f"{path}: {self.message(what)}")


class _Scan:
    """What one pass over the bytes shows."""

    def __init__(self, bad: Bad | None, beyond_ascii: int, escapes: bool) -> None:
        self.bad, self.beyond_ascii, self.escapes = bad, beyond_ascii, escapes


def first_bad(path: Path, encoding: str) -> Bad | None:
    """The first byte of the file that is not ``encoding``, or None. Raises InputRefused where it cannot be read."""
    return _scanned(partial(open_bytes, path), encoding, believed=True).bad


def _scanned(opened: _Opened, encoding: str, *, believed: bool = False) -> _Scan:
    """Decode everything. Unless ``believed``, text that is valid and reads as nothing raises _Doubt with its line."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, position, beyond, escapes = 1, 0, 0, False
    weighed = not believed and encoding in ENCODINGS
    with opened() as file:
        while True:
            block = file.read(BLOCK)
            escapes = escapes or (encoding == "utf-8" and _ESCAPES.search(block) is not None)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # below 0: held back from the block before
                at = error.start - (len(error.object) - len(block))
                before = decoder.decode(block[: max(at, 0)]) if at > 0 else ""
                beyond += _beyond_ascii(before)
                bad = Bad(line + before.count("\n"), position + at + 1, error.object[error.start], beyond)
                return _Scan(bad, beyond, escapes)
            if not block:
                return _Scan(None, beyond, escapes)
            if weighed:
                _refuse_mixed(block, text, encoding, line)
            position += len(block)
            line += text.count("\n")
            if beyond < _SURELY_UTF8:
                beyond += _beyond_ascii(text)


def _refuse_mixed(block: bytes, text: str, encoding: str, line: int) -> None:
    from worker.documents.likelihood import implausible

    within = _UTF8_WITHIN.search(block)
    if within is not None:
        at = line + block.count(b"\n", 0, within.start())
        message = (
            f"line {at} is UTF-8, and lines elsewhere are {encoding_label(encoding)}: two files put together? "
            "Save all of it in one encoding, or say --encoding"
        )
        raise _Doubt(message, line=at)
    if implausible(text[:SAMPLE], encoding):
        message = (
            f"from line {line} it is no longer text in {encoding_label(encoding)}, as what stands before it; say --encoding, "
            "or save all of it in one encoding"
        )
        raise _Doubt(message, line=line)


def _beyond_ascii(text: str) -> int:
    return 0 if text.isascii() else sum(sign > "\x7f" for sign in text)


def _refuse_bare_utf16(head: bytes, *, mixed: bool = False) -> None:
    """Bytes of UTF-16 pass for UTF-8 full of NULs; its NULs stand all in odd or all in even places.

    ``mixed``: they may also stand elsewhere, of bytes that are no UTF-8. The commonest Chinese character, 一, has one.
    """
    places = Counter(at % 2 for at, byte in enumerate(head) if byte == 0)
    if places.total() < 2 or (len(places) > 1 and not mixed):
        return
    names = ["utf-16-be", "utf-16-le"]  # by the place where letters of ASCII have their NUL
    if max(places.values()) > 2 * min(places[0], places[1]):
        names = [names[places.most_common(1)[0][0]]]
    raise _Doubt(f"looks like UTF-16 without a byte order mark; say --encoding {' or '.join(names)}")


def read_text_argument(value: str) -> str:
    """What ``--prompt``, ``--system`` mean: ``@FILE`` is the file's text, ``@@x`` the text ``@x``, else the text itself.

    The encoding is found as in a file, a byte order mark is dropped. Raises InputRefused where it cannot be read.
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
    name = named_encoding(encoding) if encoding else find_encoding(path)
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{path}: not {name}: byte 0x{data[error.start]:02x} at {error.start + 1:,}; say --encoding"
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
    try:
        name = _detect(lambda: io.BytesIO(data))
    except _Doubt as doubt:
        raise ValueError(f"line {doubt.line}: {doubt}" if doubt.line else str(doubt)) from doubt
    return _strictly(data, name), name


def _strictly(data: bytes, name: str) -> str:
    try:
        return data.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        message = f"not {name}: byte 0x{data[error.start]:02x} at {error.start + 1:,}; say --encoding"
        raise ValueError(message) from error
