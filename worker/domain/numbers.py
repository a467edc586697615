"""Numbers as people write them."""

from decimal import Decimal


def plain_number(number: float) -> str:
    """A number without an exponent.

    >>> plain_number(3.4123e-05), plain_number(1e22), plain_number(0.5)
    ('0.000034123', '10000000000000000000000', '0.5')
    """
    text = float.__repr__(number)
    return format(Decimal(text), "f") if "e" in text else text
