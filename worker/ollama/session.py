"""Connections to a host: pooled, watched, and closed to everything that could lead a prompt elsewhere.

No environment (proxies, ``.netrc``), no redirects, no cookies, no retries, no compression. Every read goes through the
call it belongs to, so that its deadlines hold even where a host drips single bytes: a time-out of ``requests`` starts
again with each read.
"""

import functools
import http.client
import io
import socket
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from worker.errors import SettingsRefused
from worker.ollama.calls import Call

_SPARE = 4
"""Connections kept beside one for each slot: probes, and a load."""
_READ_BYTES = 64 * 1024
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "caravan"}
"""What each request says of itself."""


class _Current(threading.local):
    call: Call | None = None


current = _Current()
"""The call that this thread makes. Between the sender and the connection stand requests and urllib3, which pass on
no value of ours."""


def open_session(slots: int) -> requests.Session:
    """A session for one host that serves ``slots`` requests at a time."""
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(pool_connections=1, pool_maxsize=slots + _SPARE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def checked_url(url: str) -> tuple[str, tuple[str, str] | None]:
    """``url`` without a slash at its end, and apart from it the credentials that it held.

    Raises SettingsRefused. The message shows no credentials.

    >>> checked_url("http://gpu-1:11434/")
    ('http://gpu-1:11434', None)
    >>> checked_url("https://me:secret@gpu-1/ollama")
    ('https://gpu-1/ollama', ('me', 'secret'))
    """
    expected = "the URL of a host: expected http://HOST:PORT or https://HOST:PORT"
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise SettingsRefused(f"{expected}, got {shown!r}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsRefused(f"{expected}, got {shown!r}")
    if parts.query or parts.fragment:
        raise SettingsRefused(f"{expected}, without query and fragment")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = name if port is None else f"{name}:{port}"
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}", auth


def _socket_options() -> list[tuple[int, int, int]]:
    """A host that vanished without a word shows within a minute and a half, not in hours."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),  # what macOS calls TCP_KEEPIDLE
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 6),
        ("TCP_USER_TIMEOUT", 90_000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


class _Reads(io.RawIOBase):
    """The bytes of one response. Each read asks the call how long it may wait."""

    def __init__(self, sock: socket.socket, call: Call) -> None:
        self._socket, self._call = sock, call
        self._held = sock.makefile("rb", buffering=0)
        """Keeps the socket open until the response is read, though its connection may be closed before."""
        self._wait: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        wait = self._call.wait_seconds()
        if wait != self._wait:
            self._socket.settimeout(wait)
            self._wait = wait
        try:
            count = self._socket.recv_into(buffer)
        except TimeoutError:
            self._call.ran_out()
            raise
        self._call.came()
        return count

    def close(self) -> None:
        self._held.close()
        super().close()


class _Source:
    """What ``http.client.HTTPResponse`` wants of a socket."""

    def __init__(self, sock: socket.socket, call: Call) -> None:
        self._socket, self._call = sock, call

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reads(self._socket, self._call), _READ_BYTES)


def _response(call: Call, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
    call.response = http.client.HTTPResponse(_Source(sock, call), *args, **kwargs)  # type: ignore[arg-type]
    return call.response


class _Connection(HTTPConnection):
    """A connection that knows whose request is on it."""

    _call: Call | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = current.call
        assert call is not None
        before, self._call = self._call, call
        if before is not None and not before.let_go():
            self.close()  # it was aborted after its reply had ended
        if self.sock is None:
            self.connect()
        call.take(self.sock)
        # urllib3 gives sending the time meant for connecting: too short for a long prompt over a slow line.
        self.timeout = call.wait_seconds()
        self.response_class = functools.partial(_response, call)  # type: ignore[assignment]
        super().request(*args, **kwargs)


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, socket_options=_socket_options(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
