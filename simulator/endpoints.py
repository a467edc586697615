"""Which path does what: Ollama's routes, and the simulator's own beside them.

Source: ``server/routes.go GenerateRoutes``.
"""

import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from simulator import gojson, library, registry, responses, v1
from simulator.bodies import BadRequest
from simulator.chat import chat
from simulator.embed import embed, embeddings_of
from simulator.failures import Failed
from simulator.generate import generate
from simulator.http import JSON, PLAIN_JSON, PLAIN_TEXT, TEXT, Reply, Request
from simulator.listing import ps, read_object, show, tags
from simulator.mishaps import fault_list
from simulator.wording import error_body

if TYPE_CHECKING:
    from simulator.host import Host

BLOBS, V1_MODELS = "/api/blobs/", "/v1/models/"
Endpoint = Callable[["Host", Request, Reply], Awaitable[None]]


async def dispatch(host: "Host", request: Request, reply: Reply) -> None:
    """Answer a request, whatever it is."""
    if not is_trusted(request.headers.get("host", ""), host.settings.bind):
        reply.send(403, None, b"")
        return
    method = "GET" if request.method == "HEAD" else request.method
    if request.path.startswith(V1_MODELS) and method == "GET":
        endpoint: Endpoint | None = _v1_model
    elif request.path.startswith(BLOBS) and request.method in ("HEAD", "POST"):
        endpoint = _blob
    else:
        endpoint = ROUTES.get((method, request.path))
    if endpoint is None:
        known = any(path == request.path for _, path in ROUTES)
        status, text = (405, b"405 method not allowed") if known else (404, b"404 page not found")
        reply.send(status, PLAIN_TEXT, text)
        return
    try:
        await endpoint(host, request, reply)
    except (BadRequest, Failed) as error:
        if isinstance(error, v1.Unreadable):
            reply.send(error.status, JSON, v1.openai_error(error.status, error.text))
        elif request.path.startswith("/v1/"):
            reply.send(error.status, PLAIN_JSON, v1.openai_error(error.status, error.text) + b"\n")
        else:
            reply.send(error.status, JSON, error_body(error.text))


@lru_cache(maxsize=256)
def is_trusted(header: str, bind: str) -> bool:
    """Whether a ``Host`` header may reach a server bound to ``bind`` (``allowedHostsMiddleware``).

    >>> is_trusted("localhost:11434", "127.0.0.1"), is_trusted("evil.example", "127.0.0.1")
    (True, False)
    """
    name = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    if not name or not _is_local_address(bind, loopback_only=True):
        return True
    if name in ("localhost", socket.gethostname()) or name.endswith((".localhost", ".local", ".internal")):
        return True
    return _is_local_address(name, loopback_only=False)


def _is_local_address(text: str, *, loopback_only: bool) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return address.is_loopback or (not loopback_only and (address.is_private or address.is_unspecified))


async def _generate(host: "Host", request: Request, reply: Reply) -> None:
    await generate(host, host.disk, request.body, reply)


async def _chat(host: "Host", request: Request, reply: Reply) -> None:
    await chat(host, host.disk, request.body, reply)


async def _embed(host: "Host", request: Request, reply: Reply) -> None:
    await embed(host, read_object(request.body), reply)


async def _embeddings(host: "Host", request: Request, reply: Reply) -> None:
    found = await embeddings_of(host, read_object(request.body))
    _send(reply, {"embedding": next(iter(found.vectors), [])})


async def _copy(host: "Host", request: Request, reply: Reply) -> None:
    library.copy(host, read_object(request.body), reply)


async def _delete(host: "Host", request: Request, reply: Reply) -> None:
    library.delete(host, read_object(request.body), reply)


async def _create(host: "Host", request: Request, reply: Reply) -> None:
    library.create(host, read_object(request.body), reply)


async def _pull(host: "Host", request: Request, reply: Reply) -> None:
    await registry.pull(host, read_object(request.body), reply)


async def _push(host: "Host", request: Request, reply: Reply) -> None:
    await registry.push(host, read_object(request.body), reply)


async def _blob(host: "Host", request: Request, reply: Reply) -> None:
    library.blob(host, request.method, request.path.removeprefix(BLOBS), request.body, reply)


async def _v1_model(host: "Host", request: Request, reply: Reply) -> None:
    v1.model(host, request.path.removeprefix(V1_MODELS), reply)


async def _alive(host: "Host", request: Request, reply: Reply) -> None:
    reply.send(200, TEXT, b"Ollama is running")


async def _version(host: "Host", request: Request, reply: Reply) -> None:
    reply.send(200, JSON, f'{{"version":"{host.settings.reported_version}"}}'.encode())


async def _ps(host: "Host", request: Request, reply: Reply) -> None:
    _send(reply, await ps(host))


async def _tags(host: "Host", request: Request, reply: Reply) -> None:
    _send(reply, tags(host))


async def _show(host: "Host", request: Request, reply: Reply) -> None:
    _send(reply, show(host, request.body))


async def _status(host: "Host", request: Request, reply: Reply) -> None:
    _send(reply, {"cloud": {"disabled": True, "source": "env"}})


async def _state(host: "Host", request: Request, reply: Reply) -> None:
    reply.send(200, JSON, json.dumps(host.state()).encode())


async def _faults(host: "Host", request: Request, reply: Reply) -> None:
    try:
        host.set_faults(fault_list(json.loads(request.body or b"[]")))
    except (ValueError, TypeError) as error:
        raise BadRequest(str(error)) from None
    _send(reply, {"faults": host.faults.to_json()})


async def _reset(host: "Host", request: Request, reply: Reply) -> None:
    host.counters.reset()
    _send(reply, {"status": "reset"})


def _send(reply: Reply, value: Any) -> None:
    reply.send(200, JSON, gojson.dumps(value).encode())


ROUTES: Mapping[tuple[str, str], Endpoint] = {
    ("GET", "/"): _alive,
    ("GET", "/api/version"): _version,
    ("GET", "/api/status"): _status,
    ("GET", "/api/tags"): _tags,
    ("GET", "/api/ps"): _ps,
    ("POST", "/api/show"): _show,
    ("POST", "/api/generate"): _generate,
    ("POST", "/api/chat"): _chat,
    ("POST", "/api/embed"): _embed,
    ("POST", "/api/embeddings"): _embeddings,
    ("POST", "/api/copy"): _copy,
    ("DELETE", "/api/delete"): _delete,
    ("POST", "/api/create"): _create,
    ("POST", "/api/pull"): _pull,
    ("POST", "/api/push"): _push,
    ("POST", "/v1/chat/completions"): v1.chat_completions,
    ("POST", "/v1/completions"): v1.completions,
    ("POST", "/v1/embeddings"): v1.embeddings,
    ("POST", "/v1/responses"): responses.responses,
    ("GET", "/v1/models"): v1.models,
    ("GET", "/simulator/state"): _state,
    ("POST", "/simulator/faults"): _faults,
    ("POST", "/simulator/reset"): _reset,
}
