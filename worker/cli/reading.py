"""Says how many rows of an input were read so far, where that takes longer than a moment."""

import threading
from collections.abc import Callable
from types import TracebackType

from worker.cli.progress import QUIET_SECONDS
from worker.cli.render import Console
from worker.domain.numbers import count_of

AFTER_SECONDS = 0.1
EVERY_SECONDS = 0.25


class ReadingProgress:
    """A line at the foot of a terminal, elsewhere a line every ten seconds, until the block ends or ``end`` is called."""

    def __init__(self, console: Console, name: str, rows: Callable[[], int]) -> None:
        self._console = console
        self._name = name
        self._rows = rows
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="reading", daemon=True)

    def __enter__(self) -> "ReadingProgress":
        if not self._console.quiet:
            if self._console.is_terminal:  # in the thread each file would wait for whoever reads the rows
                import rich.text  # noqa: F401

                import worker.cli.block  # noqa: F401
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave nothing of it on a terminal, so that something else can be printed."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _show(self) -> None:
        if not self._console.is_terminal:
            while not self._ended.wait(QUIET_SECONDS):
                self._console.print(self._line)
        elif not self._ended.wait(AFTER_SECONDS):
            self._draw()

    def _draw(self) -> None:
        from rich.text import Text

        from worker.cli.block import block_drawn

        with block_drawn(self._console) as block:
            while True:
                block.draw(Text(self._line, no_wrap=True, overflow="ellipsis"))
                if self._ended.wait(EVERY_SECONDS):
                    return

    @property
    def _line(self) -> str:
        return f"Reading {self._name}: {count_of(self._rows(), 'row')}"
