"""How far is a batch? A bar on standard error, for programs that wait."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.observability.terminal import terminal_safe

OnProgress = Callable[[BatchProgress], None]
WIDTH = 30
"""Characters of the bar."""


@contextmanager
def display_progress(name: str, callback: OnProgress | None = None) -> Iterator[OnProgress]:
    """A bar for the length of the block, moved by what it yields, which tells ``callback`` too. Off a terminal there is
    one line at the end."""
    terminal = sys.stderr.isatty()
    last = ""

    def tell(progress: BatchProgress) -> None:
        nonlocal last
        last = bar(name, progress)
        if terminal:
            sys.stderr.write(f"\r\033[K{last}")
            sys.stderr.flush()
        if callback is not None:
            callback(progress)

    try:
        yield tell
    finally:
        if last:
            sys.stderr.write("\n" if terminal else f"{last}\n")


def bar(name: str, progress: BatchProgress) -> str:
    """A line that says how far a batch is."""
    filled = WIDTH * progress.done // max(progress.total, 1)
    failed = progress.counts.get(JobState.FAILED, 0)
    return (
        f"{terminal_safe(name)} {'━' * filled}{'╌' * (WIDTH - filled)} {progress.done:,}/{progress.total:,}"
        + (f", {failed:,} failed" if failed else "")
    )
