"""Waits for something to become true: the only place in the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], *, description: str, timeout: float = 30.0, interval: float = 0.02
) -> T:
    """The predicate's first true value.

    Times are in seconds. Raises AssertionError that says what did not happen in time; what the predicate
    raises ends the wait at once.
    """
    end = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {description}")
        time.sleep(interval)
    return value
