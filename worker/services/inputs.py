"""Where do lines come from? A file is read as it is; standard input is kept first, so that it has a name and a hash."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from worker.errors import InputRefused, Problem

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes in one line; a longer one is refused without being read whole."""


def read_lines(path: Path) -> Iterator[bytes]:
    """The file's lines without their ends, a line over the limit cut there (and refused by its size).

    Constant memory. A byte order mark before the first line is dropped. Raises InputRefused when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            first = True
            while line := file.readline(LINE_LIMIT + 1):
                if first:
                    line, first = line.removeprefix(b"\xef\xbb\xbf"), False
                if len(line) > LINE_LIMIT:
                    _skip_rest(file, line)
                yield line.rstrip(b"\r\n")
    except OSError as error:
        raise InputRefused([Problem(0, "", "unreadable", f"{path}: {error.strerror or error}")]) from error


def _skip_rest(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(LINE_LIMIT)


def content_key(path: Path, settings: Mapping[str, Any]) -> str:
    """The idempotency key of a file under these defaults: the same bytes asked the same way are the same batch.

    Raises InputRefused when it cannot be read.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputRefused([Problem(0, "", "unreadable", f"{path}: {error.strerror or error}")]) from error
    return f"run-{digest.hexdigest()[:32]}"


def keep_standard_input(stream: BinaryIO, folder: Path) -> Path:
    """Copy ``stream`` into ``folder`` under the name of its hash, so that a run of it can be told from another."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, partial = hashlib.sha256(), folder / "stdin.part"
    with partial.open("wb") as file:
        while block := stream.read(1 << 20):
            digest.update(block)
            file.write(block)
    kept = folder / f"stdin-{digest.hexdigest()[:16]}.jsonl"
    partial.rename(kept)
    return kept
