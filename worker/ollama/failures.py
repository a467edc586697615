"""What a host's statuses and broken connections mean; its error texts are read in ``worker.replies.wording``."""

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
)

from worker.domain.numbers import count_of
from worker.errors import Code, HostError, in_words
from worker.ollama.between import proxy_words, tls_reason
from worker.ollama.calls import Call
from worker.ollama.chunks import BrokenChunks
from worker.replies.wording import code_of_status, from_error_value, one_line

BROKEN = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    AttributeError,
)
"""What may come out of a request that was cut short or answered with nonsense. ValueError and AttributeError: urllib3
and http.client meet a socket that was closed under them, or an invalid status line, with unexpected exceptions."""

_REFUSALS_OF_US = frozenset({401, 403, 407})
"""Given by somebody before the host, even where the error looks like an Ollama server's."""


def from_status(
    status: int, content_type: str, body: bytes, *, headers: Mapping[str, str] | None = None
) -> HostError:
    """A response that is no 200. How long to stay away, where a busy host says it, is in ``numbers``."""
    error = _from_status(status, content_type, body)
    seconds = _retry_after(headers or {})
    if error.code is Code.HOST_BUSY and seconds is not None:
        error.numbers["retry_after"] = seconds
    return error


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Seconds (RFC 9110, 10.2.3); a time counts from the host's own ``Date``, whose clock may be wrong.

    >>> _retry_after({"Retry-After": "20"}), _retry_after({"Retry-After": "soon"})
    (20, None)
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        span = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, int(span.total_seconds()))


def _from_status(status: int, content_type: str, body: bytes) -> HostError:
    what = f"{status} {http.client.responses.get(status, '')}".strip()
    if 300 <= status < 400:
        return HostError(Code.BAD_REPLY, f"the host redirects ({what}); give its own URL", status=status)
    if status < 300:
        return HostError(Code.BAD_REPLY, f"the host sent {what} instead of 200", status=status)
    value = _error_value(body)
    if value is not None:
        error = from_error_value(value, status=status)
        if status in _REFUSALS_OF_US and error.code is code_of_status(status):
            message = f"{proxy_words(status, what, '')}: {error.message}"
            return HostError(error.code, message, status=status)
        return error
    text = one_line(body.decode("utf-8", "replace"))
    plain = not content_type.startswith("text/html") and not text.startswith("<")
    message = proxy_words(status, what, text) or what
    if plain and text and text.lower() not in what.lower():
        message = f"{message}: {text}"
    return HostError(code_of_status(status, known=False, plain=plain), message, status=status)


def from_exception(error: BaseException, call: Call, *, answered: bool) -> HostError:
    """A request that ended in an exception. ``answered``: a status line had come.

    Where the call was ended from this side, by an abort or a deadline, that is why.
    """
    if call.verdict is not None:
        return HostError(call.verdict.code, call.verdict.message)
    causes = list(_causes(error))
    reason = _reason(causes)
    if not answered and (tls := tls_reason(causes)) is not None:
        return HostError(Code.HOST_UNREACHABLE, tls)
    if answered and any(isinstance(cause, BrokenChunks) for cause in causes):
        return HostError(Code.BAD_REPLY, f"the host sent a broken body: {reason}")
    if answered:
        return HostError(
            Code.REPLY_CUT,
            f"the connection was cut after {count_of(call.chunks, 'chunk')}: {reason}",
        )
    if _is_nonsense(causes):
        return HostError(Code.BAD_REPLY, f"the host does not speak HTTP: {reason}")
    return HostError(Code.HOST_UNREACHABLE, reason)


def while_loading(error: HostError) -> HostError:
    """``error`` where a model was to be loaded: an inner failure of the host is a failed load, and no job's fault."""
    if error.code in (Code.HOST_ERROR, Code.RUNNER_DIED):
        return HostError(Code.LOAD_FAILED, error.message, status=error.status, numbers=error.numbers)
    return error


def is_dropped(error: BaseException | None) -> bool:
    """The host took the connection and closed it without an answer."""
    return error is not None and any(
        isinstance(
            cause,
            http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError,
        )
        for cause in _causes(error)
    )


def is_refused(error: BaseException | None) -> bool:
    """Nobody listens there: the machine is up, the server is not."""
    return error is not None and any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))


def _error_value(body: bytes) -> Any:
    try:
        record = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return record.get("error") if isinstance(record, dict) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and everything it was made from: requests and urllib3 keep the cause in ``args`` or ``reason``."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        cause = todo.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [
            *cause.args,
            getattr(cause, "reason", None),
            cause.__cause__,
            cause.__context__,
        ]
        todo += [error for error in inner if isinstance(error, BaseException)]


def _is_nonsense(causes: list[BaseException]) -> bool:
    return any(
        isinstance(
            cause,
            http.client.HTTPException | requests.exceptions.InvalidHeader | InvalidHeader | ValueError,
        )
        and not isinstance(cause, http.client.RemoteDisconnected | OSError | UnicodeError)
        for cause in causes
    )


def _reason(causes: list[BaseException]) -> str:
    """A few words for people, without URLs or object addresses."""
    for cause in causes:
        match cause:
            case NameResolutionError() | socket.gaierror():
                return "the host's name is not known"
            case ConnectTimeoutError() if not isinstance(cause, NewConnectionError):
                return "no connection within the time for it"
            case http.client.RemoteDisconnected():
                return "the host closed the connection without an answer"
            case OSError() if cause.strerror and not isinstance(cause, requests.RequestException):
                return one_line(cause.strerror).lower()
            case http.client.IncompleteRead():
                return "the body ended early"
            case BrokenChunks():
                return str(cause)
            case http.client.BadStatusLine():
                return f"its first line is {one_line(str(cause))[:100]}"
    return _last_reason(causes[-1])


def _last_reason(root: BaseException) -> str:
    """What the innermost cause says, where it says it to people."""
    if isinstance(root, AttributeError | TypeError):  # urllib3 met a socket that was closed under it
        return "the connection was closed"
    if "base 16: b''" in str(root):  # http.client read a chunk's length where the connection had ended
        return "it ended in the middle"
    if isinstance(root, ValueError) and not isinstance(root, UnicodeError | HTTPError):
        return "what it sent cannot be read"
    return re.sub(r"<\S+ object at 0x[0-9a-f]+>:? ?", "", one_line(in_words(root)))[:200]
