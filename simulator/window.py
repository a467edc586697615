"""What of a prompt fits a context window, and how long an answer may get.

Source: ``runner/llamarunner/runner.go`` and ``cache.go`` (O), ``llm/llama_server.go`` (H).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.settings import Line

PADDING = 256
"""llama-server rounds a window up to a multiple of this."""

UNLIMITED = 2**62


class PromptTooLong(ValueError):
    """A prompt that does not fit and must not be cut."""

    def __init__(self, tokens: int, window: int) -> None:
        super().__init__(f"{tokens} tokens, a window of {window}")
        self.tokens = tokens
        self.window = window


@dataclass(frozen=True, slots=True)
class Window:
    """The window of one slot. ``size`` is what the server counts with, ``real`` what the runner has."""

    size: int
    real: int
    line: Line

    def fit(self, prompt: Sequence[int], *, num_keep: int, truncate: bool, shift: bool) -> Sequence[int]:
        """The part of the prompt (start token included) that is evaluated.

        O keeps the first tokens and the tail, a whole window in all. H keeps the first tokens and the tail, about
        half a window in all, so that the answer has room.

        Raises:
            PromptTooLong: the prompt does not fit and ``truncate`` is off.
        """
        if self.line == "O":
            if len(prompt) <= self.size:
                return prompt
            if not truncate:
                raise PromptTooLong(len(prompt), self.size)
            keep = len(prompt) if num_keep < 0 else num_keep + 1
            keep = min(keep, self.size - 1)
            return [*prompt[:keep], *prompt[len(prompt) - (self.size - keep) :]]
        if not truncate:
            if len(prompt) >= self.real:
                raise PromptTooLong(len(prompt), self.real)
            return prompt
        longest = self.size - 1
        if len(prompt) <= longest:
            return prompt
        if not shift:
            raise PromptTooLong(len(prompt), self.size)
        keep = len(prompt) if num_keep < 0 else num_keep + 1
        keep = min(keep, longest)
        length = min(longest, self.size - (self.size - keep) // 2)
        return [*prompt[:keep], *prompt[len(prompt) - (length - keep) :]]

    def room(self, prompt_tokens: int, *, shift: bool) -> int:
        """How many tokens can be said before the window is full; with ``shift`` it never is.

        O notices when it is about to read a token that has no place, H one token earlier, when it says the last.
        """
        if shift:
            return UNLIMITED
        return max(1, self.real - prompt_tokens + (1 if self.line == "O" else 0))

    def answer_limit(self, num_predict: int) -> int:
        """``num_predict`` as the server takes it: negative or huge is ten windows, 0 is no limit."""
        if num_predict == 0:
            return UNLIMITED
        if num_predict < 0 or num_predict > 10 * self.size:
            return 10 * self.size
        return num_predict


def window_of(num_ctx: int, trained_context: int, line: Line) -> Window:
    """The window a runner gets that was asked for ``num_ctx``."""
    size = min(num_ctx, trained_context)
    real = size if line == "O" else -(-size // PADDING) * PADDING
    return Window(size, real, line)
