"""``POST /v1/responses``, as far as it was recorded: a text in, a text out, whole or as events.

Source: ``openai/responses.go``, ``middleware/openai.go``. The reply repeats ``background``, and its answer comes at once.
"""

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator import chat, gojson
from simulator.bodies import BadRequest, ChatRequest
from simulator.http import EVENTS, PLAIN_JSON, Reply, Request
from simulator.v1 import openai_error, read_body
from simulator.wording import Final, ReplyPart

if TYPE_CHECKING:
    from simulator.host import Host


async def responses(host: "Host", request: Request, reply: Reply) -> None:
    """Answer an input, which is a text or a list of messages."""
    body = read_body(request.body)
    numbers = {ours: body.get(theirs) for theirs, ours in _OPTIONS.items()}
    question = ChatRequest(
        model=str(body.get("model") or ""),
        messages=tuple(_messages(body)),
        stream=bool(body.get("stream")),
        options={"temperature": 1.0, "top_p": 1.0}
        | {name: value for name, value in numbers.items() if value is not None},
    )
    await chat.serve(host, host.disk, question, _ResponsesWording(host, body), reply)


_OPTIONS: Mapping[str, str] = {
    "max_output_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
}


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    sent = body.get("input")
    if isinstance(sent, str):
        return [*messages, {"role": "user", "content": sent}]
    if not isinstance(sent, list) or not all(isinstance(item, dict) for item in sent):
        raise BadRequest("input must be a string or array")
    return [
        *messages,
        *({"role": item.get("role"), "content": _text(item.get("content"))} for item in sent),
    ]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return str(content or "")


class _ResponsesWording:
    """A response as one object; streamed, the events that lead to it. Events are Go maps: their keys are sorted."""

    stream_type = EVENTS
    whole_type = PLAIN_JSON
    quiet = True

    def __init__(self, host: "Host", body: Mapping[str, Any]) -> None:
        self._host, self._body = host, body
        self._number = zlib.crc32(f"{host.counters.requests}/{host.settings.seed}".encode()) % 1_000_000
        self._sequence = 0
        self._text = ""

    def chunk(self, part: ReplyPart) -> bytes:
        began = b"" if self._sequence else self._beginning()
        self._text += part.response
        if not part.response:
            return began
        return began + self._event("output_text.delta", **self._place(), delta=part.response, logprobs=[])

    def last(self, final: Final) -> bytes:
        events = b"" if self._sequence else self._beginning()
        events += self._event("output_text.done", **self._place(), text=self._text, logprobs=[])
        events += self._event("content_part.done", **self._place(), part=_content(self._text))
        events += self._event("output_item.done", item=self._message(final), output_index=0)
        return events + self._event("completed", response=self._response(final))

    def whole(self, part: ReplyPart, final: Final | None) -> bytes:
        self._text = part.response
        return gojson.dumps(self._response(final or Final(""))).encode() + b"\n"

    def brief(self, done_reason: str) -> bytes:
        return self.whole(ReplyPart(""), Final(done_reason))

    def error(self, text: str, status: int) -> bytes:
        return b"" if status == 200 else openai_error(status, text)

    def _beginning(self) -> bytes:
        return b"".join(
            (
                self._event("created", response=self._response(None)),
                self._event("in_progress", response=self._response(None)),
                self._event("output_item.added", item=self._message(None), output_index=0),
                self._event("content_part.added", **self._place(), part=_content("")),
            )
        )

    def _event(self, kind: str, **values: Any) -> bytes:
        name = f"response.{kind}"
        event = values | {"sequence_number": self._sequence, "type": name}
        self._sequence += 1
        return f"event: {name}\ndata: {gojson.dumps(_ordered(event))}\n\n".encode()

    def _place(self) -> dict[str, Any]:
        return {"content_index": 0, "output_index": 0, "item_id": f"msg_{self._number}"}

    def _message(self, final: Final | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self._number}",
            "type": "message",
            "status": "in_progress" if final is None else "completed",
            "role": "assistant",
            "content": [] if final is None else [_content(self._text)],
        }

    def _response(self, final: Final | None) -> dict[str, Any]:
        """Without ``final`` it has just begun."""
        at = self._host.clock.wall_ns() // 1_000_000_000
        body = self._body
        return {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": at,
            "completed_at": None if final is None else at,
            "status": "in_progress" if final is None else "completed",
            "incomplete_details": None,
            "model": body.get("model"),
            "previous_response_id": None,
            "instructions": body.get("instructions"),
            "output": [] if final is None else [self._message(final)],
            "error": None,
            "tools": [],
            "tool_choice": "auto",
            "truncation": "disabled",
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}},
            "top_p": body.get("top_p", 1),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "temperature": body.get("temperature", 1),
            "reasoning": None,
            "usage": None if final is None else _usage(final),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": False,
            "background": bool(body.get("background")),
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }


def _content(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(final: Final) -> dict[str, Any]:
    return {
        "input_tokens": final.prompt_tokens,
        "output_tokens": final.answer_tokens,
        "total_tokens": final.prompt_tokens + final.answer_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            return {name: _ordered(value[name]) for name in sorted(value)}
        case list():
            return [_ordered(item) for item in value]
        case _:
            return value
