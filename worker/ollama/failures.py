"""What a host's statuses, error texts and broken connections mean. The only place that reads them.

The texts are a server's own (``server/routes.go``, ``server/sched.go``, ``llm/*.go``), none of them promised to
stay; what is not known goes by its status. A server from 0.30 on passes on what its ``llama-server`` says: a JSON
text inside the text, which is unwrapped.
"""

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
    InvalidChunkLength,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from worker.errors import Code, HostError
from worker.ollama.between import proxy_words, tls_reason
from worker.ollama.calls import Call
from worker.ollama.session import NoLength

BROKEN = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    AttributeError,
)
"""What may come out of a request that was cut short or answered with nonsense. ValueError and AttributeError: urllib3
and http.client meet a socket that was closed under them, or a status line that is none, with whatever they trip over."""

_LONGEST_MESSAGE = 2000
_REFUSALS_OF_US = frozenset({401, 403, 407})
"""Given by somebody before the host, even where the error looks like an Ollama server's."""

_TEXTS: tuple[tuple[Code, tuple[str, ...]], ...] = (
    # These quote what the producer wrote, which may look like any of the others: they come first, anchored.
    (
        Code.INVALID_REQUEST,
        (
            '^option "',
            "^invalid format: ",
            "^invalid JSON schema in format",
            "^template: ",
            "^json: ",
            "^raw mode ",
        ),
    ),
    (Code.MODEL_MISSING, (r"^model ['\"].*['\"] not found",)),
    (
        Code.CONTEXT_OVERFLOW,
        (
            "exceed_context_size_error",
            "exceeds the available context size",
            "input length exceeds the context length",
            "prompt is longer than the context length",
        ),
    ),
    # That the runner could not be asked is no evidence against the context.
    (Code.CONTEXT_MISMATCH, ("^detokenize error: (?!.*(?:dial tcp|EOF|connection|cancel))",)),
)
_TEXTS_OF_FAILURE: tuple[tuple[Code, tuple[str, ...]], ...] = (
    # Only where the host failed (5xx, or within a stream). A load that fails for want of memory says both.
    (
        Code.OUT_OF_MEMORY,
        (
            "requires more system memory",
            "memory layout cannot be allocated",
            "failed to commit memory",
            "out[- ]of[- ]memory",
            "(?:unable|failed) to allocate",
            "cudaMalloc failed",
        ),
    ),
    (
        Code.LOAD_FAILED,
        (
            "llama runner process has terminated",
            "llama runner process no longer running",
            "llama-server process has terminated",
            "timed out waiting for llama",
            "error starting (?:llama-server|runner)",
            "model failed to load",
            "unable to load full model on GPU",
            "may be incompatible with your version of Ollama",
            "(?:failed|unable) to load model",
            "error loading model",
        ),
    ),
    (
        Code.RUNNER_DIED,
        (
            "model runner has unexpectedly stopped",
            "error was encountered while running the model",
            "^detokenize error: ",
        ),
    ),
    (Code.HOST_BUSY, ("^server busy", "maximum pending requests exceeded")),
)
_TEXTS_OF_MODELS: tuple[tuple[Code, tuple[str, ...]], ...] = (
    (
        Code.UNSUPPORTED,
        (
            "does not support",
            "not currently supported",
            "cannot run this remote model",
            "cloud is disabled",
        ),
    ),
)


def _compiled(*tables: tuple[tuple[Code, tuple[str, ...]], ...]) -> tuple[tuple[Code, re.Pattern[str]], ...]:
    rows = [row for table in tables for row in table]
    return tuple((code, re.compile("|".join(texts), re.IGNORECASE | re.DOTALL)) for code, texts in rows)


_REFUSALS = _compiled(_TEXTS, _TEXTS_OF_MODELS)
_FAILURES = _compiled(_TEXTS, _TEXTS_OF_FAILURE, _TEXTS_OF_MODELS)


def bad_reply(what: str, data: bytes | bytearray = b"") -> HostError:
    """The host sent something that no Ollama server sends. The message shows how it begins, safe to print."""
    shown = f": {bytes(data[:80])!r}" if data else ""
    return HostError(Code.BAD_REPLY, f"the host sent {what}{shown}")


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
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return int(told[:9])
    try:
        span = parsedate_to_datetime(told) - parsedate_to_datetime(headers.get("Date", ""))
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
        if status in _REFUSALS_OF_US and error.code is _by_status(status):
            message = f"{proxy_words(status, what, '')}: {error.message}"
            return HostError(error.code, message, status=status)
        return error
    text = one_line(body.decode("utf-8", "replace"))
    plain = not content_type.startswith("text/html") and not text.startswith("<")
    message = proxy_words(status, what, text) or what
    if plain and text and text.lower() not in what.lower():
        message = f"{message}: {text}"
    return HostError(_by_status(status, known=False, plain=plain), message, status=status)


