"""How context tokens are stored: as decimal digits, two in a byte, so that SQL can read them.

In hexadecimal the bytes read as decimal numbers: two digits for the digits of a token, then the tokens. 151644 and 7
are ``06 151644 000007``, three bytes a token as long as no vocabulary has a million. ``report_contexts`` makes a list of
them. JSON takes twice as many bytes; deflated ids take two thirds, more CPU, and no database reads them.
"""

from collections.abc import Sequence

_FEWEST, _MOST = 6, 18
"""Digits of a token: always even. A number of 18 digits fits 64 bits."""


def pack_context(tokens: Sequence[int]) -> bytes | None:
    """``tokens`` as bytes; None where one of them is no token of any vocabulary.

    >>> pack_context([151644, 7]).hex()
    '06151644000007'
    >>> unpack_context(pack_context([151644, 7]))
    [151644, 7]
    """
    last = max(tokens, default=0)
    digits = max(_FEWEST, (len(str(last)) + 1) // 2 * 2)
    if digits > _MOST or min(tokens, default=0) < 0:
        return None
    return bytes.fromhex(f"{digits:02}" + f"%0{digits}d" * len(tokens) % tuple(tokens))


def unpack_context(packed: bytes) -> list[int]:
    """The tokens that ``packed`` was made from. ``ValueError`` for what ``pack_context`` never made."""
    text, body = packed.hex(), packed[1:]
    digits = int(text[:2]) if text.isdecimal() else 0
    if not _FEWEST <= digits <= _MOST or digits % 2 or len(body) % (digits // 2):
        raise ValueError("not a packed context")
    return [int(token) for token in body.hex(",", digits // 2).split(",")] if body else []
