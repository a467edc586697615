"""A mail server that keeps what it gets: enough of SMTP for a client, its TLS and its login."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass
class Mailbox:
    """What came, and how the server behaves."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    login: tuple[str, str] | None = None
    refuse: str | None = None
    """Said to every mail instead of taking it."""
    silent: bool = False
    """It accepts connections and says nothing."""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        box: Mailbox = self.server.box
        self.secured = False
        if box.silent:
            self.rfile.read()
            return
        if box.implicit_tls:
            self._secure()
        self._say("220 here")
        while line := self.rfile.readline():
            if not self._answer(box, line.decode().strip()):
                return

    def _answer(self, box: Mailbox, line: str) -> bool:
        verb = line.split(" ", maxsplit=1)[0].split(":", maxsplit=1)[0].upper()
        match verb:
            case "EHLO":
                offers = ["STARTTLS"] if box.tls and not self.secured else []
                offers += ["AUTH PLAIN"] if box.login else []
                for offer in ("here", *offers):
                    self._say(f"250-{offer}")
                self._say("250 8BITMIME")
            case "STARTTLS":
                self._say("220 go on")
                self._secure()
            case "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                self._say("235 welcome" if (user, password) == box.login else f"535 not {password}")
            case "RCPT":
                box.recipients.append(line.partition("<")[2].rstrip(">"))
                self._say("250 fine")
            case "DATA":
                self._take(box)
            case "QUIT":
                self._say("221 bye")
                return False
            case _:
                self._say("250 fine")
        return True

    def _take(self, box: Mailbox) -> None:
        if box.refuse:
            self._say(box.refuse)
            return
        self._say("354 speak")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        box.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
        box.secure.append(self.secured)
        self._say("250 taken")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _secure(self) -> None:
        assert self.server.box.tls is not None
        self.connection = self.server.box.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.secured = True

    def finish(self) -> None:
        for one in (self.rfile, self.wfile, self.connection):
            try:
                one.close()
            except OSError:
                continue


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what a test wants to see."""


@contextmanager
def mail_server_here(**behaviour: Any) -> Iterator[Mailbox]:
    """A mail server on a free port of 127.0.0.1."""
    box = Mailbox(**behaviour)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.box = box  # type: ignore[attr-defined]
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield box
        server.shutdown()
        thread.join(timeout=5)
