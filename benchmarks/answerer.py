"""A host that answers at once: just enough of Ollama's wire for a client, as cheap as Python allows.

``python -m benchmarks.answerer --port 11501 --port 11502`` serves one host on each port until it is stopped. It has
no queue, no memory and no model; it is there so that whatever a benchmark measures is not the host.
"""

import argparse
import asyncio
import functools
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MODELS = ("bench:1b", "bench:3b")
WINDOW = 4096
TRAINED = 32_768
TEXT = (
    "The parcel left the depot on Monday, was scanned twice on the way and waits at the counter in Porto. "
    "The sender asked for a signature, so it could not be left at the door. "
    "Whoever comes for it should bring the slip and a document with the same name. "
    "It is kept for ten days and then goes back."
)
PIECES = 4
PROMPT_TOKENS = 110
OUTPUT_TOKENS = 70
SIZE = 1_300_000_000
_CREATED = "2026-11-30T21:00:00.000000000Z"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole."""

    method: str
    path: str
    body: bytes


def take_request(buffer: bytearray) -> Request | None:
    """Cut the first whole request off ``buffer``; None until it is all there. Raises ValueError for no HTTP.

    >>> buffer = bytearray(b"GET /api/ps HTTP/1.1\\r\\n\\r\\nGET")
    >>> take_request(buffer), bytes(buffer)
    (Request(method='GET', path='/api/ps', body=b''), b'GET')
    """
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = bytes(buffer[:head_end])
    method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
    length = _content_length(head)
    end = head_end + 4 + length
    if len(buffer) < end:
        return None
    body = bytes(buffer[head_end + 4 : end])
    del buffer[:end]
    return Request(method.decode(), path.decode(), body)


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(head[at + 17 :].split(b"\r\n", 1)[0])


class State:
    """What one answering host has loaded. ``answer`` is the whole host: a request in, bytes out."""

    def __init__(self, models: Sequence[str] = MODELS) -> None:
        self._models = tuple(models)
        self._loaded: dict[str, int] = {}
        self.generated = 0

    def answer(self, request: Request) -> bytes:
        match request.method, request.path:
            case "POST", "/api/generate":
                return self._generate(json.loads(request.body))
            case "GET", "/api/version":
                return whole({"version": "0.33.0"})
            case "GET", "/api/tags":
                return whole({"models": [_tag(name) for name in self._models]})
            case "GET", "/api/ps":
                return whole({"models": [_resident(name, window) for name, window in self._loaded.items()]})
            case "POST", "/api/show":
                return self._show(json.loads(request.body))
            case "GET", "/bench/state":
                return whole({"generated": self.generated, "loaded": list(self._loaded)})
            case _:
                return whole({"error": "404 page not found"}, status="404 Not Found")

    def _generate(self, fields: dict[str, Any]) -> bytes:
        model = fields.get("model")
        if model not in self._models:
            return whole({"error": f"model '{model}' not found"}, status="404 Not Found")
        if not fields.get("prompt"):
            return self._load(model, fields)
        self._loaded.setdefault(model, WINDOW)
        self.generated += 1
        return _streamed(model) if fields.get("stream", True) else _at_once(model)

    def _load(self, model: str, fields: dict[str, Any]) -> bytes:
        reason = "unload" if fields.get("keep_alive") == 0 else "load"
        if reason == "unload":
            self._loaded.pop(model, None)
        else:
            self._loaded[model] = (fields.get("options") or {}).get("num_ctx") or WINDOW
        answer = {
            "model": model,
            "created_at": _CREATED,
            "response": "",
            "done": True,
            "done_reason": reason,
        }
        return whole(answer)

    def _show(self, fields: dict[str, Any]) -> bytes:
        info = {"general.architecture": "bench", "bench.context_length": TRAINED}
        return whole(
            {
                "model_info": info,
                "capabilities": ["completion"],
                "details": _details(str(fields.get("model"))),
            }
        )


def whole(answer: dict[str, Any], *, status: str = "200 OK") -> bytes:
    """A response with its length, the connection kept."""
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@functools.lru_cache(maxsize=64)
def _streamed(model: str) -> bytes:
    """The reply as a stream of records, each a chunk of its own, all in one write."""
    step = -(-len(TEXT) // PIECES)
    records = [
        {
            "model": model,
            "created_at": _CREATED,
            "response": TEXT[start : start + step],
            "done": False,
        }
        for start in range(0, len(TEXT), step)
    ]
    records.append(_last(model, ""))
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


@functools.lru_cache(maxsize=64)
def _at_once(model: str) -> bytes:
    return whole(_last(model, TEXT))


def _last(model: str, response: str) -> dict[str, Any]:
    return {
        "model": model,
        "created_at": _CREATED,
        "response": response,
        "done": True,
        "done_reason": "stop",
        "context": [(n * 7919) % 32_000 for n in range(PROMPT_TOKENS + OUTPUT_TOKENS)],
        "total_duration": 1_400_000_000,
        "load_duration": 21_000_000,
        "prompt_eval_count": PROMPT_TOKENS,
        "prompt_eval_duration": 180_000_000,
        "eval_count": OUTPUT_TOKENS,
        "eval_duration": 1_150_000_000,
    }


def _details(name: str) -> dict[str, Any]:
    return {"family": name, "parameter_size": "1.2B", "context_length": TRAINED}


def _tag(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "size": SIZE,
        "digest": name.encode().hex().ljust(64, "0"),
        "details": _details(name),
        "capabilities": ["completion"],
    }


def _resident(name: str, window: int) -> dict[str, Any]:
    return {
        **_tag(name),
        "size_vram": SIZE,
        "context_length": window,
        "expires_at": "2318-01-01T00:00:00Z",
    }


class _Connection(asyncio.Protocol):
    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        try:
            while (request := take_request(self._buffer)) is not None:
                self._transport.write(self._state.answer(request))
        except ValueError:
            self._transport.close()


async def serve(ports: Sequence[int]) -> None:
    """Answer on these ports of 127.0.0.1 until SIGTERM or SIGINT; says ``ready`` once it listens."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers = []
    for port in ports:
        state = State()
        servers.append(await loop.create_server(functools.partial(_Connection, state), "127.0.0.1", port))
    print("ready", flush=True)
    await stop.wait()
    for server in servers:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, action="append", required=True, help="repeat for more hosts")
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
