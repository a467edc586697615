"""What changes the models on a host: copy, delete, create, and blobs.

Source: ``server/images.go``, ``server/create.go``.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simulator import gojson
from simulator.bodies import BadRequest
from simulator.failures import Failed
from simulator.http import NDJSON, PLAIN_JSON, Reply
from simulator.models import LocalModel, NotFound
from simulator.names import BadName, ModelName, parse_name
from simulator.settings import HostSettings, SimulatedModel
from simulator.wording import error_body

if TYPE_CHECKING:
    from simulator.host import Host

QUANTIZATIONS = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")


def copy(host: "Host", body: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/copy``.

    Raises:
        BadRequest: a name is bad (400) or the source is missing (404).
    """
    source = named(body.get("source"), lambda text: f'source "{text}" is invalid')
    destination = named(body.get("destination"), lambda text: f'destination "{text}" is invalid')
    try:
        host.disk.add(destination, host.disk.get(source), host.clock.wall_ns())
    except NotFound:
        raise BadRequest(f'model "{body.get("source")}" not found', 404) from None
    reply.send(200, None, b"")


def delete(host: "Host", body: Mapping[str, Any], reply: Reply) -> None:
    """``DELETE /api/delete``; a model in memory stays there.

    Raises:
        BadRequest: no name (400), a bad one (400), or one that is not here (404).
    """
    text = body.get("model") or body.get("name")
    if not text:
        raise BadRequest("model is required")
    name = named(text, lambda text: f'name "{text}" is invalid')
    try:
        host.disk.remove(name)
    except NotFound:
        raise BadRequest(f"model '{text}' not found", 404) from None
    reply.send(200, None, b"")


def create(host: "Host", body: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/create`` from a model that is here. A parameter that no model has is stored like any other.

    Raises:
        BadRequest: a bad name.
    """
    name = named(body.get("model") or body.get("name"), lambda text: "invalid model name")
    if not body.get("from"):
        _refuse(body, reply, 400, "neither 'from' or 'files' was specified")
        return
    source = named(body.get("from"), lambda text: "invalid model name")
    quantization = str(body.get("quantize") or "").upper()
    try:
        base = host.disk.get(source)
    except NotFound:
        _refuse(body, reply, 500, f"pull model manifest: {why_not_there(host.settings, source)}")
        return
    if quantization and quantization not in QUANTIZATIONS:
        problem = (
            f"unsupported quantization type {quantization} - supported types are {', '.join(QUANTIZATIONS)}"
        )
        _refuse(body, reply, 500, problem)
        return
    here = host.disk.digests()
    parameters = {**base.parameters, **(body.get("parameters") or {})}
    model = changed(base, body, quantization)
    made = host.disk.add(
        name, base, host.clock.wall_ns(), model=model, parameters=parameters, parent=base.name.short
    )
    statuses = [
        {
            "status": f"{'using existing' if layer.digest in here else 'creating new'} layer sha256:{layer.digest}"
        }
        for layer in made.layers[:-1]
    ]
    statuses += [{"status": "writing manifest"}, {"status": "success"}]
    if body.get("stream") is False:
        reply.send(200, PLAIN_JSON, gojson.dumps(statuses[-1]).encode())
        return
    reply.start(200, NDJSON)
    for status in statuses:
        reply.chunk(gojson.dumps(status).encode() + b"\n")
    reply.finish()


def _refuse(body: Mapping[str, Any], reply: Reply, status: int, text: str) -> None:
    """An error before any line: in a body of its own, sent as the lines would have been."""
    if body.get("stream") is False:
        reply.send(status, PLAIN_JSON, error_body(text))
        return
    reply.start(status, PLAIN_JSON)
    reply.chunk(error_body(text))
    reply.finish()


def changed(base: LocalModel, body: Mapping[str, Any], quantization: str) -> SimulatedModel:
    """The model that a request makes of another: its weights, and what was sent in place of the rest."""
    changes: dict[str, Any] = {"weights": base.blob}
    if body.get("template"):
        changes |= {"template": body["template"], "untemplated": False}
    if body.get("system"):
        changes["system"] = body["system"]
    if licence := body.get("license"):
        changes["license"] = licence if isinstance(licence, str) else "\n".join(licence)
    if body.get("messages"):
        changes["messages"] = tuple((one["role"], one["content"]) for one in body["messages"])
    if quantization:
        changes |= {"quantization": quantization, "weights": f"{base.blob}-{quantization.lower()}"}
    return replace(base.model, **changes)


def blob(host: "Host", method: str, digest: str, content: bytes, reply: Reply) -> None:
    """``HEAD`` and ``POST /api/blobs/DIGEST``.

    Raises:
        BadRequest: what was sent has another digest.
        Failed: it is not there.
    """
    if method == "HEAD":
        if digest.removeprefix("sha256:") not in host.disk.digests() | host.disk.uploaded:
            raise Failed(404, f"blob {digest} not found")
        reply.send(200, None, b"")
        return
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise BadRequest(f'digest mismatch, expected "{digest}", got "{found}"')
    host.disk.uploaded.add(digest.removeprefix("sha256:"))
    reply.send(201, None, b"")


def why_not_there(settings: HostSettings, name: ModelName) -> str:
    """Why a pull or push fails: the registry lacks the model, nobody listens there, or nobody knows the name of that machine."""
    if name.host == settings.registry or (":" not in name.host and not settings.registry):
        return "file does not exist"
    path = f"{name.host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    if ":" in name.host:
        return f'Get "http://{path}": dial tcp {name.host}: connect: connection refused'
    return f'Get "https://{path}": dial tcp: lookup {name.host} on 127.0.0.53:53: no such host'


def named(text: object, otherwise: Callable[[str], str]) -> ModelName:
    """The name that a request sends.

    Raises:
        BadRequest: it is not valid.
    """
    try:
        return parse_name(str(text or ""))
    except BadName:
        raise BadRequest(otherwise(str(text or ""))) from None
