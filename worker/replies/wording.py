"""What the error texts of a host mean. The only place that reads them.

The texts are a server's own (``server/routes.go``, ``server/sched.go``, ``llm/*.go``), none of them promised to
stay; what is not known goes by its status. A server from 0.30 on passes on what its ``llama-server`` says: a JSON
text inside the text, which is unwrapped.
"""

import json
import re
from typing import Any

from worker.errors import Code, HostError

_LONGEST_MESSAGE = 2000

_LINE_TO_RUNNER = r'^(?:[a-z -]+: )?(?:Post|Get) "http://(?:127\.0\.0\.1|localhost|\[::1\]):\d+/'
"""How Go says that a server could not ask its own runner; before it may stand for what."""
_BEHIND_400 = re.compile(
    rf"{_LINE_TO_RUNNER}|^(?:error|failed) reading |^unexpected server status: |^llama(?:-server| runner) process ",
    re.IGNORECASE,
)
"""Failures that ``/api/embed`` sends as 400 (``server/routes.go EmbedHandler``), as it does refusals."""

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
            "failed to process inputs: (?:image|png|jpeg|webp|invalid JPEG)",
        ),
    ),
    (Code.UNSUPPORTED, ("missing data required for image input",)),
    (Code.MODEL_MISSING, (r"^model ['\"].*['\"] not found",)),
    (
        Code.CONTEXT_OVERFLOW,
        (
            "exceed_context_size_error",
            "exceeds the available context size",
            "input length exceeds the context length",
            "prompt is longer than the context length",
            "too large to process. increase the physical batch size",
        ),
    ),
    # That the runner could not be asked is no evidence against the context.
    (Code.CONTEXT_MISMATCH, ("^detokenize error: (?!.*(?:dial tcp|EOF|connection|cancel))",)),
)
_TEXTS_OF_FAILURE: tuple[tuple[Code, tuple[str, ...]], ...] = (
    # Only where the host failed (5xx, within a stream, or `_BEHIND_400`). A load that fails for want of memory says both.
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
            "^unexpected server status: ",
            "^(?:error|failed) reading ",
            _LINE_TO_RUNNER,
        ),
    ),
    (Code.REPEATED_OUTPUT, ("token repeat limit reached",)),
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


_REFUSALS = (*_TEXTS, *_TEXTS_OF_MODELS)
_FAILURES = (*_TEXTS, *_TEXTS_OF_FAILURE, *_TEXTS_OF_MODELS)


def bad_reply(what: str, data: bytes | bytearray = b"") -> HostError:
    """The host sent something that no Ollama server sends. The message shows how it begins, safe to print."""
    beginning = f": {printable(data[:80])}" if data else ""
    return HostError(Code.BAD_REPLY, f"the host sent {what}{beginning}")


def printable(data: bytes | bytearray) -> str:
    """What a host sent as text for people, on one line; what cannot be shown is �.

    >>> printable(b'{"a": 1'), printable(b"\\x1b[2J\\xff ok"), printable("caf\u00e9".encode()[:-1])
    ('{"a": 1', '�[2J� ok', 'caf�')
    """
    text = bytes(data).decode(errors="replace")
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def from_error_value(value: Any, *, status: int | None = None) -> HostError:
    """What stands in ``error``, of a body or of a line within a stream (then without a status)."""
    message, numbers = _unwrapped(value)
    texts = (message, value) if isinstance(value, str) else (message,)
    refused = status is not None and status < 500 and not _BEHIND_400.match(message)
    code = _by_text(_REFUSALS if refused else _FAILURES, texts)
    return HostError(
        code or code_of_status(status), message or "an error without a text", status=status, numbers=numbers
    )


def _by_text(table: tuple[tuple[Code, tuple[str, ...]], ...], texts: tuple[str, ...]) -> Code | None:
    for code, patterns in table:
        pattern = re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)  # re keeps what it compiled
        if any(pattern.search(text) for text in texts):
            return code
    return None


def code_of_status(status: int | None, *, known: bool = True, plain: bool = True) -> Code:
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
