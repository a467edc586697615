"""``/v1``: the OpenAI-compatible routes, as far as they are thin coats over generate, chat, embed and tags.

Source: ``openai/openai.go``, ``middleware/openai.go``.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator import chat, gojson
from simulator import generate as generate_endpoint
from simulator.bodies import BadRequest, ChatRequest, GenerateRequest, Think
from simulator.embed import embeddings_of
from simulator.http import EVENTS, PLAIN_JSON, Reply, Request
from simulator.models import LocalModel, NotFound
from simulator.names import BadName, parse_name
from simulator.wording import Final, ReplyPart, logprobs_json

if TYPE_CHECKING:
    from simulator.host import Host

_OPTIONS: Mapping[str, str] = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}


class Unreadable(BadRequest):
    """A request that the layer itself refuses, before it asks the server."""


async def chat_completions(host: "Host", request: Request, reply: Reply) -> None:
    """``POST /v1/chat/completions``."""
    body = read_body(request.body)
    asked = ChatRequest(
        model=str(body.get("model") or ""),
        messages=tuple(_plain_message(one) for one in body.get("messages") or ()),
        stream=bool(body.get("stream")),
        format=_format(body.get("response_format")),
        options=_options(body),
        think=_think(body),
        tools=tuple(one for one in body.get("tools") or () if isinstance(one, dict)),
        logprobs=bool(body.get("logprobs")),
        top_logprobs=int(body.get("top_logprobs") or 0),
    )
    if not asked.messages:
        raise Unreadable("[] is too short - 'messages'")
    wording = _OpenAIWording(host, asked.model, body, chat=True)
    await chat.serve(host, host.disk, asked, wording, reply)


async def completions(host: "Host", request: Request, reply: Reply) -> None:
    """``POST /v1/completions``."""
    body = read_body(request.body)
    asked = GenerateRequest(
        model=str(body.get("model") or ""),
        prompt=str(body.get("prompt") or ""),
        suffix=str(body.get("suffix") or ""),
        stream=bool(body.get("stream")),
        options=_options(body),
    )
    wording = _OpenAIWording(host, asked.model, body, chat=False)
    await generate_endpoint.serve(host, host.disk, asked, wording, reply, context=False)


async def embeddings(host: "Host", request: Request, reply: Reply) -> None:
    """``POST /v1/embeddings``."""
    body = read_body(request.body)
    found = await embeddings_of(host, body)
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "embedding": _packed(one) if packed else one, "index": place}
        for place, one in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    _send(reply, {"object": "list", "data": data, "model": body.get("model"), "usage": usage})


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def model(host: "Host", text: str, reply: Reply) -> None:
    """``GET /v1/models/NAME``.

    Raises:
        BadRequest: it is not there.
    """
    try:
        name = parse_name(text)
        _send(reply, _model(host.disk.get(name)))
    except (BadName, NotFound):
        shown = text if host.settings.line == "O" else f"{text}:latest"
        raise BadRequest(f"model '{shown}' not found", 404) from None


def _model(model: LocalModel) -> dict[str, Any]:
    return {
        "id": model.name.short,
        "object": "model",
        "created": model.modified_ns // 1_000_000_000,
        "owned_by": model.name.namespace,
    }


async def models(host: "Host", request: Request, reply: Reply) -> None:
    """``GET /v1/models``."""
    newest_first = sorted(host.disk, key=lambda model: model.modified_ns, reverse=True)
    _send(reply, {"object": "list", "data": [_model(model) for model in newest_first]})


def openai_error(status: int, text: str) -> bytes:
    """An error as these routes word it."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return gojson.dumps({"error": {"message": text, "type": kind, "param": None, "code": None}}).encode()


