"""Zip archives: each file in it is a document of its own."""

import base64
import io
import zipfile
import zlib

from worker.documents.encodings import decoded
from worker.documents.formats.limits import MOST_UNPACKED, Content, Refused, content, distinct
from worker.documents.leave_out import is_litter

MOST_FILES = 2_000
MOST_ARCHIVED = MOST_UNPACKED // 2
"""Bytes of all files of an archive: they leave the child in base64."""
_UTF8_NAME = 0x800
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
    written = [entry.filename.encode("cp437") for entry in entries if not entry.flag_bits & _UTF8_NAME]
    try:
        encoding = decoded(b"\n".join(name for name in written if not name.isascii()))[1]
    except ValueError:
        encoding = "cp437"
    return [
        entry.filename
        if entry.flag_bits & _UTF8_NAME
        else entry.filename.encode("cp437").decode(encoding, "replace")
        for entry in entries
    ]
