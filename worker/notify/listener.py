"""``GET /healthz``: 200 or 503 with JSON, and nothing else, for whoever looks on by HTTP."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

from worker.errors import SettingsRefused

AT_ONCE = 8
"""Requests; more are closed unread."""
SECONDS = 5.0
"""That a request may take to come in."""

Answer = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether all is well, and what to say of it."""


def listen_address(text: str) -> tuple[str, int]:
    """Read ``CARAVAN_HEALTH_ADDRESS``; a port alone is one of this machine only. Raises SettingsRefused.

    >>> listen_address("9464"), listen_address("0.0.0.0:9464"), listen_address("[::1]:80")
    (('127.0.0.1', 9464), ('0.0.0.0', 9464), ('::1', 80))
    """
    host, _, port = text.strip().rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsRefused(
            f"CARAVAN_HEALTH_ADDRESS: {text[:100]!r} is not a valid address; expected 127.0.0.1:9464"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = AT_ONCE

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self.places = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone; that is theirs."""

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the machine's name
        super(HTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "caravan"
    sys_version = ""

    def setup(self) -> None:
        self.request.settimeout(SECONDS)
        # a time-out of the socket starts anew with every byte
        self._timer = threading.Timer(SECONDS, self._end)
        self._timer.daemon = True
        self._timer.start()
        super().setup()

    def finish(self) -> None:
        self._timer.cancel()
        super().finish()

    def _end(self) -> None:
        try:
            self.request.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def do_GET(self) -> None:
        self._timer.cancel()  # the request is in; the look has its own limits
        if self.path.partition("?")[0] != "/healthz":
            self._say(404, {"error": "only /healthz is here"})
            return
        well, body = self.server.answer()
        self._say(200 if well else 503, body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _say(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: somebody asks every few seconds."""


@contextmanager
def listening(address: tuple[str, int], answer: Answer) -> Iterator[str]:
    """Answer at ``address`` within the block; gives the URL. Raises OSError where the address is taken."""
    server = _Server(address, answer)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="healthz", daemon=True
    )
    thread.start()
    try:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"http://{host}:{server.server_port}/healthz"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
