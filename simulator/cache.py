"""How much of a prompt a runner has already evaluated.

O: each slot keeps the tokens of its last prompt and answer; the free slot with the longest common prefix is taken
and the rest of it dropped. H: besides, what a slot drops goes to a prompt cache in the host's memory and is fetched
from there when it fits better. At least one token is always evaluated. Source: ``runner/llamarunner/cache.go``,
llama-server's README.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.settings import Line

HOST_CACHE_PROMPTS = 32
"""How many prompts H keeps beside its slots; llama-server counts 8 GiB, the simulation counts prompts."""


@dataclass(slots=True)
class Slot:
    """A place to evaluate in. ``tokens`` is what its memory holds."""

    tokens: Sequence[int] = ()
    busy: bool = False


@dataclass(slots=True)
class PromptCache:
    """The slots of one runner."""

    slots: list[Slot]
    line: Line
    _prompts: deque[Sequence[int]] = field(default_factory=lambda: deque(maxlen=HOST_CACHE_PROMPTS))

    def take(self, prompt: Sequence[int]) -> tuple[Slot, int]:
        """A free slot and how many tokens of ``prompt`` need not be evaluated again."""
        best: Slot | None = None
        shared = -1
        for slot in self.slots:
            if not slot.busy:
                common = common_prefix(slot.tokens, prompt) if slot.tokens else 0
                if common > shared:
                    best, shared = slot, common
        assert best is not None, "the semaphore lets in no more sequences than there are slots"
        if self.line == "H":
            for kept in self._prompts:
                shared = max(shared, common_prefix(kept, prompt))
            if best.tokens and best.tokens not in self._prompts:
                self._prompts.append(best.tokens)
        best.busy = True
        return best, max(0, min(shared, len(prompt) - 1))

    def give_back(self, slot: Slot, tokens: Sequence[int]) -> None:
        """Free a slot that now holds ``tokens``."""
        slot.tokens = tokens
        slot.busy = False


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share at their beginning.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    shorter = min(len(first), len(second))
    if first[:shorter] == second[:shorter]:
        return shorter
    low, high = 0, shorter  # the first difference lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low
