"""``POST /api/embed`` and ``/api/embeddings``: vectors that only depend on the text.

A scripted model's vector is 1 at its last token, as that of the recorded ones. Source: ``server/routes.go
EmbedHandler``; H answers 501 for a model that generates.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.answers import options_of
from simulator.bodies import BadRequest
from simulator.durations import BadDuration, keep_alive_seconds
from simulator.failures import BUSY, Failed
from simulator.models import LocalModel, NotFound
from simulator.names import BadName, parse_name
from simulator.scheduler import LoadFailed, QueueFull
from simulator.tokens import START

if TYPE_CHECKING:
    from simulator.host import Host

UNSUPPORTED = "This server does not support embeddings. Start it with `--embeddings`"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors, how many tokens were read, and the durations in seconds."""

    vectors: Sequence[Sequence[float]]
    tokens: int
    total: float
    load: float


async def embed(host: "Host", sent: Mapping[str, Any]) -> dict[str, Any]:
    """``POST /api/embed``.

    Raises:
        BadRequest, Failed: it is refused.
    """
    found = await embeddings_of(host, sent)
    answer: dict[str, Any] = {"model": sent.get("model"), "embeddings": found.vectors}
    if found.vectors:
        answer |= {
            "total_duration": max(1, int(found.total * 1e9)),
            "load_duration": max(1, int(found.load * 1e9)),
            "prompt_eval_count": found.tokens,
        }
    return answer


async def embeddings_of(host: "Host", sent: Mapping[str, Any]) -> Embeddings:
    """Load the model and embed its input; an empty input only loads.

    Raises:
        BadRequest, Failed: it is refused.
    """
    given = sent.get("input", sent.get("prompt"))
    inputs = [given] if isinstance(given, str) else given
    inputs = [one for one in inputs if one] if isinstance(inputs, list) else inputs
    model = _model(host, str(sent.get("model") or ""))
    if inputs is not None and not (isinstance(inputs, list) and all(isinstance(one, str) for one in inputs)):
        raise BadRequest("invalid input type")
    try:
        keep_alive = keep_alive_seconds(sent.get("keep_alive"))
    except BadDuration as error:
        raise BadRequest(str(error)) from None
    began = host.clock.now()
    options = options_of(host, model, sent.get("options"))
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
        encoded = [[START, *loaded.runner.encode(one)] for one in inputs]
        tokens = sum(map(len, encoded))
        await loaded.runner.process.work(tokens / model.model.prompt_tokens_per_second)
        vectors = [_vector(model, one) for one in encoded]
        return Embeddings(vectors, tokens, host.clock.now() - began, granted - began)
    finally:
        host.scheduler.release(loaded)


def _model(host: "Host", sent: str) -> LocalModel:
    try:
        return host.disk.get(parse_name(sent))
    except BadName as error:
        raise BadRequest(str(error)) from None
    except NotFound:
        raise BadRequest(f'model "{sent}" not found, try pulling it first', 404) from None


def _vector(model: LocalModel, tokens: Sequence[int]) -> list[float]:
    """A unit vector: of the last token for a scripted model, of the whole text for the others."""
    size = model.model.embedding_length
    if model.model.script is not None:
        return [1 if place == tokens[-1] else 0 for place in range(size)]
    number = zlib.crc32(repr(tokens).encode())
    raw: list[float] = []
    for _ in range(size):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        raw.append((number >> 8) / 2**22 - 1.0)
    length = sum(one * one for one in raw) ** 0.5 or 1.0
    return [round(one / length, 7) for one in raw]
