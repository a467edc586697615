"""``POST /api/embed`` and ``/api/embeddings``: vectors that only depend on the text.

A text that is longer than the window is cut, or with ``truncate`` false the whole list is refused, whichever of it is too long.
A scripted model's vector is 1 at its last token, as that of the recorded ones. Source: ``server/routes.go
EmbedHandler``; H answers 501 for a model that generates.
"""

import asyncio
import hashlib
import math
import re
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator import gojson
from simulator.answers import options_of
from simulator.bodies import BadRequest
from simulator.durations import BadDuration, keep_alive_seconds
from simulator.failures import BUSY, Failed
from simulator.faults import Fault
from simulator.http import JSON, Reply
from simulator.mishaps import acted_out_instead
from simulator.models import LocalModel, NotFound
from simulator.names import BadName, parse_name
from simulator.runner import Runner
from simulator.scheduler import LoadFailed, QueueFull
from simulator.tokens import END, START
from simulator.wording import error_body

if TYPE_CHECKING:
    from simulator.host import Host

UNSUPPORTED = "This server does not support embeddings. Start it with `--embeddings`"
TOO_LONG = "the input length exceeds the context length"
_PIECE = re.compile(r"[\u3040-\u9fff]|\w{1,8}|[^\w\s]")
"""What an embedding model takes for a token, about: a short word, a part of a long one, a Chinese character, a sign."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors, how many tokens were read, and the durations in seconds."""

    vectors: Sequence[Sequence[float]]
    tokens: int
    total: float
    load: float


async def embed(host: "Host", body: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/embed``.

    Raises:
        BadRequest, Failed: it is refused.
    """
    texts = body.get("input") or ""
    fault = host.faults.strike(
        _short_name(body), "\n".join(map(str, texts)) if isinstance(texts, list) else str(texts)
    )
    if fault is not None and await _acted_out(host, fault, reply):
        return
    found = await embeddings_of(host, body)
    answer: dict[str, Any] = {"model": body.get("model"), "embeddings": found.vectors}
    if found.vectors:
        answer |= {
            "total_duration": max(1, int(found.total * 1e9)),
            "load_duration": max(1, int(found.load * 1e9)),
            "prompt_eval_count": found.tokens,
        }
    reply.send(200, JSON, gojson.dumps(answer).encode())


async def embeddings_of(host: "Host", body: Mapping[str, Any]) -> Embeddings:
    """Load the model and embed its input; an empty input only loads.

    Raises:
        BadRequest, Failed: it is refused.
    """
    model = _model(host, str(body.get("model") or ""))
    inputs = _inputs(body.get("input", body.get("prompt")))
    try:
        keep_alive = keep_alive_seconds(body.get("keep_alive"))
    except BadDuration as error:
        raise BadRequest(str(error)) from None
    began = host.clock.now()
    options = options_of(host, model, body.get("options"))
    try:
        loaded = await host.scheduler.grant(model, options.runner, keep_alive=keep_alive, shift=True)
    except QueueFull:
        host.counters.refused_503 += 1
        raise Failed(503, BUSY) from None
    except LoadFailed as error:
        raise Failed(500, str(error)) from None
    granted = host.clock.now()
    try:
        if not inputs:
            return Embeddings([], 0, 0.0, 0.0)
        if host.settings.line == "H" and "embedding" not in model.capabilities:
            raise Failed(501, UNSUPPORTED)
        cut = body.get("truncate") is not False
        window = loaded.runner.window.size
        encoded = [_fitting(_tokens(model, loaded.runner, text), window, cut=cut) for text in inputs]
        tokens = sum(map(len, encoded))
        host.counters.embed_calls += 1
        host.counters.embedded += len(inputs)
        await loaded.runner.process.work(tokens / model.model.prompt_tokens_per_second)
        size = _size(body.get("dimensions"), model.model.embedding_length)
        vectors = [_vector(model, one, size) for one in encoded]
        return Embeddings(vectors, tokens, host.clock.now() - began, granted - began)
    finally:
        host.scheduler.release(loaded)


def _inputs(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    inputs = [value] if isinstance(value, str) else value
    if not (isinstance(inputs, list) and all(isinstance(one, str) for one in inputs)):
        raise BadRequest("invalid input type")
    return inputs


def _tokens(model: LocalModel, runner: Runner, text: str) -> list[int]:
    if "embedding" not in model.capabilities:
        return [START, *runner.encode(text)]
    return [START, *(zlib.crc32(piece.encode()) for piece in _PIECE.findall(text.lower())), END]


def _fitting(tokens: list[int], window: int, *, cut: bool) -> list[int]:
    if len(tokens) <= window:
        return tokens
    if not cut:
        raise BadRequest(TOO_LONG)
    return [*tokens[: window - 1], tokens[-1]]


def _size(dimensions: Any, whole: int) -> int:
    """A number of dimensions that is no part of the model's is ignored."""
    return dimensions if isinstance(dimensions, int) and 0 < dimensions < whole else whole


def _short_name(body: Mapping[str, Any]) -> str:
    try:
        return parse_name(str(body.get("model") or "")).short
    except BadName:
        return ""


async def _acted_out(host: "Host", fault: Fault, reply: Reply) -> bool:
    """Act out a fault; an answer that is no stream breaks off before anything of it was sent."""
    match fault.kind:
        case "crash":
            host.clock.loop.call_soon(host.kill)
            await host.clock.loop.create_future()
        case "cut" | "eof":
            reply.break_off()
            return True
        case "hang":
            await (asyncio.sleep(fault.seconds) if fault.seconds else host.clock.loop.create_future())
            return False
        case "error_line" | "runner_death":
            raise Failed(500, fault.text or "the runner has died")
        case "says":
            reply.send(200, JSON, fault.text.encode())
            return True
    return await acted_out_instead(fault, reply, lambda text, status: error_body(text))


def _model(host: "Host", name: str) -> LocalModel:
    try:
        return host.disk.get(parse_name(name))
    except BadName as error:
        raise BadRequest(str(error)) from None
    except NotFound:
        raise BadRequest(f'model "{name}" not found, try pulling it first', 404) from None


def _vector(model: LocalModel, tokens: Sequence[int], size: int) -> list[float]:
    """A unit vector: of the last token for a scripted model, of the whole text for the others."""
    if model.model.script is not None:
        return [1 if place == tokens[-1] else 0 for place in range(size)]
    raw = array("i", hashlib.shake_128(f"{model.blob} {tokens}".encode()).digest(4 * size))
    scale = 1e8 / (math.hypot(*raw) or 1.0)
    return [round(number * scale) / 1e8 for number in raw]  # a fourth of the time of rounding to digits
