"""What the calls of one attempt come to together."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from worker.domain.replies import PromptFit, Reply, Result
from worker.replies.families import FAMILIES, Marks
from worker.replies.read import read_reply


def read_calls(
    replies: Sequence[Reply],
    fits: Collection[PromptFit],
    *,
    reasoning: str | None,
    families: Sequence[Marks] = FAMILIES,
) -> Result:
    """The last reply is the answer; tokens and times are those of all calls, ``reasoning`` that of an earlier one.

    The context and the log probabilities are the last one's. The prompt fits where it did in every call (``fits``).
    """
    text, thought = constrained_text(replies[-1])
    whole = replace(added_up(replies), response=text, thinking=reasoning or thought)
    result = read_reply(whole, expects_reasoning=False, guarded=True, families=families)
    return replace(result, prompt_fit=fit_of_all(fits))


def fit_of_all(fits: Collection[PromptFit]) -> PromptFit:
    """Whether the prompt fitted in every call."""
    return "no" if "no" in fits else "unknown" if "unknown" in fits else "yes"


def added_up(replies: Sequence[Reply]) -> Reply:
    """The last reply with the tokens and the times of all of them."""
    return replace(
        replies[-1],
        total_duration=sum(reply.total_duration for reply in replies),
        load_duration=sum(reply.load_duration for reply in replies),
        prompt_eval_count=sum(reply.prompt_eval_count for reply in replies),
        prompt_eval_duration=sum(reply.prompt_eval_duration for reply in replies),
        eval_count=sum(reply.eval_count for reply in replies),
        eval_duration=sum(reply.eval_duration for reply in replies),
        chunks=sum(reply.chunks for reply in replies),
    )


def constrained_text(reply: Reply) -> tuple[str, str]:
    """What a call with ``format`` answered, and what it thought.

    Where a template opens the reasoning in the prompt, a host takes all that follows for reasoning: the JSON stands
    in ``thinking`` then, and ``response`` is empty.
    """
    if reply.response.strip():
        return reply.response, reply.thinking
    return reply.thinking, ""
