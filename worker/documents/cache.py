"""Texts of documents that were read before, kept by the hash of their bytes: what does not change is parsed once.

A text is kept with the version of what read it, so a newer reader reads again. The folder holds what documents say: only its
owner may look into it. What nobody asked for in a month goes, and the oldest where all take too much room.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import zlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from worker.documents.bounded import Reader
from worker.documents.formats.kinds import ending_of
from worker.records import record

READERS = 11
"""Raised where a reader of ours makes another text of the same bytes."""
_LIBRARIES = ("pypdfium2", "selectolax", "kreuzberg", "python-calamine")
MOST_BYTES = 1024 * 1024 * 1024
OLDEST_SECONDS = 30 * 86400.0


@cache
def readers_version() -> str:
    """Of our readers and of the libraries under them."""
    parts = [str(READERS)]
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            parts.append(f"{name} {version(name)}")
    return ", ".join(parts)


@record
class TextCache:
    """A folder of texts. Whatever is wrong with it, the document is read as if there were none."""

    folder: Path

    def get(self, key: str) -> dict[str, Any] | None:
        path = self._path(key)
        try:
            content = json.loads(zlib.decompress(path.read_bytes()))
            os.utime(path)
        except (OSError, ValueError, zlib.error):
            return None
        return cast(dict[str, Any], content) if isinstance(content, dict) and "text" in content else None

    def put(self, key: str, content: dict[str, Any]) -> None:
        path = self._path(key)
        part = path.with_name(f"{secrets.token_hex(8)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(
                    zlib.compress(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"), 1)
                )
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def prune(self, *, now: float, most: int = MOST_BYTES, oldest: float = OLDEST_SECONDS) -> int:
        """Remove what nobody asked for in ``oldest`` seconds, and the least used of more than ``most`` bytes."""
        files: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):
                about = path.stat()
                files.append((about.st_mtime, about.st_size, path))
        removed = room = 0
        for used_at, size, path in sorted(files, reverse=True):
            room += size
            if room > most or now - used_at > oldest:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


class CachedReader(Reader):
    """A reader that asks the cache before its child."""

    def __init__(self, texts: TextCache, **bounds: Any) -> None:
        super().__init__(**bounds)
        self._texts = texts

    def read(self, path: str, data: bytes, name: str, encoding: str | None) -> dict[str, Any]:
        key = text_key(data, name, encoding)
        content = self._texts.get(key)
        if content is None:
            content = super().read(path, data, name, encoding)
            self._texts.put(key, content)
        return content

    def extract(self, path: str, data: bytes, name: str, command: str) -> dict[str, Any] | None:
        key = text_key(data, name, command_state(command))
        content = self._texts.get(key)
        if content is None:
            content = super().extract(path, data, name, command)
            self._texts.put(key, {"text": "", "left": True} if content is None else content)
        return None if content is None or content.get("left") else content


def command_state(command: str) -> str:
    """The command with size and time of each file that it names: another version of a script makes another text."""
    state = [command]
    with contextlib.suppress(ValueError):
        for word in shlex.split(command):
            with contextlib.suppress(OSError):
                about = Path(shutil.which(word) or word).stat()
                state.append(f"{about.st_size} {about.st_mtime_ns}")
    return "\0".join(state)


def text_key(data: bytes, name: str, encoding: str | None) -> str:
    """What decides the text: the bytes, the kind of file, the encoding that somebody named, and who reads."""
    about = f"{ending_of(name)}\0{encoding}\0{readers_version()}\0".encode()
    return hashlib.blake2b(about + hashlib.sha256(data).digest(), digest_size=20).hexdigest()
