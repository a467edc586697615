"""Which generations began, and how did each end? Lines of JSON in a file, for whoever checks a client against it.

``{"at": …, "began": 7, "model": …, "prompt": …}``, then ``{"at": …, "ended": 7, "whole": true, "tokens": 31, "crc": …}``.
A line is in the file before anything else happens, so a host that is killed leaves all that it did until then.
"""

import json
import os
import time
import zlib
from pathlib import Path

PROMPT_CHARACTERS = 80


class Diary:
    """What one host generates. Without a path nothing is written."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._life = f"{os.getpid()}-"
        self._count = 0

    def began(self, model: str, prompt: str) -> int:
        """A generation starts. Returns its number."""
        self._count += 1
        if self._file is not None:
            self._write(began=self._name(self._count), model=model, prompt=prompt[:PROMPT_CHARACTERS])
        return self._count

    def ended(self, number: int, *, whole: bool, tokens: int = 0, text: str = "") -> None:
        """It ended; ``whole``: with ``done:true``, all of which has left for the client."""
        if self._file is not None:
            self._write(
                ended=self._name(number),
                whole=whole,
                tokens=tokens,
                crc=zlib.crc32(text.encode()) if whole else 0,
            )

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _name(self, number: int) -> str:
        """Unique in a file that outlives its process."""
        return f"{self._life}{number}"

    def _write(self, **line: object) -> None:
        assert self._file is not None
        os.write(self._file, json.dumps({"at": time.time(), **line}).encode() + b"\n")
