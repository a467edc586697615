"""How does a mail get out? Through the SMTP server that ``CARAVAN_SMTP_URL`` names."""

import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.errors import SettingsRefused, in_words
from worker.notify.bounded import DeliveryError, at_most
from worker.records import record

SECONDS = 10.0
"""Of each step with the server."""
ALTOGETHER = 30.0
_PORTS = {"smtp": 587, "smtps": 465}
_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+")
_EXPECTED = "expected smtp://USER@HOST:587/?from=caravan@example.org&password=env:NAME, or smtps://…"


@record
class MailServer:
    """An SMTP server and how it is spoken to."""

    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """As it stood in the URL."""
    secret: str | None = None
    """Where the password stands instead: ``env:NAME`` or ``file:PATH``."""
    tls: bool = False
    """Encrypted from the first byte on (``smtps``)."""
    starttls: bool = True
    """Encrypted before anything is said, or nothing is said."""
    ca_file: str | None = None


def mail_server(url: str) -> MailServer:
    """Read ``CARAVAN_SMTP_URL``. Raises SettingsRefused; the message shows nothing of the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsRefused(f"CARAVAN_SMTP_URL is not a valid URL; {_EXPECTED}") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise SettingsRefused(f"CARAVAN_SMTP_URL is not the URL of a mail server; {_EXPECTED}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - {"from", "password", "starttls", "ca_file"})
    if unknown:
        raise SettingsRefused(
            f"CARAVAN_SMTP_URL: unknown {unknown[0]!r}; known are from, password, starttls, ca_file"
        )
    if options.get("starttls", "always") not in ("always", "never"):
        raise SettingsRefused("CARAVAN_SMTP_URL: starttls must be always (the default) or never")
    secret = options.get("password")
    if secret is not None and not re.match(r"(env|file):.", secret):
        raise SettingsRefused("CARAVAN_SMTP_URL: password must be env:NAME or file:PATH")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if (password is not None or secret is not None) and not user:
        raise SettingsRefused("CARAVAN_SMTP_URL: a password without a user")
    sender = options.get("from") or (
        user if user is not None and _ADDRESS.fullmatch(user) else f"caravan@{_here()}"
    )
    if not _ADDRESS.fullmatch(sender):
        raise SettingsRefused("CARAVAN_SMTP_URL: from is not a valid mail address")
    tls = parts.scheme == "smtps"
    return MailServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        sender=sender,
        user=user,
        password=password,
        secret=secret,
        tls=tls,
        starttls=not tls and options.get("starttls", "always") == "always",
        ca_file=options.get("ca_file"),
    )


def mail_addresses(text: str, place: str = "CARAVAN_MAIL_TO") -> tuple[str, ...]:
    """Read what ``place`` holds: addresses with commas between. Raises SettingsRefused.

    >>> mail_addresses("ops@example.org, night@example.org")
    ('ops@example.org', 'night@example.org')
    """
    addresses = tuple(address.strip() for address in text.split(",") if address.strip())
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise SettingsRefused(
                f"{place}: {address[:100]!r} is not a valid mail address; expected NAME@DOMAIN"
            )
    return addresses


def send_mail(
    server: MailServer, to: Sequence[str], *, subject: str, text: str, password: str | None = None
) -> None:
    """Send one mail to all of ``to``. ``password`` is what the reference in the URL stands for. Raises DeliveryError."""
    letter = EmailMessage()
    letter["From"], letter["To"] = server.sender, ", ".join(to)
    letter["Subject"] = " ".join(subject.split())[:200]
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=server.sender.rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text)
    try:
        _converse(server, letter, password if password is not None else server.password)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        reason = in_words(error)
        for secret in (password, server.password):
            if secret:
                reason = reason.replace(secret, "***")
        raise DeliveryError(f"{server.host}:{server.port}: {reason[:300]}") from error


def _converse(server: MailServer, letter: EmailMessage, password: str | None) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    here = _here()  # else smtplib asks DNS what this machine is called
    client = (
        smtplib.SMTP_SSL(local_hostname=here, timeout=SECONDS, context=context)
        if server.tls
        else smtplib.SMTP(local_hostname=here, timeout=SECONDS)
    )
    # The name for TLS is set by the constructor only, and that would connect before anything bounds it.
    client._host = server.host  # type: ignore[attr-defined]
    with at_most(ALTOGETHER, lambda: client.sock):
        try:
            client.connect(server.host, server.port)
            client.ehlo()
            if server.starttls:
                if not client.has_extn("starttls"):
                    raise smtplib.SMTPNotSupportedError(
                        "the server offers no STARTTLS, and Caravan sends nothing unencrypted; use smtps://, or ?starttls=never"
                    )
                client.starttls(context=context)
                client.ehlo()
            if server.user and password is not None:
                client.login(server.user, password)
            client.send_message(letter)
            with suppress(smtplib.SMTPException, OSError):
                client.quit()
        finally:
            client.close()


def _here() -> str:
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]+", name) else "localhost"
