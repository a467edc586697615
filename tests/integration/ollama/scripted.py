"""A host that does what a script says, byte for byte: for everything that no honest server does."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Send:
    data: bytes


@dataclass(frozen=True)
class Drip:
    """One piece after another, ``seconds`` apart, until the client is gone."""

    data: bytes
    seconds: float
    at_once: int = 1


@dataclass(frozen=True)
class Flood:
    """The same again and again until the client is gone."""

    data: bytes


@dataclass(frozen=True)
class Hang:
    """Say nothing more until the client is gone."""


@dataclass(frozen=True)
class Reset:
    """End the connection with RST."""


@dataclass(frozen=True)
class Close:
    """End the connection."""


@dataclass(frozen=True)
class StopListening:
    """From now on connections are refused."""


@dataclass(frozen=True)
class Await:
    """Go on when ``event`` is set."""

    event: threading.Event


@dataclass(frozen=True)
class Signal:
    event: threading.Event


Action = Signal | Send | Drip | Flood | Hang | Reset | Close | StopListening | Await


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedHost:
    url: str
    answer: Callable[[Request], Sequence[Action]]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    read_after: float = 0.0
    client_gone: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _talks: list[tuple[threading.Thread, socket.socket]] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=(listener, client), daemon=True)
            self._talks.append((thread, client))
            thread.start()

    def _end(self) -> None:
        """Cut every connection and wait for the threads behind them."""
        self._stop.set()
        for thread, client in self._talks:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def _talk(self, listener: socket.socket, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, contextlib.suppress(OSError), client.makefile("rb") as file:
            self._stop.wait(self.read_after)
            while (request := _read_request(file)) is not None:
                self.requests.append(request)
                self.asked.set()
                for action in self.answer(request):
                    if not self._act(action, listener, client):
                        return

    def _act(self, action: Action, listener: socket.socket, client: socket.socket) -> bool:
        try:
            match action:
                case Send(data):
                    client.sendall(data)
                case Drip(data, seconds, at_once):
                    for start in range(0, len(data), at_once):
                        client.sendall(data[start : start + at_once])
                        if self._stop.wait(seconds):
                            return False
                case Flood(data):
                    while not self._stop.is_set():
                        client.sendall(data)
                case Hang():
                    client.recv(1)
                    self.client_gone.set()
                    return False
                case Await(event):
                    event.wait(10)
                case Signal(event):
                    event.set()
                case StopListening():
                    listener.shutdown(socket.SHUT_RDWR)
                    listener.close()
                case Reset():
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return False
                case Close():
                    client.shutdown(socket.SHUT_RDWR)
                    self.closed += 1
                    return False
        except OSError:
            self.client_gone.set()
            return False
        return True


@contextlib.contextmanager
def scripted(
    answer: Callable[[Request], Sequence[Action]] | Sequence[Action], *, read_after: float = 0.0
) -> Iterator[ScriptedHost]:
    """A host on a free port of this machine. ``answer``: what it does for a request, or for each of them.

    ``read_after``: seconds before it begins to read what is sent.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        decide = answer if callable(answer) else lambda _: answer
        host = ScriptedHost(f"http://127.0.0.1:{port}", decide, read_after=read_after)
        thread = threading.Thread(target=host._serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield host
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            host._end()


def _read_request(file: Any) -> Request | None:
    first = file.readline().decode()
    if not first:
        return None
    method, path, _ = first.split(" ", 2)
    headers: dict[str, str] = {}
    while (line := file.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    content = file.read(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(content) if content else None)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def record(response: str = "", **fields: Any) -> bytes:
    """A line of a stream, as a chunk of the body."""
    return chunk(json.dumps({"model": "m", "response": response, "done": False} | fields).encode() + b"\n")


DONE = record(done=True, done_reason="stop", eval_count=2)


def streamed(*words: str) -> list[Action]:
    """A whole reply."""
    return [Send(STREAM_HEAD + b"".join(map(record, words)) + DONE + END)]


def body(
    value: Any, *, status: int = 200, content_type: str = "application/json; charset=utf-8"
) -> list[Action]:
    """A whole response with a length; ``value`` is bytes, or becomes JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status} Any\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return [Send(head.encode() + content)]
