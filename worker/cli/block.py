"""Lines at the foot of a terminal that are drawn over; what is logged meanwhile goes above them, whole."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType

from worker.cli.plain import cells, folded

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Block:
    """What is drawn last on ``console``, and drawn over the next time. Safe for threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[str] = []
        self._lock = threading.RLock()

    def draw(self, picture: RenderableType) -> None:
        """Put ``picture`` in the place of what was drawn before; nothing is written where they are alike."""
        with self._console.capture() as captured:
            self._console.print(picture)
        lines = captured.get().rstrip("\n").split("\n")[: max(1, self._console.height - 1)]
        with self._lock:
            if lines != self._lines:
                self._replace(lines)

    def erase(self) -> None:
        """Leave nothing of it."""
        with self._lock:
            self._replace([])

    def print_above(self, text: str) -> None:
        """Write lines that stay, above what is drawn. Those that are too long are folded between words."""
        with self._lock:
            lines = self._lines
            self._replace([])
            self._write("\n".join(folded(line, self._console.width) for line in text.split("\n")))
            self._replace(lines)

    def _replace(self, lines: list[str]) -> None:
        if self._lines:  # a terminal that has become narrower folds what was drawn
            width = max(1, self._console.width)
            rows = sum(max(1, -(-cells(_SEQUENCE.sub("", line)) // width)) for line in self._lines)
            self._write(f"\x1b[{rows}A\r\x1b[J")
        self._lines = lines
        if lines:
            self._write("\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


class _Above:
    """The stream of a log handler while a block is drawn."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def write(self, text: str) -> int:
        self._block.print_above(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


@contextmanager
def block_drawn(console: Any) -> Iterator[Block]:
    """A block at the foot of ``console``, which rich draws; at the end nothing of it is left."""
    block = Block(console)
    handlers: list[Any] = [
        handler
        for handler in logging.getLogger("caravan").handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
    streams = [handler.setStream(_Above(block)) for handler in handlers]
    console.show_cursor(False)
    try:
        yield block
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)
        block.erase()
        console.show_cursor(True)
