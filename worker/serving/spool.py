"""Where finished text waits while the database is away: one fsynced file of JSON lines per host."""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from dataclasses import fields as fields_of
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from worker.domain.attempts import Cancelled, Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.replies import Result
from worker.errors import Code

GROUP_BYTES = 8_000_000
"""A group that is read holds no more than this, and the line that goes beyond it."""
REJECTED = "rejected"
"""The folder in the spool with answers that could not be stored for a reason of their own."""
_LONGEST_NAME = 200
_OUTCOMES: Mapping[str, type] = {cls.__name__: cls for cls in (Succeeded, Failed, Retried, Held, Cancelled)}


def spool_path(home: Path, host: str) -> Path:
    """Where the spool of ``host`` lies under ``home``: each name has a file of its own, and none leads elsewhere.

    >>> spool_path(Path("home"), "gpu-1:11434").as_posix()
    'home/spool/gpu-1%3A11434.jsonl'
    """
    name = quote(host, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:100]}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return home / "spool" / f"{name}.jsonl"


class Spool:
    """An append-only file beside the worker. Entries pass the fence when they are stored, so reading one twice is
    harmless: the second is refused. Several processes may write, read and clear it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[tuple[int, int]] = set()
        self._size = 0
        """Bytes of the file that are known to us."""

    @property
    def rejected(self) -> "Spool":
        """Where answers are set aside that the database takes neither now nor later: a file of this name in a folder of
        its own, which nobody stores by itself."""
        return Spool(self.path.parent / REJECTED / self.path.name)

    def write(self, finishes: Sequence[Finish]) -> int:
        """Append what we have not written yet and flush it to the disk. Returns how many were new. Raises OSError."""
        new = [finish for finish in finishes if (finish.job_id, finish.attempt) not in self._written]
        if not new:
            return 0
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._opened("a+b") as file:
            before = _length(file)
            try:
                _append(file, new)
            finally:
                if before == self._size:  # nobody else has written here
                    self._size = _length(file)
            if not before:
                _keep_name(self.path.parent)
        self._written.update((finish.job_id, finish.attempt) for finish in new)
        return len(new)

    def groups(self, at_most: int) -> Iterator[Sequence[Finish]]:
        """What is there now, left by earlier workers, a few at a time: the file may be larger than our memory.

        A line that was cut by a crash, be it within a character, is left out. Raises OSError.
        """
        with suppress(FileNotFoundError):
            self._size = self.path.stat().st_size
        return self._read(self._size, at_most) if self._size else iter(())

    def read(self) -> list[Finish]:
        """All of it at once. Raises OSError."""
        return [finish for group in self.groups(100) for finish in group]

    def replace(self, finishes: Sequence[Finish]) -> None:
        """Keep ``finishes`` of what ``read`` gave, and what another process has added since. Raises OSError."""
        part = self.path.with_suffix(".part")
        with self._opened("r+b") as file:
            file.seek(self._size)
            added = file.read()
            with part.open("wb") as new:
                _append(new, finishes)
                new.write(added)
                new.flush()
                os.fsync(new.fileno())
            if _LOCKS:
                _exchange(part, self.path)
        if not _LOCKS:
            _exchange(part, self.path)

    def clear(self) -> None:
        """All that we wrote and read is stored. What another process has added since stays, with ours: whoever looks
        next for what is left here finds it, and the fence refuses what it knows. Raises OSError."""
        self._written.clear()
        if not self._size:
            return
        with suppress(FileNotFoundError), self._opened("r+b") as file:
            if _length(file) != self._size:
                return
            if _LOCKS:
                self.path.unlink()
        if not _LOCKS:  # Windows removes no file that is open
            self.path.unlink(missing_ok=True)
        self._size = 0

    def _read(self, end: int, at_most: int) -> Iterator[Sequence[Finish]]:
        group: list[Finish] = []
        size = 0
        with self.path.open("rb") as file:
            while file.tell() < end and (line := file.readline()):
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    group.append(_from_json(json.loads(line.decode("utf-8", "surrogatepass"))))
                    size += len(line)
                if len(group) >= at_most or size >= GROUP_BYTES:
                    yield group
                    group, size = [], 0
        if group:
            yield group

    @contextmanager
    def _opened(self, mode: Literal["a+b", "r+b"]) -> Iterator[BinaryIO]:
        """The file, ours alone: who clears it must not remove what another process adds in the same moment."""
        while True:
            with self.path.open(mode) as file:
                if not _LOCKS or _locked(file, self.path):
                    yield file
                    return


if sys.platform == "win32":
    _LOCKS = False

    def _locked(file: BinaryIO, path: Path) -> bool:
        return True
else:
    import fcntl

    _LOCKS = True

    def _locked(file: BinaryIO, path: Path) -> bool:
        """Wait for the file; False where somebody removed it meanwhile."""
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            return False


def _append(file: BinaryIO, finishes: Sequence[Finish]) -> None:
    if _length(file) and not _ends_a_line(file):
        file.write(b"\n")  # what a crash or a full disk has torn must not take our first line with it
    for finish in finishes:
        text = json.dumps(_to_json(finish), ensure_ascii=False, default=_encoded)
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _exchange(new: Path, old: Path) -> None:
    if new.stat().st_size:
        new.replace(old)
        return
    new.unlink()
    old.unlink()


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _keep_name(folder: Path) -> None:
    """A file that is new is on the disk only when its folder is. Windows knows no such call."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _to_json(finish: Finish) -> dict[str, Any]:
    plain = asdict(finish)
    plain["kind"] = type(finish.outcome).__name__
    for name in ("started_at", "ended_at"):
        plain[name] = plain[name].isoformat()
    if "at" in plain["outcome"]:
        plain["outcome"]["at"] = plain["outcome"]["at"].isoformat()
    return plain


def _from_json(plain: dict[str, Any]) -> Finish:
    kind = _OUTCOMES[plain.pop("kind")]
    fields = plain.pop("outcome")
    if fields.get("result") is not None:
        context = fields["result"].pop("context")
        known = _fields_of(Result, fields["result"])
        known["tool_calls"] = tuple(known.get("tool_calls", ()))
        if known.get("embedding") is not None:
            known["embedding"] = base64.b64decode(known["embedding"])
        fields["result"] = Result(**known, context=None if context is None else tuple(context))
    if "code" in fields:
        check_codes = set(Code)
        fields["code"] = Code(fields["code"]) if fields["code"] in check_codes else Code.INTERNAL
    if "at" in fields:
        fields["at"] = datetime.fromisoformat(fields["at"])
    outcome: Outcome = kind(**_fields_of(kind, fields))
    for name in ("started_at", "ended_at"):
        plain[name] = datetime.fromisoformat(plain[name])
    return Finish(**_fields_of(Finish, plain), outcome=outcome)


def _fields_of(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only a newer version knows: its text must not be thrown away for that."""
    names = {field.name for field in fields_of(kind)}
    return {name: value for name, value in values.items() if name in names}
