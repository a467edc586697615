"""Zip archives: each file in it is a document of its own."""

import base64
import io
import re
import struct
import zipfile
import zlib

from worker.documents.formats.limits import MOST_UNPACKED, Content, Refused, content, distinct
from worker.documents.leave_out import is_litter
from worker.documents.likelihood import readings

MOST_FILES = 2_000
MOST_ARCHIVED = MOST_UNPACKED // 2
"""Bytes of all files of an archive: they leave the child in base64."""
_UTF8_NAME = 0x800
_UNICODE_PATH = 0x7075
_OF_NAMES = ("gb18030", "cp932", "cp949", "cp950", "cp437", "cp850", "cp866", "cp1252", "cp1251")
"""Encodings in which Windows and DOS write names; of two that are as likely the first."""
_AMONG_LETTERS = re.compile(rb"(?:[\x00-\x7f]*[A-Za-z][\x80-\xff](?=[\x00-\x7f]|\Z))+[\x00-\x7f]*")
"""Single bytes beyond ASCII behind letters: a word of Europe, not two bytes of a character."""
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError, zlib.error)


def read_archive(data: bytes) -> Content:
    """The files of an archive as attachments, and as ``refused`` those that cannot be unpacked. Raises Refused."""
    attached: list[tuple[str, str]] = []
    refused: list[tuple[str, str, str]] = []
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            entries = [entry for entry in entries if not is_litter(entry.filename)]
            if len(entries) > MOST_FILES:
                raise Refused("too_large", f"{len(entries):,} files, at most {MOST_FILES:,} are read")
            for name, entry in zip(distinct(_names(entries)), entries, strict=True):
                if entry.flag_bits & 1:
                    refused.append((name, "encrypted", "it opens with a password only"))
                    continue
                try:
                    with archive.open(entry) as file:
                        part = file.read(MOST_ARCHIVED - total + 1)
                except _DAMAGED as error:
                    refused.append((name, "unreadable", f"it cannot be unpacked: {error}"))
                    continue
                total += len(part)
                if total > MOST_ARCHIVED:
                    raise Refused("too_large", f"more than {MOST_ARCHIVED:,} bytes when it is unpacked")
                attached.append((name, base64.b64encode(part).decode()))
    except _DAMAGED as error:
        raise Refused("unreadable", f"a damaged archive: {error}") from error
    if not entries:
        raise Refused("empty", "the archive holds no files")
    if not attached and all(code == "encrypted" for _, code, _ in refused):
        raise Refused("encrypted", "it opens with a password only")
    document = content("")
    document["attachments"], document["refused"] = attached, refused
    return document


def _names(entries: list[zipfile.ZipInfo]) -> list[str]:
    """The names. Where an archive does not say that they are UTF-8, programs wrote them in the encoding of their system."""
    known = [_known_name(entry) for entry in entries]
    written = [
        entry.filename.encode("cp437") for entry, name in zip(entries, known, strict=True) if name is None
    ]
    encoding = name_encoding(b"\n".join(name for name in written if not name.isascii()))
    return [
        entry.filename.encode("cp437").decode(encoding, "replace") if name is None else name
        for entry, name in zip(entries, known, strict=True)
    ]


def _known_name(entry: zipfile.ZipInfo) -> str | None:
    """The name where the entry says that it is UTF-8: by its flag, or in a field of its own (APPNOTE, 4.6.9)."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    at, extra = 0, entry.extra
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + size]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            checksum = int.from_bytes(field[1:5], "little")
            if checksum == zlib.crc32(entry.orig_filename.encode("cp437", "replace")):
                return field[5:].decode("utf-8", "replace")
        at += 4 + size
    return None


def name_encoding(data: bytes) -> str:
    """The likeliest encoding of names, of those in which programs write them; there is little to tell it by.

    >>> [name_encoding("合同".encode("gbk")), name_encoding("メモ".encode("cp932")), name_encoding("für".encode("cp437"))]
    ['gb18030', 'cp932', 'cp437']
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    encodings = _OF_NAMES[_OF_NAMES.index("cp437") :] if _AMONG_LETTERS.fullmatch(data) else _OF_NAMES
    likely = [reading for reading in readings(data) if reading.encoding in encodings]
    best = min(likely, key=lambda reading: (reading.bits, _OF_NAMES.index(reading.encoding)), default=None)
    return "cp437" if best is None else best.encoding
