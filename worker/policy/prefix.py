"""Which jobs begin alike? One after another on a slot, they find their prefix in the host's cache.

Recorded: a prompt of 907 tokens that follows one with the same document is evaluated 29 to 147 times faster.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from worker.records import record

SAMPLE = 200
"""Number of prompts that show what all prompts of an input have in common."""
PREFIX = 512
"""Characters, after what all have in common, that distinguish prompts: a prefix that is shorter is evaluated in
no time."""
MOST = 100_000
"""Beginnings that are remembered."""
WORTH = 400
"""Characters that two prompts should share before it is worth to keep them together."""


def common_start(prompts: Sequence[str]) -> int:
    """Characters that all of them begin with.

    >>> common_start(["Read: a", "Read: b"])
    6
    """
    if not prompts:
        return 0
    first, last = min(prompts), max(prompts)  # whatever these two share, all between them do
    return next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
        min(len(first), len(last)),
    )


class Prefixes:
    """Gives jobs that begin alike one number: that of the first of them. Remembers the ``MOST`` beginnings seen last."""

    def __init__(self, common: int) -> None:
        self._length = common + PREFIX
        # a plain dictionary looks for its oldest entry past all that were taken out before: 20 µs each
        self._first: OrderedDict[int, int] = OrderedDict()

    def group(self, number: int, prompt: str, system: str | None, template: str | None) -> int:
        """The number of the first job that begins like this one, which is ``number`` itself where it is new."""
        start = hash((prompt[: self._length], system, template))
        first = self._first.setdefault(start, number)
        if first != number:
            self._first.move_to_end(start)
        elif len(self._first) > MOST:
            self._first.popitem(last=False)
        return first


@record
class Sharing:
    """What the prompts of an input have in common with their likes."""

    shared_chars: int
    """Characters that a prompt shares with the one most like it at its beginning, on average."""
    suffix_chars: int
    """The same at its end."""
    chars: int
    """Characters of a prompt, on average."""

    @property
    def advice(self) -> str | None:
        """What to change, where the host's prefix cache would serve nothing; None where all is well, or nothing helps."""
        if self.suffix_chars >= WORTH and self.suffix_chars > 4 * self.shared_chars:
            return (
                f"nothing shared: prompts end alike ({self.suffix_chars:,} characters) but begin apart; put the "
                "document before the question, and a host evaluates it once instead of once for each question"
            )
        return None


def sharing(prompts: Sequence[str]) -> Sharing:
    """How alike prompts begin and end; each is compared with its neighbours in sorted order.

    >>> sharing(["What? " + "x" * 500, "Why? " + "x" * 500]).advice is not None
    True
    """
    if not prompts:
        return Sharing(0, 0, 0)
    return Sharing(
        _shared(prompts),
        _shared([prompt[::-1] for prompt in prompts]),
        sum(map(len, prompts)) // len(prompts),
    )


def _shared(prompts: Sequence[str]) -> int:
    ordered = sorted(prompts)
    if len(ordered) < 2:
        return 0
    beside = [common_start(pair) for pair in pairwise(ordered)]
    best = [beside[0], *map(max, beside, beside[1:]), beside[-1]]
    return sum(best) // len(best)
