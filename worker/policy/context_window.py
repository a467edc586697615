"""The context window that a job needs.

A window that is too small refuses the prompt or cuts the answer; one that is too large takes memory from every slot. So a
job that names none gets what its estimated tokens and its answer need, rounded up to one of few sizes.
"""

import re
from collections.abc import Mapping
from typing import Any

from worker.domain.runners import RunnerKey

NUM_PREDICT = 2048
NUM_PREDICT_THINKING = 8192
"""Tokens of an answer at most where nothing is said; of a model that reasons."""
SMALLEST = 4096
OVERHEAD = 64
"""Tokens of a model's template around the prompt, about."""
IMAGE_TOKENS = 1024
_NAMED = re.compile(r"\"?n_prompt_tokens\\?\"?\s*:\s*(\d+)")


def estimate_tokens(text: str) -> int:
    """Tokens that ``text`` has at most, nearly always: a third of its characters, and one and more for each character
    of Chinese, Japanese or Korean.

    By the length of its UTF-8, which is known without a look at each character: beyond its first byte, half a token each.

    >>> estimate_tokens("a" * 300), estimate_tokens("红色茶杯" * 100)
    (100, 534)
    """
    return tokens_of(*weight(text))


def weight(text: str) -> tuple[int, int]:
    """Characters, and bytes of UTF-8 beyond the first of each. Of two texts one after the other it is the sum, which
    tokens, being rounded, are not."""
    return len(text), 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)


def tokens_of(characters: int, bytes_beyond: int) -> int:
    """The estimate for a text of this weight."""
    return -(-characters // 3) + bytes_beyond // 2


def answer_tokens(request: Mapping[str, Any], *, thinking: bool) -> int:
    """``num_predict`` as it will be sent (``kinds.speech``); for "the rest of the window" what a model gets where
    nothing was said."""
    options = request.get("options")
    num_predict = options.get("num_predict") if options else None
    if isinstance(num_predict, int) and num_predict > 0:
        return num_predict
    think = request.get("think")
    thinks = bool(think) if think is not None else thinking and not request.get("format")
    return NUM_PREDICT_THINKING if thinks else NUM_PREDICT


def bucket(tokens: int, *, trained: int | None = None) -> int:
    """The smallest window of few that holds ``tokens``: 4096, half as much again, twice as much, and so on; never more
    than the model was ``trained`` for. What does not fit then is refused by the host, with a name.

    >>> [bucket(n) for n in (1, 4097, 6145, 9000, 20_000)], bucket(20_000, trained=8192)
    ([4096, 6144, 8192, 12288, 24576], 8192)
    """
    size = SMALLEST
    while size < tokens and size + size // 2 < tokens:
        size *= 2
    if size < tokens:
        size += size // 2
    return size if trained is None else min(size, trained)


def widened(
    key: RunnerKey,
    loaded: int | None,
    message: str,
    *,
    answer: int,
    trained: int | None,
) -> RunnerKey | None:
    """The runner key to try once more, after a host refused the prompt as too long for ``loaded``; None for none.
    ``answer``: tokens to be left for it.

    Newer servers name the prompt's tokens in their refusal; of an older one the next size is tried. A window that the
    producer named stays what it is.
    """
    options = dict(key.options)
    if not key.at_least or "num_ctx" not in options:
        return None
    had = max(int(options["num_ctx"]), loaded or 0)
    named = _NAMED.search(message)
    needed = had + 1
    if named is not None:
        needed = max(needed, int(named[1]) + answer)
    window = bucket(needed, trained=trained)
    if window <= had:
        return None
    grown = tuple((name, window if name == "num_ctx" else value) for name, value in key.options)
    return RunnerKey(key.model, grown, key.shift, at_least=True)
