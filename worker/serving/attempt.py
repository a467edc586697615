"""One try of a job on a host, as a value passed through named steps: build, ask, read, judge."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from worker.clock import Clock
from worker.domain.attempts import Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply, Result
from worker.domain.runners import RunnerKey
from worker.door.combine import combined_prompt
from worker.errors import CODES, Code, HostError
from worker.ollama.client import Call
from worker.policy.context_window import answer_tokens, bucket, prompt_tokens, widened
from worker.policy.request import context_problem, wire_request
from worker.policy.retry import after_failure, most_attempts
from worker.policy.structured import REPAIRS
from worker.replies.families import FAMILIES, Marks
from worker.replies.prompt_fit import least_tokens_of
from worker.replies.read import read_reply
from worker.serving.structured import ask_structured

_log = logging.getLogger("caravan")

Ask = Callable[[Mapping[str, object], Call], Reply]

ELSEWHERE = timedelta(seconds=5)
"""Until a job may be tried again whose conversation was begun with other weights than this host has."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, on its way to the database, and the failure the host has to answer for."""

    finish: Finish
    error: HostError | None
    seconds: float

    @property
    def has_failed(self) -> bool:
        """The job ended, and badly."""
        return isinstance(self.finish.outcome, Failed)

    @property
    def is_the_hosts(self) -> bool:
        """The host failed, and the job goes back or is held: what else waits for this host is not tried on it now."""
        if self.error is None or not isinstance(self.finish.outcome, Retried | Held):
            return False
        return CODES[self.error.code].fault == "host"


def attempt_job(
    job: ClaimedJob,
    *,
    ask: Ask,
    call: Call,
    host: str,
    host_model: HostModel | None,
    window: int | None,
    clock: Clock,
    run_id: int | None = None,
    fail_on_cut: bool = False,
    num_ctx: int | None = None,
    families: Sequence[Marks] = FAMILIES,
) -> Ending:
    """Ask the host once. Every ending is an outcome; nothing is raised, whatever a host or a defect does."""
    started_at, began = clock.now(), clock.monotonic()
    error: HostError | None = None
    outcome: Outcome
    try:
        outcome = _ask(job, ask, call, host_model, window, num_ctx, fail_on_cut, clock, families)
    except _Unanswered as failure:
        error = failure
        outcome = _kept(failure, _later(job, failure, host_model, window or num_ctx, clock))
    except HostError as failure:
        error = failure
        outcome = _later(job, failure, host_model, window or num_ctx, clock)
    except Exception as defect:
        _log.exception("defect while job %s was asked", job.id)
        error = HostError(Code.INTERNAL, f"{type(defect).__name__}: {defect}")
        outcome = _after(job, error, clock)
    return Ending(
        Finish(
            job_id=job.id,
            batch_id=job.batch_id,
            token=job.token,
            attempt=job.attempt,
            host=host,
            started_at=started_at,
            ended_at=clock.now(),
            outcome=outcome,
            digest=host_model.digest if host_model is not None else None,
            run_id=run_id,
        ),
        error,
        clock.monotonic() - began,
    )


def _ask(
    job: ClaimedJob,
    ask: Ask,
    call: Call,
    host_model: HostModel | None,
    window: int | None,
    num_ctx: int | None,
    fail_on_cut: bool,
    clock: Clock,
    families: Sequence[Marks],
) -> Outcome:
    if job.carries and job.request.get("context") == []:
        return Failed(
            Code.PARENT_FAILED, "the job that it follows has an answer, and no context to go on from"
        )
    problem = context_problem(job.request, host_model)
    if problem is not None:
        if (
            job.carries and job.charged + 1 < job.max_attempts
        ):  # another host may have the weights of its parent
            return Retried(Code.CONTEXT_MISMATCH, problem, clock.now() + ELSEWHERE, charged=True)
        return Failed(Code.CONTEXT_MISMATCH, problem)
    prompt = combined_prompt(job) if "combine" in job.request else job.prompt
    if prompt is not job.prompt and not job.widened:
        larger = _for_answers(job, prompt, host_model, window or num_ctx)
        if larger is not None:
            return Retried(
                Code.CONTEXT_OVERFLOW,
                "the answers that it is made of are longer than was expected",
                clock.now(),
                charged=False,
                runner_key=larger.text,
            )
    body = wire_request(job.model, prompt, job.request, host_model, window=window, num_ctx=num_ctx)
    read_in = window or body["options"].get("num_ctx")
    if body.get("format"):
        repairs = job.request.get("repairs", REPAIRS)
        structured = ask_structured(body, ask, call, repairs=repairs, window=read_in, families=families)
        result, problem = structured.result, structured.problem
    else:
        result, problem = _read(ask(body, call), body, read_in, families), None
    if body.get("logprobs") and result.logprobs is None:
        result = replace(result, logprobs=[])  # the host is too old for them
    if result.prompt_fit == "no" and body["truncate"] is False:
        raise _Unanswered(Code.CONTEXT_OVERFLOW, _overflow(result, read_in), result)
    if result.empty and not result.cut and not job.request.get("allow_empty"):
        raise _Unanswered(Code.EMPTY_ANSWER, _nothing(result), result)
    if problem is not None:
        return Failed(Code.INVALID_OUTPUT, problem, result=result)
    if result.cut and fail_on_cut:
        return Failed(Code.CUT, f"the answer was cut after {result.output_tokens} tokens", result=result)
    return Succeeded(result)


