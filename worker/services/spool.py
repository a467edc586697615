"""Where finished text waits while the database is away: one fsynced file of JSON lines per host."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from dataclasses import fields as fields_of
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from worker.domain.attempts import Cancelled, Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.replies import Result
from worker.errors import Code

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
    harmless: the second is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: set[tuple[int, int]] = set()

    def write(self, finishes: Sequence[Finish]) -> int:
        """Append what is not there yet and flush it to the disk. Returns how many were new. Raises OSError."""
        new = [finish for finish in finishes if (finish.job_id, finish.attempt) not in self._written]
        if not new:
            return 0
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        torn = self._is_torn()
        with self._path.open("a", encoding="utf-8") as file:
            if torn:
                file.write("\n")  # else the next answer would be glued to what a crash left, and lost with it
            file.writelines(json.dumps(_to_json(finish), ensure_ascii=False) + "\n" for finish in new)
            file.flush()
            os.fsync(file.fileno())
        if not self._written:
            _keep_name(self._path.parent)
        self._written.update((finish.job_id, finish.attempt) for finish in new)
        return len(new)

    def _is_torn(self) -> bool:
        """Whether the file ends amid a line."""
        try:
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:  # there is none, or it is empty
            return False

    def read(self) -> list[Finish]:
        """What an earlier worker could not store. A line that was cut by a crash is left out."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return []
        finishes = []
        for line in lines:
            try:
                finishes.append(_from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        self._written.update((finish.job_id, finish.attempt) for finish in finishes)
        return finishes

    def clear(self) -> None:
        """All of it is stored."""
        if self._written:
            self._path.unlink(missing_ok=True)
            self._written.clear()


def _keep_name(folder: Path) -> None:
    """A file that is new is on the disk only when its folder is. Windows knows no such call."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
        known = _known(Result, fields["result"])
        fields["result"] = Result(**known, context=None if context is None else tuple(context))
    if "code" in fields:
        fields["code"] = Code(fields["code"])
    if "at" in fields:
        fields["at"] = datetime.fromisoformat(fields["at"])
    outcome: Outcome = kind(**_known(kind, fields))
    for name in ("started_at", "ended_at"):
        plain[name] = datetime.fromisoformat(plain[name])
    return Finish(**_known(Finish, plain), outcome=outcome)


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only a newer version knows: its text must not be thrown away for that."""
    names = {field.name for field in fields_of(kind)}
    return {name: value for name, value in values.items() if name in names}
