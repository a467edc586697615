"""A message to somebody's server, signed the Standard Webhooks way (https://www.standardwebhooks.com): the receiver's
library checks ``webhook-signature`` and knows a repetition by ``webhook-id``."""

import base64
import binascii
import hashlib
import hmac
import http.client
import ssl
from contextlib import closing
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

from worker.errors import SettingsRefused, in_words
from worker.notify.bounded import DeliveryError, at_most

SECONDS = 20.0
"""Of the whole conversation: what the standard takes for an answer that comes too late."""
_PREFIX = "whsec_"


class Gone(DeliveryError):
    """The receiver says 410: nothing more is wanted there."""


def webhook_url(url: str) -> str:
    """Check where a webhook goes. Raises SettingsRefused."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    clean = url.isascii() and url.isprintable() and " " not in url and len(url) <= 2000
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username
        or parts.fragment
        or not clean
    ):
        raise SettingsRefused("--webhook: expected https://HOST/PATH, without user or fragment")
    return url


def webhook_key(secret: str) -> bytes:
    """The key in ``whsec_…``, or the bytes of any other text. Raises SettingsRefused that does not show it.

    >>> webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")[:4].hex()
    '31f290f6'
    """
    if not secret.startswith(_PREFIX):
        if len(secret) < 16:
            raise SettingsRefused(
                "the key of a webhook must be whsec_ and base64, or a text of 16 characters or more"
            )
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsRefused("the key of a webhook: the part after whsec_ is not base64") from None
    if not 16 <= len(key) <= 64:
        raise SettingsRefused("the key of a webhook must have 16 to 64 bytes after whsec_")
    return key


def signature(key: bytes, *, message_id: str, at: datetime, body: bytes) -> str:
    """What ``webhook-signature`` says: ``v1,`` and the HMAC-SHA256 of id, second and body with dots between."""
    signed = b".".join((message_id.encode(), str(int(at.timestamp())).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def post(url: str, body: bytes, *, message_id: str, at: datetime, key: bytes | None) -> None:
    """Send one message. No redirects, no proxies of the environment; any 2xx is an acceptance. Raises DeliveryError, Gone."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "caravan",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if key is not None:
        headers["webhook-signature"] = signature(key, message_id=message_id, at=at, body=body)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        with closing(connection), at_most(SECONDS, lambda: connection.sock):
            connection.request("POST", target, body=body, headers=headers)
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = in_words(error)
        raise DeliveryError(f"{host}: {reason[:200]}") from error
    if status == http.client.GONE:
        raise Gone(f"{host}: answered 410: nothing more is wanted there")
    if not 200 <= status < 300:
        raise DeliveryError(f"{host}: answered {status}")
