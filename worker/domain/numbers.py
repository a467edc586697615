"""Numbers as people write them."""

from collections.abc import Sequence
from decimal import Decimal


def plain_number(number: float) -> str:
    """A number without an exponent.

    >>> plain_number(3.4123e-05), plain_number(1e22), plain_number(0.5)
    ('0.000034123', '10000000000000000000000', '0.5')
    """
    text = float.__repr__(number)
    return format(Decimal(text), "f") if "e" in text else text


def count_of(number: int, noun: str, plural: str = "") -> str:
    """How many there are of something, in words that fit the number.

    >>> count_of(1, "job"), count_of(1200, "job"), count_of(2, "batch", "batches"), count_of(1, "job is", "jobs are")
    ('1 job', '1,200 jobs', '2 batches', '1 job is')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def names_of(names: Sequence[str], most: int = 4) -> str:
    """The first ``most`` names, and how many more there are.

    >>> names_of(["a", "b"]), names_of("abcdefg"), names_of("abcdefg", 1)
    ('a, b', 'a, b, c, d and 3 more', 'a and 6 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
