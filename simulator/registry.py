"""A registry of models, and how a host pulls from it and pushes to it.

A pull reports each layer many times a second and keeps what it has when it is broken off. The registry of a host has its
``pullable`` models, and takes pushes to the address in ``registry``; hosts that run together and name one address share it.
Source: ``server/download.go``, ``server/upload.go``, ``server/images.go``.
"""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from simulator import gojson
from simulator.bodies import BadRequest
from simulator.faults import Fault
from simulator.http import JSON, NDJSON, PLAIN_JSON, Reply
from simulator.library import named, why_not_there
from simulator.models import Layer, NotFound
from simulator.names import ModelName
from simulator.wording import error_body

if TYPE_CHECKING:
    from simulator.host import Host

TICK_SECONDS = 0.06
"""How often progress is reported."""


class TransferFailed(Exception):
    """A transfer that ends with an error line, or, where nothing was sent, with an error."""


class Broken(Exception):
    """A transfer whose connection breaks."""


async def pull(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/pull``: progress lines, then success; or, the first line being out, 200 and an error line.

    Raises:
        BadRequest: a bad name.
    """
    name = named(sent.get("model") or sent.get("name"), lambda text: "invalid model name")
    await _transfer(_pulled(host, name), sent, reply)


async def push(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/push``.

    Raises:
        BadRequest: no model is named, or with a bad name.
    """
    text = str(sent.get("model") or sent.get("name") or "")
    if not text:
        raise BadRequest("model is required")
    name = named(text, lambda text: "invalid model name")
    await _transfer(_pushed(host, name, secure=not sent.get("insecure")), sent, reply)


async def _transfer(steps: AsyncIterator[dict[str, Any]], sent: Mapping[str, Any], reply: Reply) -> None:
    """Send the steps as lines, or only the last of them."""
    stream = sent.get("stream") is not False
    if stream:
        reply.start(200, NDJSON)
    step: dict[str, Any] = {}
    try:
        async for step in steps:
            if stream:
                reply.chunk(gojson.dumps(step).encode() + b"\n")
    except Broken:
        if not reply.started:
            reply.start(200, JSON)
        reply.break_off()
        return
    except TransferFailed as error:
        if not stream:
            reply.send(500, PLAIN_JSON, error_body(str(error)))
            return
        reply.chunk(error_body(str(error)) + b"\n")
        reply.finish()
        return
    if not stream:
        reply.send(200, PLAIN_JSON, gojson.dumps(step).encode())
        return
    reply.finish()


async def _pulled(host: "Host", name: ModelName) -> AsyncIterator[dict[str, Any]]:
    yield {"status": "pulling manifest"}
    fault = host.faults.strike_pull(name.short)
    try:
        model = host.registry.get(name)
    except NotFound:
        raise TransferFailed(f"pull model manifest: {why_not_there(host.settings, name)}") from None
    here = host.disk.digests()
    told = 0
    for layer in model.layers:
        async for step in _arriving(host, layer, there=layer.digest in here):
            _strike(fault, told)
            told += 1
            yield step
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    host.disk.add(name, model, host.clock.wall_ns())
    for layer in model.layers:
        host.disk.begun.pop(layer.digest, None)
    yield {"status": "success"}


async def _arriving(host: "Host", layer: Layer, *, there: bool) -> AsyncIterator[dict[str, Any]]:
    """The lines of one layer, from what an earlier pull had of it on."""
    progress = {
        "status": f"pulling {layer.digest[:12]}",
        "digest": f"sha256:{layer.digest}",
        "total": layer.size,
    }
    if there:
        yield progress | {"completed": layer.size}
        return
    begun = host.disk.begun
    while True:
        have = begun.get(layer.digest, 0)
        # a host that never waits tells of each layer once, as one that is fast enough
        piece = (
            int(host.settings.pull_bytes_per_second * TICK_SECONDS)
            if host.settings.time_scale
            else layer.size
        )
        piece = min(layer.size - have, max(piece, 1))
        await host.clock.sleep(piece / host.settings.pull_bytes_per_second)
        # two pulls of one layer share what arrives
        begun[layer.digest] = min(layer.size, begun.get(layer.digest, 0) + piece)
        host.counters.pulled_bytes += piece
        yield progress | {"completed": begun[layer.digest]}
        if begun[layer.digest] >= layer.size:
            return


def _strike(fault: Fault | None, lines: int) -> None:
    """Let a fault of pulls strike before progress line ``lines``, counted from 0."""
    if fault is None or lines != fault.after_chunks:
        return
    if fault.kind == "pull_cut":
        raise Broken
    raise TransferFailed(fault.text or "max retries exceeded: unexpected EOF")


async def _pushed(host: "Host", name: ModelName, *, secure: bool) -> AsyncIterator[dict[str, Any]]:
    yield {"status": "retrieving manifest"}
    try:
        model = host.disk.get(name)
    except NotFound:
        path = f"{name.host}/{name.namespace}/{name.model}/{name.tag}"
        raise TransferFailed(f"open /models/manifests/{path}: no such file or directory") from None
    if name.host != host.settings.registry:
        raise TransferFailed(why_not_there(host.settings, name))
    if secure:
        blob = f"https://{name.host}/v2/{name.namespace}/{name.model}/blobs/sha256:{model.layers[0].digest}"
        raise TransferFailed(f'Head "{blob}": tls: first record does not look like a TLS handshake')
    there = host.registry.digests()
    for layer in model.layers:
        if layer.digest not in there:
            await host.clock.sleep(layer.size / host.settings.pull_bytes_per_second)
        yield {
            "status": f"pushing {layer.digest[:12]}",
            "digest": f"sha256:{layer.digest}",
            "total": layer.size,
            "completed": layer.size,
        }
    yield {"status": "pushing manifest"}
    host.registry.add(name, model, host.clock.wall_ns())
    yield {"status": "success"}
