"""How requests come in and replies go out: HTTP/1.1 over asyncio, as Go's server speaks it.

One request at a time on a connection, keep-alive, bodies by length or in chunks. A reply of up to 2,048 bytes has
a length, a longer or streamed one is chunked. When the client goes away, the task that answers it is cancelled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

MAX_HEAD_BYTES: Final = 1 << 20
MAX_BODY_BYTES: Final = 1 << 30
LENGTH_UP_TO: Final = 2_048
"""Go's server gives a length to a body that fits its buffer, and sends a longer one in chunks."""

JSON: Final = "application/json; charset=utf-8"
PLAIN_JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain; charset=utf-8"
PLAIN_TEXT: Final = "text/plain"
EVENTS: Final = "text/event-stream"

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_REASONS[499] = "status code 499"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as read from the wire; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keeps_alive: bool = True


class Reply:
    """What goes back. Lines written at one instant leave in one packet."""

    def __init__(self, connection: "Connection", *, head_only: bool, close: bool) -> None:
        self._connection = connection
        self._head_only = head_only
        self._close = close
        self._buffer: list[bytes] = []
        self._flush_due = False
        self.started = False
        self.ended = False

    def send(self, status: int, content_type: str | None, body: bytes, *, location: str = "") -> None:
        """A whole reply."""
        chunked = len(body) > LENGTH_UP_TO
        head = self._head(status, content_type, None if chunked else len(body), location)
        self.started = True
        if self._head_only:
            self._write(head)
        elif chunked:
            self._write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body))
        else:
            self._write(head + body)
        self._end()

    def start(self, status: int, content_type: str) -> None:
        """Begin a streamed reply."""
        self.started = True
        self._later(self._head(status, content_type, None, ""))

    def chunk(self, data: bytes) -> None:
        """One piece of a streamed reply; leaves with all others of this turn of the event loop."""
        self._later(b"%x\r\n%b\r\n" % (len(data), data))

    def raw(self, data: bytes) -> None:
        """Bytes as they are, for what no decent server sends."""
        self.started = True
        self._later(data)

    def finish(self) -> None:
        """End a streamed reply."""
        self._buffer.append(b"0\r\n\r\n")
        self._flush()
        self._end()

    async def drained(self) -> None:
        """Let others work, and wait until the client has taken most of what was written."""
        self._flush()
        await asyncio.sleep(0)
        await self._connection.drained()

    def break_off(self) -> None:
        """Cut the connection in the middle, after what was written so far has left."""
        self._flush()
        self.ended = True
        self._connection.drop()

    def _head(self, status: int, content_type: str | None, length: int | None, location: str) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if location:
            lines.append(f"Location: {location}")
        lines.append(_date())
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        if self._close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _later(self, data: bytes) -> None:
        self._buffer.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._connection.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._buffer and not self.ended:
            data = b"".join(self._buffer)
            self._buffer.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._connection.write(data)

    def _end(self) -> None:
        self.ended = True
        if self._close:
            self._connection.close()


Handler = Callable[[Request, Reply], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(
        self,
        handler: Handler,
        connections: set["Connection"],
        on_gone: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        """``is_open`` is asked once: whether the server that accepted the connection still lives when it is made."""
        self.loop = loop
        self._is_open = is_open
        self._handler = handler
        self._connections = connections
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._reader = BodyReader()
        self._request: Request | None = None
        self._aborted = False
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._is_open():
            self._transport.abort()
            return
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        self._writable.set()
        if self._task is not None and not self._task.done():
            if not self._aborted:
                self._on_gone()
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        await self._writable.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """End the connection for the client to see: what was written arrives, an end of a chunked body does not."""
        self.close()

    def abort(self) -> None:
        """End the connection at once, as when the process dies."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Read on; start to answer once a request is whole."""
        try:
            request = self._read()
        except ValueError:
            self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.close()
            return
        if request is not None:
            self._task = self.loop.create_task(self._answer(request))

    def _read(self) -> Request | None:
        if self._request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise ValueError("head too long")
                return None
            head = self._buffer[:end].decode("latin-1")
            del self._buffer[: end + 4]
            self._request = _parse_head(head)
            self._reader = BodyReader.of(self._request.headers)
            if self._request.headers.get("expect", "").lower() == "100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._reader.read(self._buffer)
        if body is None:
            return None
        begun, self._request = self._request, None
        return replace(begun, body=body)

    async def _answer(self, request: Request) -> None:
        connection = request.headers.get("connection", "keep-alive" if request.keeps_alive else "close")
        wants_close = connection.lower() == "close"
        reply = Reply(self, head_only=request.method == "HEAD", close=wants_close)
        try:
            await self._handler(request, reply)
        finally:
            self._task = None
        if not reply.ended:
            reply.break_off()
        elif self._buffer and self._transport is not None:
            self._next()


@dataclass(slots=True)
class BodyReader:
    """Takes a body out of what arrives."""

    length: int = 0
    chunked: bool = False
    parts: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, headers: dict[str, str]) -> "BodyReader":
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return cls(chunked=True)
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY_BYTES:
            raise ValueError("body too long")
        return cls(length)

    def read(self, buffer: bytearray) -> bytes | None:
        """The whole body once it is there; what belongs to it is taken from ``buffer``."""
        if self.chunked:
            return self._read_chunks(buffer)
        if len(buffer) < self.length:
            return None
        body = bytes(buffer[: self.length])
        del buffer[: self.length]
        return body

    def _read_chunks(self, buffer: bytearray) -> bytes | None:
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                return None
            size = int(bytes(buffer[:end]).split(b";")[0], 16)
            if len(buffer) < end + 2 + size + 2:
                return None
            self.parts.append(bytes(buffer[end + 2 : end + 2 + size]))
            del buffer[: end + 2 + size + 2]
            if size == 0:
                return b"".join(self.parts)


def _parse_head(head: str) -> Request:
    first, *lines = head.split("\r\n")
    method, target, version = first.split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header without a colon")
        headers[name.lower()] = value.strip()
    return Request(method, target.split("?", 1)[0], headers, keeps_alive=version != "HTTP/1.0")


_date_cache: tuple[int, str] = (0, "")


def _date() -> str:
    global _date_cache  # noqa: PLW0603 - one line a second for all hosts of the process
    second = int(time.time())
    if _date_cache[0] != second:
        _date_cache = (second, "Date: " + formatdate(second, usegmt=True))
    return _date_cache[1]
