"""Vectors as they are kept: float32, little-endian, one after the other."""

import math
import operator
import struct
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache

BYTES = 4
"""Of each number."""
LENGTH_TOLERANCE = 0.01
"""How far from 1 the length of a vector may be: that of one kept with 8 bits a number is."""


def pack_vector(numbers: Sequence[float]) -> bytes:
    """Raises TypeError for what is no number, OverflowError for one that float32 does not hold.

    >>> unpack_vector(pack_vector([0.5, -1]))
    [0.5, -1.0]
    """
    try:
        return _format(len(numbers)).pack(*numbers)  # in a third of the time that an array takes
    except struct.error as error:
        raise TypeError(str(error)) from error


_format = lru_cache(maxsize=64)(lambda length: struct.Struct(f"<{length}f"))
"""Of a vector of so many numbers."""


def unpack_vector(vector: bytes) -> list[float]:
    """The numbers, exactly as float32 has them."""
    numbers = array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def vector_values(vector: bytes) -> list[float]:
    """The numbers as text needs them: with as few digits as tell each float32 from the next.

    >>> vector_values(pack_vector([0.1, -2 / 3]))
    [0.1, -0.6666667]
    """
    exact = unpack_vector(vector)
    shown = _rounded(exact, 7)
    for digits in (8, 9):
        unlike = map(operator.ne, array("f", shown), exact)
        places = [place for place, differs in enumerate(unlike) if differs]
        longer = _rounded([exact[place] for place in places], digits)
        for place, number in zip(places, longer, strict=True):
            shown[place] = number
    return shown


def _rounded(numbers: Sequence[float], digits: int) -> list[float]:
    """All in one text: a format of its own for each number takes twice as long."""
    return list(map(float, (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()))


def vector_problem(numbers: Sequence[float]) -> str | None:
    """What is wrong with a vector, by its length: of one that is a direction it is 1.

    >>> vector_problem([0.6, 0.8]), vector_problem([0.0, 0.0])
    (None, 'the vector has the length 0, expected 1')
    """
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        return "the vector holds NaN or an infinite number"
    if abs(length - 1) > LENGTH_TOLERANCE:
        return f"the vector has the length {length:.4g}, expected 1"
    return None
