"""A sign of life to somebody outside, who makes noise when it stays away: ``GET URL`` when all is well, ``URL/fail`` if not."""

import http.client
import ssl
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

from worker.errors import SettingsRefused, in_words
from worker.notify.bounded import DeliveryError, at_most

SECONDS = 10.0


def ping_url(url: str) -> str:
    """Check ``CARAVAN_PING_URL``. Raises SettingsRefused that does not show it: whoever knows it can ping, too."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    clean = url.isascii() and url.isprintable() and " " not in url
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username
        or parts.fragment
        or not clean
    ):
        raise SettingsRefused(
            "CARAVAN_PING_URL is not a valid URL; expected https://HOST/PATH, without user or fragment"
        )
    return url


def ping(url: str, *, well: bool) -> None:
    """Tell ``url`` how it is. No redirects, no proxies of the environment. Raises DeliveryError."""
    parts = urlsplit(url)
    path = parts.path if well else parts.path.rstrip("/") + "/fail"
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
    target = urlunsplit(("", "", path or "/", parts.query, ""))
    try:
        with closing(connection), at_most(SECONDS, lambda: connection.sock):
            connection.request("GET", target, headers={"User-Agent": "caravan", "Connection": "close"})
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = in_words(error)
        raise DeliveryError(f"{host}: {reason[:200]}") from error
    if not 200 <= status < 300:
        raise DeliveryError(f"{host}: answered {status}")