def from_error_value(value: Any, *, status: int | None = None) -> HostError:
    """What stands in ``error``, of a body or of a line within a stream (then without a status)."""
    message, numbers = _unwrapped(value)
    texts = (message, value) if isinstance(value, str) else (message,)
    code = _by_text(_REFUSALS if status is not None and status < 500 else _FAILURES, texts)
    return HostError(
        code or _by_status(status), message or "an error without a text", status=status, numbers=numbers
    )


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
    if answered and _is_garbage(causes):
        return HostError(Code.BAD_REPLY, f"the host sent a broken body: {reason}")
    if answered:
        return HostError(
            Code.REPLY_CUT,
            f"the connection was cut after {call.chunks} chunks: {reason}",
        )
    if _is_nonsense(causes):
        return HostError(Code.BAD_REPLY, f"the host does not speak HTTP: {reason}")
    return HostError(Code.HOST_UNREACHABLE, reason)


def while_loading(error: HostError) -> HostError:
    """``error`` where a model was to be loaded: an inner failure of the host is a failed load, and no job's fault."""
    if error.code in (Code.HOST_ERROR, Code.RUNNER_DIED):
        return HostError(Code.LOAD_FAILED, error.message, status=error.status, numbers=error.numbers)
    return error


def left_over(error: BaseException) -> bytes:
    """The part that came of a chunk that was cut in two."""
    for cause in _causes(error):
        if isinstance(cause, http.client.IncompleteRead) and isinstance(cause.partial, bytes):
            return cause.partial
    return b""


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


def _by_text(table: tuple[tuple[Code, re.Pattern[str]], ...], texts: tuple[str, ...]) -> Code | None:
    for code, pattern in table:
        if any(pattern.search(text) for text in texts):
            return code
    return None


def _by_status(status: int | None, *, known: bool = True, plain: bool = True) -> Code:
    """The code of a status whose text says nothing. ``known``: the body was an Ollama server's ``{"error": …}``."""
    match status:
        case 429 | 503:
            return Code.HOST_BUSY
        case 502 | 504 | 520 | 521 | 522 | 523 | 524:
            return Code.HOST_UNREACHABLE  # a proxy speaks, the host behind it is away
        case 401 | 403 | 407:
            return Code.BAD_REPLY
        case 413:
            return Code.INVALID_REQUEST
        case 404 if known:
            return Code.MODEL_MISSING
        case 499:
            return Code.HOST_ERROR
        case int() if 400 <= status < 500:
            return Code.INVALID_REQUEST if known else Code.BAD_REPLY
        case _:
            return Code.HOST_ERROR if plain else Code.BAD_REPLY


def _unwrapped(value: Any) -> tuple[str, dict[str, int]]:
    """The message within ``value``, and the numbers it names (``n_prompt_tokens``, ``n_ctx``).

    >>> _unwrapped('detokenize error: {"error":{"code":500,"message":"out of range","type":"server_error"}}')
    ('detokenize error: out of range', {})
    """
    prefix = ""
    for _ in range(4):
        if isinstance(value, str):
            start = value.find("{")
            inner = _parsed(value[start:]) if start >= 0 else None
            if inner is None:
                return prefix + one_line(value), {}
            prefix, value = prefix + value[:start], inner
        elif isinstance(value, dict) and "error" in value:
            value = value["error"]
        elif isinstance(value, dict) and isinstance(value.get("message"), str):
            names = ("n_prompt_tokens", "n_ctx")
            numbers = {name: value[name] for name in names if type(value.get(name)) is int}
            return prefix + one_line(value["message"]), numbers
        else:
            break
    return prefix + one_line(json.dumps(value)), {}


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict) and ("error" in inner or "message" in inner) else None


def one_line(text: str) -> str:
    """``text`` on one line, without anything that a terminal or a database would stumble over."""
    text = text[: 2 * _LONGEST_MESSAGE].encode("utf-8", "replace").decode()
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_LONGEST_MESSAGE]


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
        todo += [one for one in inner if isinstance(one, BaseException)]


def _is_nonsense(causes: list[BaseException]) -> bool:
    return any(
        isinstance(
            cause,
            http.client.HTTPException | requests.exceptions.InvalidHeader | InvalidHeader | ValueError,
        )
        and not isinstance(cause, http.client.RemoteDisconnected | OSError | UnicodeError)
        for cause in causes
    )


def _is_garbage(causes: list[BaseException]) -> bool:
    """The body was no chunked body. urllib3 has no type for a chunk length without end, only words."""
    return any(
        isinstance(cause, InvalidChunkLength | http.client.LineTooLong | NoLength)
        or (isinstance(cause, ProtocolError) and "exceeded maximum allowed length" in str(cause))
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
    root = causes[-1]
    return f"{type(root).__name__}: {one_line(str(root))[:200]}"
