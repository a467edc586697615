"""How an answer is put into bytes: the JSON of ``/api/generate`` and ``/api/chat``, key for key.

Source: ``api/types.go GenerateResponse``, ``ChatResponse``: zero values are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simulator import gojson
from simulator.clock import Clock
from simulator.http import JSON, NDJSON
from simulator.runner import LogProb


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """One chunk of an answer, split."""

    response: str
    thinking: str = ""
    logprobs: Sequence[LogProb] = ()
    calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Final:
    """The end of an answer. Durations are in nanoseconds."""

    done_reason: str
    total: int = 0
    load: int = 0
    prompt_tokens: int = 0
    prompt: int = 0
    answer_tokens: int = 0
    answer: int = 0
    context: Sequence[int] | None = None


class Wording(Protocol):
    """The bytes of one kind of reply."""

    @property
    def stream_type(self) -> str: ...

    @property
    def whole_type(self) -> str: ...

    @property
    def quiet(self) -> bool:
        """Whether chunks without any text are left out."""
        ...

    def chunk(self, part: ReplyPart) -> bytes:
        """A chunk of a stream."""
        ...

    def last(self, final: Final) -> bytes:
        """The end of a stream."""
        ...

    def whole(self, part: ReplyPart, final: Final | None) -> bytes:
        """An answer in one piece; without ``final`` it was given up."""
        ...

    def brief(self, done_reason: str) -> bytes:
        """The reply to a load or an unload."""
        ...

    def error(self, text: str, status: int) -> bytes:
        """An error, as a line of a stream or a body of its own (the caller adds the line end)."""
        ...


def error_body(text: str) -> bytes:
    """``{"error": TEXT}`` as Ollama words it."""
    return f'{{"error":{gojson.string(text)}}}'.encode()


class GenerateWording:
    """``POST /api/generate``."""

    stream_type = NDJSON
    whole_type = JSON
    quiet = False

    def __init__(self, model: str, clock: Clock) -> None:
        self._prefix = f'{{"model":{gojson.string(model)},"created_at":"'
        self._clock = clock

    def chunk(self, part: ReplyPart) -> bytes:
        thinking = f',"thinking":{gojson.string(part.thinking)}' if part.thinking else ""
        logprobs = _logprobs(part.logprobs)
        return (
            f'{self._prefix}{self._clock.stamp()}","response":{gojson.string(part.response)}'
            f'{thinking},"done":false{logprobs}}}\n'
        ).encode()

    def last(self, final: Final) -> bytes:
        return self.whole(ReplyPart(""), final) + b"\n"

    def whole(self, part: ReplyPart, final: Final | None) -> bytes:
        thinking = f',"thinking":{gojson.string(part.thinking)}' if part.thinking else ""
        return (
            f'{self._prefix}{self._clock.stamp()}","response":{gojson.string(part.response)}'
            f"{thinking}{_ending(final)}{_logprobs(part.logprobs)}}}"
        ).encode()

    def brief(self, done_reason: str) -> bytes:
        return self.whole(ReplyPart(""), Final(done_reason))

    def error(self, text: str, status: int) -> bytes:
        return error_body(text)


class ChatWording:
    """``POST /api/chat``: the same with a message around it; no context."""

    stream_type = NDJSON
    whole_type = JSON
    quiet = True

    def __init__(self, model: str, clock: Clock) -> None:
        self._prefix = f'{{"model":{gojson.string(model)},"created_at":"'
        self._clock = clock

    def chunk(self, part: ReplyPart) -> bytes:
        return f'{self._message(part)},"done":false{_logprobs(part.logprobs)}}}\n'.encode()

    def last(self, final: Final) -> bytes:
        return self.whole(ReplyPart(""), final) + b"\n"

    def whole(self, part: ReplyPart, final: Final | None) -> bytes:
        return f"{self._message(part)}{_done(final)}{_logprobs(part.logprobs)}{_spent(final)}}}".encode()

    def brief(self, done_reason: str) -> bytes:
        return self.whole(ReplyPart(""), Final(done_reason))

    def error(self, text: str, status: int) -> bytes:
        return error_body(text)

    def _message(self, part: ReplyPart) -> str:
        calls = f',"tool_calls":{gojson.dumps(list(part.calls))}' if part.calls else ""
        thinking = f',"thinking":{gojson.string(part.thinking)}' if part.thinking else ""
        return (
            f'{self._prefix}{self._clock.stamp()}","message":{{"role":"assistant",'
            f'"content":{gojson.string(part.response)}{thinking}{calls}}}'
        )


def _ending(final: Final | None) -> str:
    return _done(final) + _spent(final)


def _done(final: Final | None) -> str:
    if final is None:
        return ',"done":false'
    return f',"done":true,"done_reason":"{final.done_reason}"' if final.done_reason else ',"done":true'


def _spent(final: Final | None) -> str:
    """What it took, and the context."""
    if final is None:
        return ""
    parts = []
    if final.context:
        parts.append(f',"context":[{",".join(map(str, final.context))}]')
    for name, value in (
        ("total_duration", final.total),
        ("load_duration", final.load),
        ("prompt_eval_count", final.prompt_tokens),
        ("prompt_eval_duration", final.prompt),
        ("eval_count", final.answer_tokens),
        ("eval_duration", final.answer),
    ):
        if value:
            parts.append(f',"{name}":{value}')
    return "".join(parts)


def _logprobs(logprobs: Sequence[LogProb]) -> str:
    if not logprobs:
        return ""
    return f',"logprobs":{logprobs_json(logprobs)}'


def logprobs_json(logprobs: Sequence[LogProb]) -> str:
    """The list that ``logprobs`` is."""
    return "[" + ",".join(map(_logprob, logprobs)) + "]"


def _logprob(logprob: LogProb) -> str:
    top = ""
    if logprob.top:
        top = ',"top_logprobs":[' + ",".join(f"{{{_token(*other)}}}" for other in logprob.top) + "]"
    return f"{{{_token(logprob.token, logprob.logprob)}{top}}}"


def _token(text: str, logprob: float) -> str:
    number = format(logprob, ".16g").replace("e-0", "e-") if logprob else "0"
    spelt = f',"bytes":[{",".join(str(byte) for byte in text.encode())}]' if text else ""
    return f'"token":{gojson.string(text)},"logprob":{number}{spelt}'
