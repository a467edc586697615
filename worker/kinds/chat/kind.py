"""What the kind ``chat`` says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from api_schemas.shapes import CHAT
from worker.domain.attempts import Failed, Outcome
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply
from worker.errors import Code
from worker.kinds.base import Answer, Ask, Expected, Kind, Place
from worker.kinds.chat.request import PATH, MessageTurns, forced_call, prompt_tokens, wire_body
from worker.kinds.chat.tools import ask_with_tools
from worker.kinds.speech import judged
from worker.kinds.structured import REPAIRS, Structured, ask_structured
from worker.policy.context_window import answer_tokens
from worker.replies.prompt_fit import least_tokens_of
from worker.replies.read import read_reply
from worker.replies.stream import TextReader
from worker.replies.wording import bad_reply


class Chat(Kind):
    """A conversation whose next turn is asked for: a text, or calls of tools."""

    name = "chat"
    shape = CHAT

    def expected(self, prompt: str, request: Mapping[str, Any], *, thinking: bool) -> Expected:
        return Expected(prompt_tokens(request), answer_tokens(request, thinking=thinking))

    def needs(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        needs = ["thinking"] if request.get("think") else []
        if request.get("tools") and request.get("tool_choice") != "none":
            needs.append("tools")
        if any(message.get("images") for message in request.get("messages") or ()):
            needs.append("vision")
        return tuple(needs)

    def answer(self, jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> Sequence[Answer]:
        (job,) = jobs
        return [_answered(job, ask, place)]


def _answered(job: ClaimedJob, ask: Ask, place: Place) -> Outcome:
    def send(body: Mapping[str, Any]) -> Reply:
        return ask(PATH, {**body, "stream": True}, ChatReader())

    if job.carries and not job.request["messages"]:
        return Failed(Code.PARENT_FAILED, "the conversation that it follows is not there any more")
    body = wire_body(job, place.model, window=place.window, num_ctx=place.num_ctx)
    read_in = place.window or body["options"].get("num_ctx")
    repairs = job.request.get("repairs", REPAIRS)
    problem, code = None, Code.INVALID_OUTPUT
    if body.get("format"):
        structured = ask_structured(
            body, send, MessageTurns(), repairs=repairs, window=read_in, families=place.families
        )
        if "tools" in body:
            structured, code = _as_call(structured, job.request), Code.INVALID_TOOL_CALL
        result, problem = structured.result, structured.problem
    elif "tools" in body:
        structured = ask_with_tools(body, send, repairs=repairs, window=read_in, families=place.families)
        result, problem, code = structured.result, structured.problem, Code.INVALID_TOOL_CALL
    else:
        result = read_reply(
            send(body),
            expects_reasoning=True if body.get("think") else None,
            guarded=True,
            window=read_in,
            least_tokens=least_tokens_of(body),
            families=place.families,
        )
    if problem is not None and code is Code.INVALID_TOOL_CALL:
        return Failed(code, problem, result=result)
    return judged(result, body, job.request, problem=problem, window=read_in, fail_on_cut=place.fail_on_cut)


def _as_call(structured: Structured, request: Mapping[str, Any]) -> Structured:
    """An answer that was constrained to the arguments of a tool, as the call that it stands for."""
    result = structured.result
    if structured.problem is not None or result.tool_calls:
        return structured
    call = forced_call(request["tools"], request["tool_choice"], result.parsed)
    return Structured(replace(result, answer="", parsed=None, tool_calls=(call,)), None)


class ChatReader(TextReader):
    """``content``, ``thinking`` and ``tool_calls`` stand in the ``message`` of a record."""

    def _pieces(self, record: dict[str, Any], line: bytes) -> tuple[Any, Any]:
        message = record.get("message")
        if message is None:
            return "", ""
        if not isinstance(message, dict):
            raise bad_reply("a message that is no object", line)
        if message.get("tool_calls") is not None:
            self._keep_calls(message["tool_calls"], line)
        return message.get("content", ""), message.get("thinking", "")
