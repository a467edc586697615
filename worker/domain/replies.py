"""What a host sent, and what a producer gets."""

import re
from collections.abc import Sequence
from typing import Any, Literal
from unicodedata import category

from worker.records import record

PromptFit = Literal["yes", "no", "unknown"]


@record
class Reply:
    """What a host sent for one request to a model that speaks, put together from its chunks, before any interpretation.

    Durations are nanoseconds as sent, 0 where the host left them out (Go's omitempty).
    """

    model: str
    response: str
    thinking: str
    done_reason: str | None
    context: tuple[int, ...] | None
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int
    chunks: int
    logprobs: Sequence[Any] | None = None
    """The log probability of each token, in the order of the stream; None where the host sent none."""
    tool_calls: tuple[Any, ...] = ()
    """As sent, in the order of the stream."""
    created_at: str | None = None
    """``created_at`` of the last record, in UTC with microseconds; None where the host sent no such time."""


@record
class Result:
    """What a producer gets. Durations are kept in nanoseconds as sent and given in seconds beside them."""

    answer: str
    reasoning: str | None
    reasoning_open: bool
    """The reply ended inside the reasoning: the answer is empty and all of the text is reasoning."""
    done_reason: str | None
    cut: bool
    """The answer was ended by num_predict or a full window (done_reason ``length``)."""
    prompt_fit: PromptFit
    prompt_tokens: int
    output_tokens: int
    tokens_per_second: float | None
    prompt_tokens_per_second: float | None
    total_seconds: float
    load_seconds: float
    prompt_eval_seconds: float
    eval_seconds: float
    total_duration: int
    load_duration: int
    prompt_eval_duration: int
    eval_duration: int
    context: tuple[int, ...] | None
    parsed: Any = None
    """The answer as JSON, where a ``format`` was asked for and it fits. A JSON null is None too."""
    logprobs: Sequence[Any] | None = None
    """The log probability of each token as sent, where it was requested."""
    tool_calls: tuple[Any, ...] = ()
    """The calls of tools that the model asks for: ``{"function": {"name", "arguments"}}``, with an ``id`` where there is one."""
    created_at: str | None = None
    """When the host ended its answer, by its own clock; as in ``Reply``."""
    embedding: bytes | None = None
    """The vector of a text, as ``replies.vectors`` packs it; there is no answer then."""

    @property
    def empty(self) -> bool:
        """The answer has no text, calls no tool, and is no vector."""
        return not self.tool_calls and self.embedding is None and is_blank(self.answer)


def is_blank(text: str) -> bool:
    """Whether ``text`` shows nothing: white space, control and format characters (zero-width spaces) alone, or tokens that
    end a text and that a host took for one.

    >>> is_blank(" \\n\\u200b"), is_blank("0"), is_blank("<|im_end|>\\n")
    (True, False, True)
    """
    return all(char.isspace() or category(char) in ("Cc", "Cf") for char in _END.sub("", text))


_END = re.compile(
    r"<\|(?:im_end|im_start|endoftext|eot_id|end|eom_id|end_of_text)\|>|</s>|<(?:end_of_turn|eos|pad)>"
)
