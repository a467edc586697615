"""A reverse proxy as people put before an Ollama server: TLS, basic auth, a path, and the faults of such proxies.

    python -m tests.servers.proxy --listen 8443 --to http://127.0.0.1:11434 --user me:secret --cert-dir certs

writes ``certs/ca.pem`` and serves until it is ended.
"""

import argparse
import base64
import contextlib
import hmac
import http.client
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

_PASSED_ON = ("content-type", "accept")
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"})


@dataclass
class Proxy:
    """One proxy. What it does may be changed while it runs."""

    to: str
    user: str | None = None
    """``USER:PASSWORD``; anything else gets 401."""
    header: tuple[str, str] | None = None
    """A header that must be there with this value; anything else gets 401."""
    prefix: str = ""
    """Only what is below this path goes on; the rest is an HTML 404."""
    buffer: bool = False
    """Sends nothing of a reply until it has ended."""
    status: int | None = None
    """Answers loads and jobs by itself with this status and an HTML body, ``after`` seconds."""
    after: float = 0.0
    echo: bool = False
    """Its 401 quotes the credentials that came."""
    port: int = 0
    ca_file: Path | None = None
    """Who signed its certificate; None where it speaks no TLS."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of what came."""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{'http' if self.ca_file is None else 'https'}://127.0.0.1:{self.port}{self.prefix}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them
    proxy: Proxy
    context: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Cut the connections that clients keep open, and wait for the threads behind them."""
        for request in tuple(self.open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(request, socket.SHUT_RDWR)
        super().server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self.context is not None:
            # the handshake is made by the first read, in the thread of that connection
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        proxy.requests.append((self.command, self.path))
        if not self._allowed(proxy):
            text = f"401 Authorization Required {self.headers if proxy.echo else ''}"
            self._answer(401, text.encode(), "text/plain" if proxy.echo else "text/html")
        elif not self.path.startswith(f"{proxy.prefix}/"):
            self._answer(404, b"<html><h1>404 Not Found</h1></html>")
        elif proxy.status is not None and self.path.endswith("/api/generate"):
            proxy.stopping.wait(proxy.after)
            self._answer(proxy.status, f"<html><h1>{proxy.status}</h1></html>".encode())
        else:
            self._fetch(proxy, body)

    def _allowed(self, proxy: Proxy) -> bool:
        if proxy.header is not None and self.headers.get(proxy.header[0]) != proxy.header[1]:
            return False
        if proxy.user is None:
            return True
        wanted = f"Basic {base64.b64encode(proxy.user.encode()).decode()}"
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), wanted.encode())

    def _fetch(self, proxy: Proxy, body: bytes) -> None:
        place = urlsplit(proxy.to)
        upstream = http.client.HTTPConnection(place.hostname or "", place.port)
        path = place.path.rstrip("/") + self.path.removeprefix(proxy.prefix)
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        try:
            try:
                upstream.request(self.command, path, body or None, headers)
                response = upstream.getresponse()
            except (OSError, http.client.HTTPException):
                self._answer(502, b"<html><h1>502 Bad Gateway</h1></html>")
                return
            if proxy.buffer:
                content = response.read()
                self._head(response.status, response.getheaders(), ("Content-Length", str(len(content))))
                self.wfile.write(content)
                return
            self._head(response.status, response.getheaders(), ("Transfer-Encoding", "chunked"))
            try:
                while piece := response.read1(64 * 1024):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            except http.client.HTTPException:  # the host broke off: so does the proxy
                self.close_connection = True
        finally:
            upstream.close()

    def _head(self, status: int, headers: list[tuple[str, str]], length: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header(*length)
        self.end_headers()

    def _answer(self, status: int, content: bytes, content_type: str = "text/html") -> None:
        self._head(status, [("Content-Type", content_type)], ("Content-Length", str(len(content))))
        self.wfile.write(content)


@contextmanager
def proxying(
    to: str,
    *,
    tls: bool = True,
    cert_dir: Path | None = None,
    names: Sequence[str] = ("127.0.0.1", "localhost"),
    **told: Any,
) -> Iterator[Proxy]:
    """A proxy on a free port of this machine, or on ``port``, until the block ends. ``told``: fields of ``Proxy``.

    ``cert_dir`` keeps the certificates: a proxy started there again has the same. They are for ``names``.
    """
    proxy = Proxy(to, **told)
    with tempfile.TemporaryDirectory() as scratch:
        server = _Server(("127.0.0.1", proxy.port), _Handler)
        server.proxy = proxy
        proxy.port = int(server.server_address[1])
        if tls:
            server.context, proxy.ca_file = _certified(cert_dir or Path(scratch), names)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stopping.set()
            server.shutdown()
            server.server_close()
            thread.join()


def _certified(folder: Path, names: Sequence[str]) -> tuple[ssl.SSLContext, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    if not server_file.exists():
        authority = trustme.CA()
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(server_file)
        authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return context, ca_file


def main() -> None:
    parser = argparse.ArgumentParser(description="A reverse proxy before an Ollama server.")
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument("--to", required=True, metavar="URL")
    parser.add_argument("--user", metavar="USER:PASSWORD")
    parser.add_argument("--prefix", default="", metavar="/PATH")
    parser.add_argument("--cert-dir", type=Path, metavar="DIR", help="speaks TLS; DIR/ca.pem signed it")
    parser.add_argument("--buffer", action="store_true")
    told = parser.parse_args()
    with proxying(
        told.to,
        tls=told.cert_dir is not None,
        cert_dir=told.cert_dir,
        port=told.listen,
        user=told.user,
        prefix=told.prefix,
        buffer=told.buffer,
    ) as proxy:
        print(proxy.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