class _Unanswered(HostError):
    """The host sent a whole reply, which is no answer; ``result`` is kept for reading."""

    def __init__(self, code: Code, message: str, result: Result) -> None:
        super().__init__(code, message, partial=_text_of(result))
        self.result = result


def _read(reply: Reply, body: Mapping[str, Any], window: int | None, families: Sequence[Marks]) -> Result:
    return read_reply(
        reply,
        expects_reasoning=_expects_reasoning(body),
        guarded=body.get("truncate") is False,
        window=window,
        least_tokens=least_tokens_of(body),
        families=families,
    )


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
    tokens = "1 token" if result.output_tokens == 1 else f"{result.output_tokens:,} tokens"
    if result.reasoning:
        return f"the model generated {tokens}, all of them reasoning, and no answer"
    return f"the model generated {tokens} and no text"


def _text_of(result: Result) -> str:
    return f"<think>{result.reasoning}</think>{result.answer}" if result.reasoning else result.answer


def _kept(failure: _Unanswered, outcome: Outcome) -> Outcome:
    """A failure with its reply, which is worth reading."""
    return replace(outcome, partial="", result=failure.result) if isinstance(outcome, Failed) else outcome


def _for_answers(
    job: ClaimedJob, prompt: str, host_model: HostModel | None, window: int | None
) -> RunnerKey | None:
    """The runner key with a window for what the prompt came to; None where it fits, or no larger one is to be had."""
    key = RunnerKey.parse(job.runner_key)
    options = dict(key.options)
    thinking = host_model is not None and host_model.thinking
    tokens = prompt_tokens(prompt, job.request)
    needed = bucket(
        tokens + answer_tokens(job.request, thinking=thinking),
        trained=None if host_model is None else host_model.trained_context,
    )
    had = max(int(options.get("num_ctx", 0)), window or 0)
    if not key.at_least or needed <= had:
        return None
    grown = tuple((name, needed if name == "num_ctx" else value) for name, value in key.options)
    return replace(key, options=grown)


def _expects_reasoning(body: Mapping[str, object]) -> bool | None:
    """Whether the text may hold reasoning; None where the producer's own template or ``raw`` leaves it open."""
    if body.get("raw") or body.get("template"):
        return None
    return True if body.get("think") else None


def _larger(
    job: ClaimedJob, error: HostError, host_model: HostModel | None, window: int | None, clock: Clock
) -> Outcome | None:
    """Once more in a larger window, for a prompt that turned out longer than estimated; None where that is no use."""
    if error.code is not Code.CONTEXT_OVERFLOW or job.widened:
        return None
    key = widened(
        RunnerKey.parse(job.runner_key),
        window,
        error.message,
        job.request,
        thinking=host_model is not None and host_model.thinking,
        trained=None if host_model is None else host_model.trained_context,
    )
    if key is None:
        return None
    return Retried(error.code, error.message, clock.now(), charged=False, runner_key=key.text)


def _later(
    job: ClaimedJob, error: HostError, host_model: HostModel | None, window: int | None, clock: Clock
) -> Outcome:
    return _larger(job, error, host_model, window, clock) or _after(job, error, clock)


def _after(job: ClaimedJob, error: HostError, clock: Clock) -> Outcome:
    return after_failure(
        error,
        charged=job.charged,
        losses=job.losses,
        max_attempts=most_attempts(error.code, job.request, job.max_attempts),
        now=clock.now(),
        jitter=random.random() * 0.25,
    )
