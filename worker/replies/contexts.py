"""How context tokens are stored: about two bytes each, and the list that comes out is the list that went in.

One byte says how many bytes an id takes (1 to 4, by the largest; 0 is JSON, for what no vocabulary has), then
the ids, little-endian, deflated. JSON would take seven bytes a token; variable-length ids deflate 3 % better
than fixed ones but take a Python loop over each token.
"""

import json
import struct
import zlib
from collections.abc import Sequence

_JSON = 0
_WIDEST = 4
_RAW_DEFLATE = -15


def pack_context(tokens: Sequence[int]) -> bytes:
    """``tokens`` as bytes.

    >>> unpack_context(pack_context([151644, 14880, 0]))
    [151644, 14880, 0]
    """
    try:
        words = struct.pack(f"<{len(tokens)}I", *tokens)
    except struct.error:
        return bytes([_JSON]) + _deflate(json.dumps(list(tokens)).encode())
    width = max(1, (max(tokens, default=0).bit_length() + 7) // 8)
    body = bytearray(len(tokens) * width)
    for place in range(width):
        body[place::width] = words[place::_WIDEST]
    return bytes([width]) + _deflate(body)


def unpack_context(packed: bytes) -> list[int]:
    """The tokens that ``packed`` was made from. ``ValueError`` for what ``pack_context`` never made."""
    try:
        width, body = packed[0], zlib.decompress(packed[1:], _RAW_DEFLATE)
    except (IndexError, zlib.error) as error:
        raise ValueError("not a packed context") from error
    if width == _JSON:
        tokens: list[int] = json.loads(body)
        return tokens
    count, rest = divmod(len(body), width)
    if width > _WIDEST or rest:
        raise ValueError("not a packed context")
    words = bytearray(count * _WIDEST)
    for place in range(width):
        words[place::_WIDEST] = body[place::width]
    return list(struct.unpack(f"<{count}I", words))


def _deflate(body: bytes | bytearray) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, _RAW_DEFLATE)
    return deflate.compress(body) + deflate.flush()
