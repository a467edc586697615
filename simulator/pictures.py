"""Images of a request: whether a model can read them, and what they are to it.

What a projector makes of an image depends on the model. A simulated one makes as many tokens of each as the server counts
where it looks whether a prompt fits. Source: ``server/prompt.go``.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

TOKENS: Final = 768
"""Tokens of an image."""
MIN_NUM_CTX: Final = 2_048
"""``server/sched.go GetRunner`` floors the num_ctx of a model with a projector to this."""
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
"""PNG, JPEG, and WebP."""
_MARK = re.compile(r"\[img-(\d+)\]")
_FIRST: Final = 1 << 40
"""Beyond the tokens of any vocabulary."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image: ``sum`` tells it from others."""

    sum: int
    readable: bool


def picture(content: bytes) -> Picture:
    """The image in these bytes."""
    return Picture(zlib.crc32(content), content.startswith(_BEGINNINGS))


def with_pictures(text: str, pictures: Sequence[Picture], encode: Callable[[str], list[int]]) -> list[int]:
    """The tokens of a prompt, those of each image in the place of its ``[img-N]``."""
    if not pictures:
        return encode(text)
    tokens: list[int] = []
    for place, part in enumerate(_MARK.split(text)):
        if place % 2 == 0:
            tokens += encode(part)
        elif int(part) < len(pictures):
            first = _FIRST + pictures[int(part)].sum * TOKENS
            tokens += range(first, first + TOKENS)
    return tokens
