"""What the calls of one attempt come to together."""

from collections.abc import Sequence
from dataclasses import replace

from worker.domain.replies import PromptFit, Reply, Result
from worker.replies.prompt_fit import prompt_fit
from worker.replies.read import read_reply


def read_calls(replies: Sequence[Reply], *, reasoning: str | None, guarded: bool) -> Result:
    """The last reply is the answer; tokens and times are those of all calls, ``reasoning`` that of an earlier one.

    The context is the last one's: it holds the whole conversation. The prompt fits where it did in every call.
    """
    last = replies[-1]
    text, thought = constrained_text(last)
    whole = replace(
        last,
        response=text,
        thinking=reasoning or thought,
        total_duration=sum(one.total_duration for one in replies),
        load_duration=sum(one.load_duration for one in replies),
        prompt_eval_count=sum(one.prompt_eval_count for one in replies),
        prompt_eval_duration=sum(one.prompt_eval_duration for one in replies),
        eval_count=sum(one.eval_count for one in replies),
        eval_duration=sum(one.eval_duration for one in replies),
        chunks=sum(one.chunks for one in replies),
    )
    fits = {_fit(one, guarded) for one in replies}
    fit: PromptFit = "no" if "no" in fits else "unknown" if "unknown" in fits else "yes"
    return replace(read_reply(whole, expects_reasoning=False, guarded=guarded), prompt_fit=fit)


def constrained_text(reply: Reply) -> tuple[str, str]:
    """What a call with ``format`` answered, and what it thought.

    Where a template opens the reasoning in the prompt, a host takes all that follows for reasoning: the JSON stands
    in ``thinking`` then, and ``response`` is empty.
    """
    if reply.response.strip():
        return reply.response, reply.thinking
    return reply.thinking, ""


def _fit(reply: Reply, guarded: bool) -> PromptFit:
    return prompt_fit(
        context_tokens=None if reply.context is None else len(reply.context),
        prompt_tokens=reply.prompt_eval_count,
        output_tokens=reply.eval_count,
        guarded=guarded,
    )
