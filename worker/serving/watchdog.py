"""Ends a process whose serving loop hangs, so that a supervisor starts it again."""

import faulthandler
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

from worker.clock import Clock
from worker.observability.events import emit

HUNG = 70
"""The exit code: EX_SOFTWARE, so that a supervisor starts the process again."""


def die(name: str) -> NoReturn:
    """Write what every thread is doing, and end at once: a thread that hangs cannot be asked to come to its end."""
    with suppress(
        OSError
    ):  # past sys.stderr, which may be a proxy, and whose lock may be what everybody waits for
        os.write(2, f"caravan: {name} hangs; what its threads do:\n".encode())
        faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(HUNG)


class Turned(Protocol):
    """What a loop calls with each turn."""

    def __call__(self, *, allowing: float = 0.0) -> None:
        """``allowing``: seconds that the next turn may last beyond the usual."""
        ...


class Watchdog:
    """Sees to it that every loop that says it turns goes on turning. A thread of its own looks; the loops only tell.

    ``seconds`` is how long one turn may last. A loop that is about to wait longer on purpose (a load) says so.
    """

    def __init__(self, *, seconds: float, clock: Clock, end: Callable[[str], None] = die) -> None:
        self._seconds, self._clock, self._end = seconds, clock, end
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def turned(self, name: str, *, allowing: float = 0.0) -> None:
        """The loop ``name`` has turned. Its next turn may last ``allowing`` seconds longer than others."""
        with self._lock:
            self._until[name] = self._clock.monotonic() + self._seconds + allowing

    def rests(self, name: str) -> None:
        """The loop ``name`` has ended, and need not turn."""
        with self._lock:
            self._until.pop(name, None)

    @contextmanager
    def watching(self, name: str, *, allowing: float = 0.0) -> Iterator[Turned]:
        """Watch the loop ``name`` within the block; gives what the loop calls with each turn."""
        self._start()
        self.turned(name, allowing=allowing)

        def turned(*, allowing: float = 0.0) -> None:
            self.turned(name, allowing=allowing)

        try:
            yield turned
        finally:
            self.rests(name)

    def hung(self) -> str | None:
        """The name of a loop that has not turned in time."""
        now = self._clock.monotonic()
        with self._lock:
            return next((name for name, until in self._until.items() if now > until), None)

    def look(self) -> None:
        """End the process if a loop hangs."""
        name = self.hung()
        if name is not None:
            emit("process.hung", name=name, seconds=self._seconds)
            self._end(name)

    def _start(self) -> None:
        if (
            self._thread is None or not self._thread.is_alive()
        ):  # a forked child has none of its parent's threads
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while not self._closed.wait(min(5.0, self._seconds / 4)):
            self.look()

    def close(self) -> None:
        """End the thread that looks."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(5.0)


class StopSignal(threading.Event):
    """A stop that a loop reads with every turn: reading it is the loop's sign of life.

    Only what the loop's own thread reads counts; ``report`` is called with the value, each time it is read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reader: int | None = None
        self._report: Callable[[bool], None] | None = None

    @contextmanager
    def read_here(self, report: Callable[[bool], None]) -> Iterator[None]:
        """From now on, until the block ends, this thread is the one that reads."""
        self._reader, self._report = threading.get_ident(), report
        try:
            yield
        finally:
            self._reader = self._report = None

    def is_set(self) -> bool:
        stopping = super().is_set()
        if self._report is not None and threading.get_ident() == self._reader:
            self._report(stopping)
        return stopping
