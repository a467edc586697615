"""What changes the models on a host: copy, delete, create, pull, push.

There is no registry behind a simulated host: a pull succeeds for what the host's ``pullable`` models name, and
fails like one whose registry refuses for anything else. Source: ``server/images.go``, ``server/create.go``.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from simulator import gojson
from simulator.bodies import BadRequest
from simulator.http import JSON, NDJSON, PLAIN_JSON, Reply
from simulator.models import NotFound, digest_of
from simulator.names import BadName, ModelName, parse_name
from simulator.wording import error_body

if TYPE_CHECKING:
    from simulator.host import Host

PROGRESS_LINES = 5


def copy(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/copy``.

    Raises:
        BadRequest: a name is bad (400) or the source is missing (404).
    """
    source = _name(sent.get("source"), lambda text: f'source "{text}" is invalid')
    destination = _name(sent.get("destination"), lambda text: f'destination "{text}" is invalid')
    try:
        host.disk.add(destination, host.disk.get(source), host.clock.wall_ns())
    except NotFound:
        raise BadRequest(f'model "{sent.get("source")}" not found', 404) from None
    reply.send(200, None, b"")


def delete(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``DELETE /api/delete``; a model in memory stays there.

    Raises:
        BadRequest: no name (400), a bad one (400), or one that is not here (404).
    """
    text = sent.get("model") or sent.get("name")
    if not text:
        raise BadRequest("model is required")
    name = _name(text, lambda text: f'name "{text}" is invalid')
    try:
        host.disk.remove(name)
    except NotFound:
        raise BadRequest(f"model '{text}' not found", 404) from None
    reply.send(200, None, b"")


def create(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/create`` from a model that is here.

    Raises:
        BadRequest: a bad name, nothing to create from, or that is missing.
    """
    name = _name(sent.get("model") or sent.get("name"), lambda text: "invalid model name")
    if not sent.get("from"):
        raise BadRequest("neither 'from' or 'files' was specified")
    base = host.disk.get(_name(sent.get("from"), lambda text: "invalid model name"))
    changes: dict[str, Any] = {"parameters": {**base.parameters, **(sent.get("parameters") or {})}}
    host.disk.add(name, base, host.clock.wall_ns(), **changes)
    layer = digest_of(repr(sorted(changes["parameters"].items())))
    statuses = [
        {"status": f"using existing layer sha256:{digest_of(base.blob)}"},
        {"status": f"using existing layer sha256:{digest_of(base.template_source)}"},
        {"status": f"creating new layer sha256:{layer}"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    if sent.get("stream") is False:
        reply.send(200, PLAIN_JSON, gojson.dumps(statuses[-1]).encode())
        return
    reply.start(200, NDJSON)
    for status in statuses:
        reply.chunk(gojson.dumps(status).encode() + b"\n")
    reply.finish()


async def pull(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/pull``: progress lines, then success; or, the first line being out, 200 and an error line.

    Raises:
        BadRequest: a bad name.
    """
    text = str(sent.get("model") or sent.get("name") or "")
    name = _name(text, lambda text: "invalid model name")
    stream = sent.get("stream") is not False
    try:
        known = host.pullable.get(name)
    except NotFound:
        error = f"pull model manifest: {_why_not(name)}"
        if not stream:
            reply.send(500, PLAIN_JSON, error_body(error))
            return
        reply.start(200, NDJSON)
        reply.chunk(b'{"status":"pulling manifest"}\n')
        reply.chunk(error_body(error) + b"\n")
        reply.finish()
        return
    if stream:
        reply.start(200, NDJSON)
        reply.chunk(b'{"status":"pulling manifest"}\n')
    digest = digest_of(known.blob)
    for step in range(PROGRESS_LINES + 1):
        await host.clock.sleep(known.model.size_bytes / host.settings.pull_bytes_per_second / PROGRESS_LINES)
        if stream:
            total = known.model.size_bytes
            progress = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": total}
            if step:
                progress["completed"] = total * step // PROGRESS_LINES
            reply.chunk(gojson.dumps(progress).encode() + b"\n")
    host.disk.add(name, known, host.clock.wall_ns())
    if not stream:
        reply.send(200, PLAIN_JSON, b'{"status":"success"}')
        return
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        reply.chunk(gojson.dumps({"status": status}).encode() + b"\n")
    reply.finish()


def push(host: "Host", sent: Mapping[str, Any], reply: Reply) -> None:
    """``POST /api/push``: nothing takes it.

    Raises:
        BadRequest: no model is named.
    """
    text = str(sent.get("model") or sent.get("name") or "")
    if not text:
        raise BadRequest("model is required")
    name = _name(text, lambda text: "invalid model name")
    if sent.get("stream") is False:
        reply.send(500, JSON, error_body(_why_not(name)))
        return
    reply.start(200, NDJSON)
    reply.chunk(b'{"status":"retrieving manifest"}\n')
    reply.chunk(error_body(_why_not(name)) + b"\n")
    reply.finish()


def _why_not(name: ModelName) -> str:
    """Why a registry does not answer: nobody listens there, or it does not have the model."""
    if ":" not in name.host:
        return "file does not exist"
    url = f"http://{name.host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    return f'Get "{url}": dial tcp {name.host}: connect: connection refused'


def _name(text: object, otherwise: Callable[[str], str]) -> ModelName:
    try:
        return parse_name(str(text or ""))
    except BadName:
        raise BadRequest(otherwise(str(text or ""))) from None
