"""What a producer gets for what a host sent."""

from collections.abc import Sequence

from worker.domain.replies import Reply, Result
from worker.replies.families import FAMILIES, Marks
from worker.replies.prompt_fit import prompt_fit
from worker.replies.reasoning import split_reasoning
from worker.replies.timings import seconds, tokens_per_second


def read_reply(
    reply: Reply,
    *,
    expects_reasoning: bool | None,
    guarded: bool,
    window: int | None = None,
    least_tokens: int = 0,
    families: Sequence[Marks] = FAMILIES,
) -> Result:
    """Read a reply that ended with ``done:true``; any other is no success and has no business here.

    ``expects_reasoning`` as in ``split_reasoning``; ``guarded`` (the request had ``truncate:false``), ``window`` and
    ``least_tokens`` as in ``prompt_fit``.
    """
    split = split_reasoning(
        reply.response,
        reply.thinking,
        done_reason=reply.done_reason,
        expects_reasoning=expects_reasoning,
        families=families,
    )
    return Result(
        answer=split.answer,
        reasoning=split.reasoning,
        reasoning_open=split.open,
        done_reason=reply.done_reason,
        cut=reply.done_reason == "length",
        prompt_fit=prompt_fit(
            context_tokens=None if reply.context is None else len(reply.context),
            prompt_tokens=reply.prompt_eval_count,
            output_tokens=reply.eval_count,
            guarded=guarded,
            window=window,
            least_tokens=least_tokens,
        ),
        prompt_tokens=reply.prompt_eval_count,
        output_tokens=reply.eval_count,
        tokens_per_second=tokens_per_second(reply.eval_count, reply.eval_duration),
        prompt_tokens_per_second=tokens_per_second(reply.prompt_eval_count, reply.prompt_eval_duration),
        total_seconds=seconds(reply.total_duration),
        load_seconds=seconds(reply.load_duration),
        prompt_eval_seconds=seconds(reply.prompt_eval_duration),
        eval_seconds=seconds(reply.eval_duration),
        total_duration=reply.total_duration,
        load_duration=reply.load_duration,
        prompt_eval_duration=reply.prompt_eval_duration,
        eval_duration=reply.eval_duration,
        context=reply.context,
        logprobs=reply.logprobs,
        tool_calls=reply.tool_calls,
        created_at=reply.created_at,
    )
