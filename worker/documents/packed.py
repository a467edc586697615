"""The bytes of a file, unpacked where it is packed, and no more of them than a text can have."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from worker.errors import InputRefused, Problem, in_words

BLOCK = 1 << 20
UNPACKED_FREELY = 1 << 30
UNPACKED_RATIO = 200
"""A packed file may hold this many times its size; more only up to a gigabyte. Texts shrink to a tenth, repeated ones
to a fiftieth; a file made to fill whatever reads it to a thousandth."""

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
                message = f"{path}: a pipe, which cannot be read twice; give - for the file and pipe it into the command"
                raise InputRefused([Problem(0, "", "unreadable", message)])
            packed = file.read(2) == b"\x1f\x8b" or path.suffix.lower() == ".gz"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield io.BufferedReader(_Measured(unpacked, file, path), BLOCK)
            else:
                yield file
    except SourceError as error:
        reason = getattr(error, "strerror", None) or in_words(error)
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
