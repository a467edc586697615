"""One request to a host and the body that comes back, every way it can fail turned into a HostError."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, Retry, Timeout
from urllib3.response import BaseHTTPResponse

from worker.clock import Clock
from worker.domain.hosts import Access
from worker.errors import Code, HostError
from worker.ollama.calls import Call
from worker.ollama.chunks import BrokenChunks, ChunkedBody
from worker.ollama.failures import BROKEN, from_exception, from_status
from worker.ollama.limits import Patience
from worker.ollama.secrets import resolve
from worker.ollama.session import HEADERS, checked_url, current, open_session
from worker.replies import bounds
from worker.replies.wording import bad_reply

_READ_BYTES = 64 * 1024
_NO_RETRIES = Retry(0, read=False)


class Wire:
    """The way to one host. Thread-safe; ``close`` ends whatever is under way. No HostError of it shows a secret.

    Raises SettingsRefused for an invalid URL, and for a secret or an authority that cannot be read.
    """

    def __init__(self, url: str, *, access: Access, slots: int, clock: Clock) -> None:
        self.url, auth = checked_url(url)
        self._credentials = resolve(access, url_auth=auth)
        self._clock = clock
        self._session = open_session(slots)
        self._headers = {**HEADERS, **self._credentials.headers}
        self._path = urlsplit(self.url).path
        self._pool: HTTPConnectionPool | None = None
        self._calls: set[Call] = set()
        self._closed = False

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """A host may echo what it was sent: no HostError that leaves the block shows a secret."""
        try:
            yield
        except HostError as error:
            error.message = self._credentials.hidden(error.message)
            error.args = (error.message,)
            raise

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        call: Call,
        patience: Patience,
    ) -> Iterator[Iterator[bytes]]:
        """Send a request and give the body of its 200 response, piece by piece as it comes.

        Raises HostError for everything else. The connection is used again only if the body was read to its end.
        """
        with self.discreet():
            yield from self._opened(method, path, body, call, patience)

    def _opened(
        self, method: str, path: str, body: bytes | None, call: Call, patience: Patience
    ) -> Iterator[Iterator[bytes]]:
        self._calls.add(call)
        raw: BaseHTTPResponse | None = None
        try:
            if self._closed:
                raise HostError(Code.WORKER_LOST, "the worker is stopping")
            call.start(patience, self._clock)
            raw = self._send(method, path, body, call, patience)
            pieces = _pieces(raw, call)
            if raw.status != 200:
                content = _bounded(pieces, bounds.ERROR_BYTES)
                raise from_status(
                    raw.status, raw.headers.get("Content-Type", ""), content, headers=raw.headers
                )
            if (coding := raw.headers.get("Content-Encoding", "identity").lower()) != "identity":
                # never unpacked: a few kilobytes may become gigabytes
                raise bad_reply(f"a body packed with {coding[:20]!r}, which nobody asked for")
            yield pieces
        finally:
            self._calls.discard(call)
            if raw is not None:
                raw.close()

    def read(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        call: Call,
        patience: Patience,
        limit: int,
    ) -> bytes:
        """The whole body of a 200 response, at most ``limit`` bytes. Raises HostError."""
        with self.open(method, path, body, call=call, patience=patience) as pieces:
            content = bytearray()
            for piece in pieces:
                content += piece
                if len(content) > limit:
                    raise HostError(Code.BAD_REPLY, f"{path} sent more than {limit:,} bytes")
            return bytes(content)

    def close(self) -> None:
        """End all calls with WORKER_LOST (the job is tried again) and close the connections."""
        self._closed = True
        for call in tuple(self._calls):
            call.abort(Code.WORKER_LOST, reason="the worker is stopping")
        self._session.close()

    def _send(
        self, method: str, path: str, body: bytes | None, call: Call, patience: Patience
    ) -> BaseHTTPResponse:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        current.call = call
        try:
            # Not session.send, which reads the whole of a redirect's body and prepares each request anew: the pool is
            # the one that requests would take.
            return self._connections().urlopen(
                method,
                self._path + path,
                body,
                headers,
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=patience.connect, read=None),
            )
        except BROKEN as error:
            if call.response is not None:
                call.response.close()
            raise from_exception(error, call, answered=False) from error
        finally:
            current.call = None

    def _connections(self) -> HTTPConnectionPool:
        """The pool of the host, with the certificates to trust; made once."""
        if self._pool is None:
            adapter = self._session.get_adapter(self.url)
            assert isinstance(adapter, HTTPAdapter)
            request, verify = requests.Request("GET", self.url).prepare(), self._credentials.verify
            pool = adapter.get_connection_with_tls_context(request, verify)
            assert isinstance(pool, HTTPConnectionPool)
            adapter.cert_verify(pool, self.url, verify, None)  # type: ignore[no-untyped-call]
            self._pool = pool
        return self._pool


def _pieces(raw: BaseHTTPResponse, call: Call) -> Iterator[bytes]:
    try:
        if getattr(raw, "chunked", False) and call.response is not None:
            yield from _chunks(raw, call.response)
        else:
            while data := raw.read1(_READ_BYTES, decode_content=False):
                yield data
    except BROKEN as error:
        raise from_exception(error, call, answered=True) from error


def _chunks(raw: BaseHTTPResponse, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The pieces of a chunked body, each as soon as it comes: urllib3 takes several times as long for a chunk, of which
    there is one a token."""
    body = ChunkedBody()
    while not body.has_ended and response.fp is not None:
        data = response.fp.read1(_READ_BYTES)
        if not data:
            if not body.is_whole:
                raise http.client.IncompleteRead(b"")
            break
        if piece := body.feed(data):
            yield piece
        if body.problem is not None:
            raise BrokenChunks(body.problem)
    response.close()
    if not body.rest:  # else whoever has the connection next would read it
        raw.release_conn()


def _bounded(pieces: Iterator[bytes], limit: int) -> bytes:
    """The beginning of a body. One that is cut short says as much as it says."""
    content = bytearray()
    try:
        for piece in pieces:
            content += piece
            if len(content) >= limit:
                break
    except HostError as error:
        if error.code is not Code.REPLY_CUT:
            raise
    return bytes(content[:limit])
