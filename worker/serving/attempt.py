"""One try of jobs that share a call, as values passed through named steps: prepare, ask, judge."""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from worker.clock import Clock
from worker.domain.attempts import Failed, Finish, Held, Outcome, Retried
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.runners import RunnerKey
from worker.door.combine import combined_prompt
from worker.errors import CODES, Code, HostError, in_words
from worker.kinds.base import Answer, Expected, Place
from worker.kinds.registry import kind_of
from worker.kinds.speech import Unanswered
from worker.ollama.client import Call
from worker.policy.context_window import bucket, widened
from worker.policy.retry import after_failure, most_attempts
from worker.records import record
from worker.replies.families import FAMILIES, Marks
from worker.replies.stream import Reader

_log = logging.getLogger("caravan")

T = TypeVar("T")


class Ask(Protocol):
    """``OllamaHost.ask``."""

    def __call__(self, path: str, body: Mapping[str, Any], reader: Reader[T], call: Call) -> T: ...


@record
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


def attempt_jobs(
    jobs: Sequence[ClaimedJob],
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
) -> list[Ending]:
    """Ask the host once for all of ``jobs``, which are of one kind and runner; one ending for each, in their order.

    Every ending is an outcome; nothing is raised, whatever a host or a defect does. What the try took is shared out.
    """
    started_at, began = clock.now(), clock.monotonic()
    place = Place(
        started_at,
        host_model,
        window,
        num_ctx,
        fail_on_cut=fail_on_cut or any(job.fail_on_cut for job in jobs),
        families=families,
    )
    answers = _answers(jobs, _Conversation(ask, call), place)
    ended_at, seconds = clock.now(), (clock.monotonic() - began) / len(jobs)
    endings = []
    for job, answer in zip(jobs, answers, strict=True):
        error = answer if isinstance(answer, HostError) else None
        finish = Finish(
            job_id=job.id,
            batch_id=job.batch_id,
            token=job.token,
            attempt=job.attempt,
            host=host,
            started_at=started_at,
            ended_at=ended_at,
            outcome=_outcome(job, answer, place, clock),
            digest=host_model.digest if host_model is not None else None,
            run_id=run_id,
        )
        endings.append(Ending(finish, error, seconds))
    return endings


def _answers(jobs: Sequence[ClaimedJob], conversation: "_Conversation", place: Place) -> list[Answer]:
    """What came of each job. One that cannot be asked as it stands ends here, and takes no other with it."""
    answers: dict[int, Answer] = {}
    ready: list[ClaimedJob] = []
    for job in jobs:
        try:
            prepared = _prepared(job, place)
        except Exception as error:
            answers[job.id] = _failure(error, [job])
        else:
            if isinstance(prepared, ClaimedJob):
                ready.append(prepared)
            else:
                answers[job.id] = prepared
    if ready:
        try:
            replies = kind_of(ready[0].kind).answer(ready, conversation.ask, place)
            answers.update(zip((job.id for job in ready), replies, strict=True))
        except Exception as error:
            answers.update(dict.fromkeys((job.id for job in ready), _failure(error, ready)))
    return [answers[job.id] for job in jobs]


def _failure(error: Exception, jobs: Sequence[ClaimedJob]) -> HostError:
    if isinstance(error, HostError):
        return error
    _log.error("defect while %s were asked", ", ".join(job.custom_id for job in jobs), exc_info=error)
    return HostError(Code.INTERNAL, in_words(error))


def _prepared(job: ClaimedJob, place: Place) -> ClaimedJob | Outcome:
    """The job with the answers that its prompt is made of; an outcome where they ask for a larger window first."""
    if "combine" not in job.request:
        return job
    prepared = replace(job, prompt=combined_prompt(job))
    larger = None if job.widened else _for_answers(prepared, place)
    if larger is None:
        return prepared
    return Retried(
        Code.CONTEXT_OVERFLOW,
        "the answers that it is made of are longer than was expected",
        place.now,
        charged=False,
        runner_key=larger.text,
    )


class _Conversation:
    """The requests of one try. They share one ``Call``: whoever cancels, or waits, means all of them."""

    def __init__(self, ask: Ask, call: Call) -> None:
        self._ask, self._call = ask, call
        self._began = False

    def ask(self, path: str, body: Mapping[str, Any], reader: Reader[T]) -> T:
        if self._began:
            self._call.again()
        self._began = True
        return self._ask(path, body, reader, self._call)


def _outcome(job: ClaimedJob, answer: Answer, place: Place, clock: Clock) -> Outcome:
    if not isinstance(answer, HostError):
        return answer
    if answer.code is Code.INTERNAL:
        return _after(job, answer, clock)
    outcome = _larger(job, answer, place, clock) or _after(job, _with_figures(job, answer, place), clock)
    if isinstance(answer, Unanswered) and isinstance(outcome, Failed):
        return replace(
            outcome, partial="", result=answer.result
        )  # a failure with its reply, which is worth reading
    return outcome


def _expected(job: ClaimedJob, place: Place) -> Expected:
    thinking = place.model is not None and place.model.thinking
    return kind_of(job.kind).expected(job.prompt, job.request, thinking=thinking)


def _for_answers(job: ClaimedJob, place: Place) -> RunnerKey | None:
    """The runner key with a window for what the prompt came to; None where it fits, or no larger one is to be had."""
    key = RunnerKey.parse(job.runner_key)
    options = dict(key.options)
    expected = _expected(job, place)
    trained = None if place.model is None else place.model.trained_context
    needed = bucket(expected.prompt + expected.answer, trained=trained)
    had = max(int(options.get("num_ctx", 0)), place.window or place.num_ctx or 0)
    if not key.at_least or needed <= had:
        return None
    grown = tuple((name, needed if name == "num_ctx" else value) for name, value in key.options)
    return replace(key, options=grown)


def _larger(job: ClaimedJob, error: HostError, place: Place, clock: Clock) -> Outcome | None:
    """Once more in a larger window, for a prompt that turned out longer than estimated; None where that is no use."""
    if error.code is not Code.CONTEXT_OVERFLOW or job.widened:
        return None
    key = widened(
        RunnerKey.parse(job.runner_key),
        place.window or place.num_ctx,
        error.message,
        answer=_expected(job, place).answer,
        trained=None if place.model is None else place.model.trained_context,
    )
    if key is None:
        return None
    return Retried(error.code, error.message, clock.now(), charged=False, runner_key=key.text)


def _with_figures(job: ClaimedJob, error: HostError, place: Place) -> HostError:
    """Of a prompt that is too long, how long it is, and whether a larger window would help."""
    window = error.numbers.get("n_ctx") or place.window or place.num_ctx
    if error.code is not Code.CONTEXT_OVERFLOW or isinstance(error, Unanswered) or not window:
        return error
    tokens = error.numbers.get("n_prompt_tokens")
    trained = None if place.model is None else place.model.trained_context
    length = f"about {_expected(job, place).prompt:,}" if tokens is None else f"{tokens:,}"
    most = f", the most that {job.model} takes" if trained is not None and window >= trained else ""
    message = f"{error.message}: {length} tokens, in a window of {window:,}{most}"
    return HostError(error.code, message, status=error.status, partial=error.partial, numbers=error.numbers)


def _after(job: ClaimedJob, error: HostError, clock: Clock) -> Outcome:
    return after_failure(
        error,
        charged=job.charged,
        losses=job.losses,
        max_attempts=most_attempts(error.code, job.request, job.max_attempts),
        now=clock.now(),
        jitter=random.random() * 0.25,
    )
