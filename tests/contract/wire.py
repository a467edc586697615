"""How a recorded request gets to a server, simulated or live, and how its reply comes back, line by line."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from simulator.host import Host
from simulator.http import Connection


@dataclass(slots=True)
class Reply:
    """What a client has seen so far. Times are those of the event loop, in seconds."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: list[tuple[float, str]] = field(default_factory=list)
    ended: float | None = None
    client_error: str | None = None


class Line(Protocol):
    """An open connection."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Wire(Protocol):
    """A way to a server."""

    async def connect(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> Line:
        """
        Raises:
            ConnectionRefusedError: nobody listens.
        """
        ...


class Talk:
    """One exchange: sends a request, takes the reply apart as it arrives."""

    def __init__(self, wire: Wire, on_line: Callable[[int], None] = lambda count: None) -> None:
        self.reply = Reply()
        self._wire = wire
        self._on_line = on_line
        self._connection: Line | None = None
        self._over = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._body = b""
        self._in_body = False
        self._left: int | None = None
        self._head_only = False

    async def run(self, method: str, path: str, body: bytes) -> Reply:
        """Send, and wait until the reply has ended or the connection has."""
        self._head_only = method == "HEAD"
        try:
            self._connection = await self._wire.connect(self._arrived, self._connection_ended)
        except ConnectionRefusedError:
            self._end("ConnectionRefusedError")
            return self.reply
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:11434\r\nAccept-Encoding: identity\r\n"
        if body or method != "GET":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._connection.write(head.encode() + b"\r\n" + body)
        await self._over
        self._connection.close()
        return self.reply

    def hang_up(self) -> None:
        """Close the connection, as a client that goes away."""
        if self._connection is not None:
            self._connection.close()
        self._end(None)

    def _arrived(self, data: bytes) -> None:
        if self._over.done():
            return
        self._buffer += data
        if not self._in_body:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            self._read_head(head.decode("latin-1"))
            self._buffer, self._in_body = rest, True
        self._read_body()

    def _read_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.reply.status = int(first.split(" ")[1])
        pairs = (line.split(":", 1) for line in lines)
        self.reply.headers = {name.lower(): value.strip() for name, value in pairs}
        length = self.reply.headers.get("content-length")
        self._left = int(length) if length is not None else None

    def _read_body(self) -> None:
        if self._head_only:
            self._end(None)
        elif self._left is not None:
            self._body += self._buffer
            self._buffer = b""
            if len(self._body) >= self._left:
                self._end(None)
        else:
            self._read_chunks()

    def _read_chunks(self) -> None:
        while True:
            size_text, separator, rest = self._buffer.partition(b"\r\n")
            if not separator:
                return
            size = int(size_text, 16)
            if len(rest) < size + 2:
                return
            self._body += rest[:size]
            self._buffer = rest[size + 2 :]
            self._cut_lines()
            if size == 0:
                self._end(None)
                return

    def _cut_lines(self) -> None:
        while (end := self._body.find(b"\n")) >= 0:
            line, self._body = self._body[: end + 1], self._body[end + 1 :]
            self._add_line(line)

    def _add_line(self, line: bytes) -> None:
        self.reply.lines.append((asyncio.get_running_loop().time(), line.decode()))
        self._on_line(len(self.reply.lines))

    def _connection_ended(self) -> None:
        """A body that is cut reads like one that ended: so Python's http.client has it, which recorded."""
        self._end(None if self._in_body else "RemoteDisconnected")

    def _end(self, error: str | None) -> None:
        if self._over.done():
            return
        self._cut_lines()
        if self._body:
            rest, self._body = self._body, b""
            self._add_line(rest)
        self.reply.client_error = error
        self.reply.ended = asyncio.get_running_loop().time()
        self._over.set_result(None)


class SimulatedWire:
    """To a simulated host on the same event loop, without sockets: time may jump."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def connect(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> Line:
        if not self._host.running:
            raise ConnectionRefusedError
        connection = self._host.connection()
        transport = _MemoryTransport(connection, on_data, on_end)
        connection.connection_made(transport)
        return _MemoryLine(connection, transport)


class _MemoryTransport(asyncio.Transport):
    """The server's end: what it writes arrives at once."""

    def __init__(
        self, connection: Connection, on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        super().__init__()
        self._connection = connection
        self._on_data = on_data
        self._on_end = on_end
        self._closed = False

    def write(self, data: Any) -> None:
        if not self._closed:
            self._on_data(bytes(data))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._connection.connection_lost, None)
            loop.call_soon(self._on_end)

    def abort(self) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _MemoryLine:
    """The client's end."""

    connection: Connection
    transport: _MemoryTransport

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.connection.data_received, data)

    def close(self) -> None:
        self.transport.close()


class LiveWire:
    """To a server that listens at a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 11_434)

    async def connect(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> Line:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Client(on_data, on_end), *self._address)
        return cast(Line, transport)


class _Client(asyncio.Protocol):
    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()
