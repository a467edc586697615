"""What the kinds have in common that make a model speak: explicit limits, and what counts as an answer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.domain.attempts import Failed, Outcome, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.numbers import count_of
from worker.domain.replies import Result
from worker.errors import Code, HostError
from worker.policy.context_window import NUM_PREDICT, NUM_PREDICT_THINKING

WHOLE_WINDOW = 131_072
"""Stands for "the rest of the window" where the window's length is not known: ``shift:false`` ends the answer there."""


class Unanswered(HostError):
    """The host sent a whole reply, which is no answer; ``result`` is kept for reading."""

    def __init__(self, code: Code, message: str, result: Result) -> None:
        super().__init__(code, message, partial=text_of(result))
        self.result = result


def explicit(
    body: dict[str, Any],
    host_model: HostModel | None,
    *,
    window: int | None = None,
    num_ctx: int | None = None,
) -> dict[str, Any]:
    """``body`` with all that is never left to a server's default.

    - ``truncate`` and ``shift`` are false unless the producer asked otherwise: no silent truncation.
    - ``think`` is explicit: as asked, else true where the model can; false beside ``format``, where reasoning
      takes a call of its own.
    - ``num_predict`` is explicit and positive: 2,048, or 8,192 for a model that reasons; what the producer sets to
      0 or below means the rest of the window (a server would take ten windows, ``llm/server.go Completion``).
    - ``num_ctx`` is the window that is loaded, where the job names none: any other would reload the model.
    """
    body.setdefault("truncate", False)
    body.setdefault("shift", False)
    capable = host_model is not None and host_model.thinking
    if body.get("think") is None:
        body["think"] = capable and not body.get("format")
    options = dict(body.get("options") or {})
    if num_ctx is not None:
        options.setdefault("num_ctx", num_ctx)
    num_predict = options.get("num_predict")
    if num_predict is None:
        options["num_predict"] = NUM_PREDICT_THINKING if body["think"] else NUM_PREDICT
    elif num_predict <= 0:
        trained = host_model.trained_context if host_model is not None else None
        options["num_predict"] = options.get("num_ctx") or window or trained or WHOLE_WINDOW
    body["options"] = options
    return body


def judged(
    result: Result,
    body: Mapping[str, Any],
    request: Mapping[str, Any],
    *,
    problem: str | None,
    window: int | None,
    fail_on_cut: bool,
) -> Outcome:
    """Whether a whole reply is an answer; ``problem``: it is not what its ``format`` asks for. Raises Unanswered."""
    if body.get("logprobs") and result.logprobs is None:
        result = replace(result, logprobs=[])  # the host is too old for them
    if result.prompt_fit == "no" and body["truncate"] is False:
        raise Unanswered(Code.CONTEXT_OVERFLOW, _overflow(result, window), result)
    if result.empty and not result.cut and not request.get("allow_empty"):
        raise Unanswered(Code.EMPTY_ANSWER, _nothing(result), result)
    if problem is not None:
        return Failed(Code.INVALID_OUTPUT, problem, result=result)
    if result.cut and fail_on_cut:
        return Failed(
            Code.CUT, f"the answer was cut after {count_of(result.output_tokens, 'token')}", result=result
        )
    return Succeeded(result)


def text_of(result: Result) -> str:
    """Answer and reasoning as one text."""
    return f"<think>{result.reasoning}</think>{result.answer}" if result.reasoning else result.answer


def _overflow(result: Result, window: int | None) -> str:
    """``n_prompt_tokens`` as newer servers write it, so that the next window can be chosen."""
    whole = len(result.context or ()) - result.output_tokens
    if whole <= result.prompt_tokens:  # of several calls together
        return f"the host cut the prompt without saying so: it read {result.prompt_tokens:,} tokens"
    room = f"a window of {window:,} tokens" if window else "its window"
    return (
        f"the host cut the prompt without saying so: it read {result.prompt_tokens:,} of {whole:,} tokens, in {room} "
        f"(n_prompt_tokens: {whole})"
    )


def _nothing(result: Result) -> str:
    if result.done_reason in ("load", "unload"):
        return f"the host sent done_reason {result.done_reason!r}: it did not answer the prompt"
    tokens = count_of(result.output_tokens, "token")
    if result.reasoning:
        return f"the model generated {tokens}, all of them reasoning, and no answer"
    return f"the model generated {tokens} and no text"
