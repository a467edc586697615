"""What stands between us and the host: TLS that does not fit, and proxies that answer in the host's place."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

from worker.errors import HostError

_EXPIRED = {10}
_NAME_MISMATCH = {62, 63, 64}
"""``X509_V_ERR_CERT_HAS_EXPIRED``, ``…_HOSTNAME_MISMATCH``, ``…_EMAIL_MISMATCH``, ``…_IP_ADDRESS_MISMATCH``."""
_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
}
_WANTS_TLS = ("http request was sent to https port", "http request to an https server")
_TLS_ALERT = "\x15\x03"
SPEAKS_TLS = "the host speaks TLS on this port: https://, not http://"


def tls_reason(causes: Iterable[BaseException]) -> str | None:
    """Why no TLS connection came about; None where something else is the matter."""
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return _certificate(cause)
            case ssl.SSLError() if cause.reason in _NO_TLS:
                return "the host does not speak TLS on this port: http://, not https://"
            case ssl.SSLError() if "CERTIFICATE_REQUIRED" in (cause.reason or ""):
                return "the host wants a certificate of the client; Caravan has none to give"
            case TimeoutError() if "handshake" in str(cause):
                return "the host did not answer the TLS handshake in time; where it speaks none: http://, not https://"
            case http.client.BadStatusLine() if _TLS_ALERT in str(cause):
                return SPEAKS_TLS
    return None


def is_misplaced(error: HostError) -> bool:
    """Whether something else than an Ollama is at the address, or it speaks the other of http and https: waiting for
    the host does not help."""
    other_protocol = "http://, not https://", "https://, not http://"
    return error.status in (404, 405) or any(words in error.message for words in other_protocol)


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    code, words = getattr(error, "verify_code", 0), getattr(error, "verify_message", "") or error.reason or ""
    words = "".join(sign for sign in words if sign.isprintable())[:200].rstrip(".")
    if code in _EXPIRED:
        return "the certificate of the host has expired"
    if code in _NAME_MISMATCH:
        return f"the certificate of the host is for another name ({words})"
    return f"the certificate of the host is not trusted ({words}): --ca-file FILE names who signed it"


def proxy_words(status: int, what: str, text: str) -> str | None:
    """What a status means that no Ollama gives of itself; ``what`` is the status in words, ``text`` the body.

    A server that listens on loopback gives 403 itself, to a name that is not its own (``server/routes.go
    allowedHostsMiddleware``).
    """
    match status:
        case 400 if any(words in text.lower() for words in _WANTS_TLS):
            return f"{SPEAKS_TLS} ({what})"
        case 401 | 407:
            return f"the host refuses us ({what}): it wants other credentials, --basic-auth or --bearer"
        case 403:
            return (
                f"the host refuses us ({what}): it wants other credentials, --basic-auth or --bearer, or its proxy must "
                "pass on the name localhost (proxy_set_header Host localhost)"
            )
        case 404 | 405:
            return f"there is no Ollama at this URL ({what}); check its path"
        case 413:
            return f"a proxy lets no request of this size through ({what}): raise its limit (nginx: client_max_body_size)"
        case 504 | 524:
            return (
                f"a proxy gave up waiting for the host ({what}): its read time-out must be longer than a load"
            )
        case 502 | 503 | 520 | 521 | 522 | 523:
            return f"a proxy answers in the host's place ({what}): the Ollama behind it is away"
        case _:
            return None


def speaks_tls(url: str, *, seconds: float) -> bool:
    """Whether the port of ``url`` takes a TLS handshake, of whatever certificate. Sends nothing more."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    with contextlib.suppress(OSError), socket.create_connection(place, timeout=seconds) as sock:
        with context.wrap_socket(sock, server_hostname=parts.hostname):
            return True
    return False
