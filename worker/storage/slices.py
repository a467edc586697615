"""Long lists of values, in as many as one IN list of a statement takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

MANY = 500
"""Values in one IN list."""
Value = TypeVar("Value")


def slices(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """The values in their order, at most ``MANY`` at once.

    >>> [len(part) for part in slices(range(1200))]
    [500, 500, 200]
    """
    for start in range(0, len(values), MANY):
        yield values[start : start + MANY]