class _OpenAIWording:
    """Chunks and completions with choices and usage."""

    stream_type = EVENTS
    whole_type = PLAIN_JSON

    def __init__(self, host: "Host", model: str, body: Mapping[str, Any], *, chat: bool) -> None:
        self._model = model
        self._chat = chat
        self._line = host.settings.line
        self._created = host.clock.wall_ns() // 1_000_000_000
        self._number = zlib.crc32(f"{host.counters.requests}/{host.settings.seed}".encode()) % 999
        self._usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._first = True
        self._called = False
        self.quiet = chat

    def chunk(self, part: ReplyPart) -> bytes:
        return self._event([self._choice_chunk(part, None)])

    def last(self, final: Final) -> bytes:
        events = self._event([self._choice_chunk(ReplyPart(""), self._reason(final))])
        if self._usage:
            events += self._event([], usage=_usage(final))
        return events + b"data: [DONE]\n\n"

    def whole(self, part: ReplyPart, final: Final | None) -> bytes:
        choice: dict[str, Any] = {"index": 0}
        if self._chat:
            choice["message"] = {"role": "assistant", "content": part.response}
            if part.thinking:
                choice["message"]["reasoning"] = part.thinking
            if part.calls:
                self._called = True
                choice["message"]["tool_calls"] = _calls(part.calls)
        else:
            choice = {"text": part.response, "index": 0}
        choice["finish_reason"] = self._reason(final) if final else None
        if part.logprobs:
            choice["logprobs"] = {"content": json.loads(logprobs_json(part.logprobs))}
        value = self._head(chunk=False) | {"choices": [choice], "usage": _usage(final or Final(""))}
        return gojson.dumps(value).encode() + b"\n"

    def brief(self, done_reason: str) -> bytes:
        return self.whole(ReplyPart(""), Final(done_reason))

    def error(self, text: str, status: int) -> bytes:
        # The real layer decodes an error line as an empty answer: the text is lost, the stream ends without [DONE].
        return self.chunk(ReplyPart("")).rstrip(b"\n") if status == 200 else openai_error(status, text)

    def _choice_chunk(self, part: ReplyPart, reason: str | None) -> dict[str, Any]:
        if not self._chat:
            return {"text": part.response, "index": 0, "finish_reason": reason}
        delta: dict[str, Any] = {}
        if self._line == "O" or self._first:
            delta["role"] = "assistant"
        if self._line == "O" or part.response:
            delta["content"] = part.response
        if part.thinking:
            delta["reasoning"] = part.thinking
        if part.calls:
            self._called = True
            delta |= {"content": "", "tool_calls": _calls(part.calls)}
        self._first = False
        return {"index": 0, "delta": delta, "finish_reason": reason}

    def _reason(self, final: Final) -> str:
        return "tool_calls" if self._called else final.done_reason

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        value = self._head(chunk=True) | {"choices": choices} | more
        if not self._chat:  # in another order
            value |= {name: value.pop(name) for name in ("model", "system_fingerprint")}
        return b"data: " + gojson.dumps(value).encode() + b"\n\n"

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self._chat else "text_completion"
        return {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{self._number}",
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": "fp_ollama",
        }


def _calls(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "index": call["function"]["index"],
            "type": "function",
            "function": {
                "name": call["function"]["name"],
                "arguments": gojson.dumps(call["function"]["arguments"]),
            },
        }
        for call in calls
    ]


def _usage(final: Final) -> dict[str, int]:
    return {
        "prompt_tokens": final.prompt_tokens,
        "completion_tokens": final.answer_tokens,
        "total_tokens": final.prompt_tokens + final.answer_tokens,
    }


def read_body(body: bytes) -> dict[str, Any]:
    """The object that a body is. Raises BadRequest."""
    try:
        value = gojson.loads(body)
    except gojson.BadJson as error:
        raise BadRequest(str(error)) from None
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {gojson.kind(value)} into Go value of type openai.Request")
    return value


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Temperature and top_p are 1.0 here where nothing is said; no num_ctx, no keep_alive, no top_k."""
    if isinstance(body.get("temperature"), str):
        raise Unreadable(
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.temperature of type float64"
        )
    options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}
    options |= {ours: body[theirs] for theirs, ours in _OPTIONS.items() if body.get(theirs) is not None}
    stop = body.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options


def _format(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    match value.get("type"):
        case "json_object":
            return "json"
        case "json_schema":
            return (value.get("json_schema") or {}).get("schema")
        case _:
            return None


def _think(body: Mapping[str, Any]) -> Think | None:
    effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
    if effort is None:
        return None
    return Think(False) if effort == "none" else Think(True, str(effort))


def _plain_message(message: Any) -> dict[str, Any]:
    """A message with its content as one text; parts that are text are joined."""
    if not isinstance(message, dict):
        raise BadRequest("json: cannot unmarshal into Go struct field ChatCompletionRequest.messages")
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            url = (part.get("image_url") or {}).get("url", "") if isinstance(part, dict) else ""
            if url.startswith("http"):
                raise Unreadable(
                    "image URLs are not currently supported, please use base64 encoded data instead"
                )
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return {"role": message.get("role"), "content": content}


def _send(reply: Reply, value: Any) -> None:
    reply.send(200, PLAIN_JSON, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
