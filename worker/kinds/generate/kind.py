"""What the kind ``generate`` says of itself."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from api_schemas.shapes import GENERATE
from worker.domain.attempts import Failed, Outcome, Retried
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply
from worker.errors import Code
from worker.kinds.base import Answer, Ask, Expected, Kind, Place
from worker.kinds.generate.request import PATH, ContextTurns, context_problem, prompt_tokens, wire_request
from worker.kinds.speech import judged
from worker.kinds.structured import REPAIRS, ask_structured
from worker.policy.context_window import answer_tokens
from worker.replies.prompt_fit import least_tokens_of
from worker.replies.read import read_reply
from worker.replies.stream import TextReader

ELSEWHERE = timedelta(seconds=5)
"""Until a job may be tried again whose conversation was begun with other weights than this host has."""


class Generate(Kind):
    """A prompt that is answered with a text."""

    name = "generate"
    shape = GENERATE

    def expected(self, prompt: str, request: Mapping[str, Any], *, thinking: bool) -> Expected:
        return Expected(prompt_tokens(prompt, request), answer_tokens(request, thinking=thinking))

    def needs(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        needs = ["thinking"] if request.get("think") else []
        if request.get("images"):
            needs.append("vision")
        return tuple(needs)

    def answer(self, jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> Sequence[Answer]:
        (job,) = jobs
        return [_refused(job, place) or _answered(job, ask, place)]


def _refused(job: ClaimedJob, place: Place) -> Outcome | None:
    """Why the job is not sent to these weights; None where it is."""
    if job.carries and job.request.get("context") == []:
        return Failed(
            Code.PARENT_FAILED, "the job that it follows has an answer, and no context to go on from"
        )
    problem = context_problem(job.request, place.model)
    if problem is None:
        return None
    if job.carries and job.charged + 1 < job.max_attempts:
        # another host may have the weights of its parent
        return Retried(Code.CONTEXT_MISMATCH, problem, place.now + ELSEWHERE, charged=True)
    return Failed(Code.CONTEXT_MISMATCH, problem)


def _answered(job: ClaimedJob, ask: Ask, place: Place) -> Outcome:
    def send(body: Mapping[str, Any]) -> Reply:
        return ask(PATH, {**body, "stream": True}, ReplyReader())

    body = wire_request(
        job.model, job.prompt, job.request, place.model, window=place.window, num_ctx=place.num_ctx
    )
    read_in = place.window or body["options"].get("num_ctx")
    problem = None
    if body.get("format"):
        repairs = job.request.get("repairs", REPAIRS)
        structured = ask_structured(
            body, send, ContextTurns(), repairs=repairs, window=read_in, families=place.families
        )
        result, problem = structured.result, structured.problem
    else:
        result = read_reply(
            send(body),
            expects_reasoning=_expects_reasoning(body),
            guarded=body.get("truncate") is False,
            window=read_in,
            least_tokens=least_tokens_of(body),
            families=place.families,
        )
    return judged(result, body, job.request, problem=problem, window=read_in, fail_on_cut=place.fail_on_cut)


def _expects_reasoning(body: Mapping[str, object]) -> bool | None:
    """Whether the text may hold reasoning; None where the producer's own template or ``raw`` leaves it open."""
    if body.get("raw") or body.get("template"):
        return None
    return True if body.get("think") else None


class ReplyReader(TextReader):
    """``response`` and ``thinking`` stand in the record itself."""

    def _pieces(self, record: dict[str, Any], line: bytes) -> tuple[Any, Any]:
        return record.get("response", ""), record.get("thinking", "")
