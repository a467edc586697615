"""A periodic service: its name, one pass of it, and how often it is due."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from worker.clock import Clock
from worker.errors import DatabaseContended, DatabaseUnavailable, PassIncomplete, in_words
from worker.records import record
from worker.storage.engine import Database, retry_contended

Counts = Mapping[str, int]
"""What a pass changed, by a word for it: ``{"promoted": 12}``. Zero and missing mean the same."""

RunOnce = Callable[[Database, Clock], Counts]
"""One pass. It makes transactions of its own, each short, and is idempotent: any process may run it at any time."""


@record
class Service:
    """One periodic duty."""

    name: str
    run_once: RunOnce
    every: float = 0.0
    """Seconds between two passes; 0: whenever the runner is called."""


Item = TypeVar("Item")


def each(items: Iterable[Item], work: Callable[[Item], int], *, name: Callable[[Item], str]) -> int:
    """Do ``work`` for every item, whatever becomes of the others; the sum of what it returns. An item that met another
    transaction is tried again at once.

    Raises PassIncomplete in the end for the items that failed; DatabaseUnavailable, where it is away, at once.
    """
    total, failures = 0, []
    for item in items:
        try:
            total += retry_contended(lambda item=item: work(item))  # type: ignore[misc]
        except Exception as error:
            if is_away(error):
                raise
            failures.append(f"{name(item)}: {in_words(error)}")
    if failures:
        raise PassIncomplete(failures)
    return total


def is_away(error: Exception) -> bool:
    """Whether the database is away: then nothing else can be done either, while one that refuses a statement, or in
    which another transaction was in the way, may well do the next one."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseContended)


def collecting(failures: list[str], work: Callable[[], int]) -> int:
    """Do ``work`` and add the items at which it failed to ``failures``; what it returns, 0 where it failed."""
    try:
        return work()
    except PassIncomplete as error:
        failures.extend(error.failures)
        return 0


def no_counts(counts: Counts) -> bool:
    """Whether a pass changed nothing."""
    return not any(counts.values())
