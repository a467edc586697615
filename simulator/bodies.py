"""What a request body says, once Go has read it: fields, defaults, and the 400s of what does not fit.

Source: ``api/types.go``; keys match whatever their case, unknown ones are ignored.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator import gojson
from simulator.durations import BadDuration, keep_alive_seconds
from simulator.pictures import Picture, picture


class BadRequest(Exception):
    """A request refused with a status and a text before anything runs."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class EmptyBody(BadRequest):
    def __init__(self) -> None:
        super().__init__("missing request body")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a request type: its Go name and, for each key, the Go type and a check."""

    type_name: str
    types: Mapping[str, tuple[str, Callable[[Any], bool]]]
    lowered: Mapping[str, str] = field(default_factory=dict)


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _anything(value: Any) -> bool:
    return True


_STRING = ("string", _is_string)
_BOOL = ("bool", _is_bool)
_INT = ("int", _is_int)
_OPTIONS = ("map[string]interface {}", _is_object)
_OWN = ("", _anything)  # a type with a reader of its own


def _fields(type_name: str, types: Mapping[str, tuple[str, Callable[[Any], bool]]]) -> Fields:
    return Fields(type_name, types, {name.lower(): name for name in types})


GENERATE = _fields(
    "GenerateRequest",
    {
        "model": _STRING,
        "prompt": _STRING,
        "suffix": _STRING,
        "system": _STRING,
        "template": _STRING,
        "context": ("[]int", _is_list),
        "stream": _BOOL,
        "raw": _BOOL,
        "format": _OWN,
        "keep_alive": _OWN,
        "images": ("[]api.ImageData", _is_list),
        "options": _OPTIONS,
        "think": _OWN,
        "truncate": _BOOL,
        "shift": _BOOL,
        "logprobs": _BOOL,
        "top_logprobs": _INT,
        "_debug_render_only": _BOOL,
    },
)
CHAT = _fields(
    "ChatRequest",
    {
        "model": _STRING,
        "messages": ("[]api.Message", _is_list),
        "tools": ("api.Tools", _is_list),
        "stream": _BOOL,
        "format": _OWN,
        "keep_alive": _OWN,
        "options": _OPTIONS,
        "think": _OWN,
        "truncate": _BOOL,
        "shift": _BOOL,
        "logprobs": _BOOL,
        "top_logprobs": _INT,
        "_debug_render_only": _BOOL,
    },
)


def read_fields(body: bytes, fields: Fields) -> dict[str, Any]:
    """The known, non-null fields of a body.

    Raises:
        BadRequest: the body is empty, no JSON, or a field has the wrong type.
    """
    if not body.strip():
        raise EmptyBody
    try:
        value = gojson.loads(body)
    except gojson.BadJson as error:
        raise BadRequest(str(error)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(
            f"json: cannot unmarshal {gojson.kind(value)} into Go value of type api.{fields.type_name}"
        )
    found = gojson.folded(value, fields.lowered)
    for name in list(found):
        one = found[name]
        if one is None:
            del found[name]
            continue
        go_type, fits = fields.types[name]
        if not fits(one):
            raise BadRequest(_cannot(fields.type_name, name, one, go_type))
    return found


def _cannot(type_name: str, name: str, value: Any, go_type: str) -> str:
    return f"json: cannot unmarshal {gojson.kind(value)} into Go struct field {type_name}.{name} of type {go_type}"


@dataclass(frozen=True, slots=True)
class Think:
    """The ``think`` of a request: on, off, or a level."""

    on: bool
    level: str = ""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """``POST /api/generate``. None is unset."""

    model: str = ""
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: tuple[int, ...] = ()
    stream: bool = True
    raw: bool = False
    format: Any = None
    keep_alive: float | None = None
    images: tuple[Picture, ...] = ()
    options: Mapping[str, Any] | None = None
    think: Think | None = None
    truncate: bool = True
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """``POST /api/chat``."""

    model: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    stream: bool = True
    format: Any = None
    keep_alive: float | None = None
    options: Mapping[str, Any] | None = None
    think: Think | None = None
    truncate: bool = True
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    tools: tuple[Mapping[str, Any], ...] = ()
    images: tuple[tuple[Picture, ...], ...] = ()
    """Of each message."""
    debug_render_only: bool = False


def read_generate(body: bytes) -> GenerateRequest:
    """Read the body of a generate request.

    Raises:
        BadRequest: with the status and text of the server.
    """
    found = read_fields(body, GENERATE)
    if "context" in found:
        found["context"] = _context(found["context"])
    if "images" in found:
        found["images"] = _images(found["images"])
    return GenerateRequest(**_shared(found))


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a chat request.

    Raises:
        BadRequest: with the status and text of the server.
    """
    found = read_fields(body, CHAT)
    messages = found.get("messages", [])
    for message in messages:
        if not isinstance(message, dict):
            raise BadRequest(_cannot("ChatRequest", "messages", message, "api.Message"))
        for key in ("role", "content", "thinking"):
            if message.get(key) is not None and not isinstance(message[key], str):
                raise BadRequest(_cannot("ChatRequest", f"messages.{key}", message[key], "string"))
    found["messages"] = tuple(messages)
    found["images"] = tuple(_images(message.get("images") or []) for message in messages)
    found["tools"] = tuple(one for one in found.get("tools") or () if isinstance(one, dict))
    return ChatRequest(**_shared(found))


def _shared(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have readers of their own, in both requests."""
    if "keep_alive" in fields:
        try:
            fields["keep_alive"] = keep_alive_seconds(fields["keep_alive"])
        except BadDuration as error:
            raise BadRequest(str(error)) from None
    if "think" in fields:
        fields["think"] = _think(fields["think"])
    if "_debug_render_only" in fields:
        fields["debug_render_only"] = fields.pop("_debug_render_only")
    if not 0 <= fields.get("top_logprobs", 0) <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20")
    return fields


def _think(value: Any) -> Think:
    levels = '(must be "high", "medium", "low", "max", true, or false)'
    if isinstance(value, bool):
        return Think(value, "medium" if value else "")
    if isinstance(value, str):
        if value in ("high", "medium", "low", "max"):
            return Think(True, value)
        raise BadRequest(f"invalid think value: {gojson.quoted(value)} {levels}")
    raise BadRequest('think must be a boolean or string ("high", "medium", "low", "max", true, or false)')


def _context(values: list[Any]) -> tuple[int, ...]:
    for value in values:
        if not _is_int(value):
            raise BadRequest(_cannot("GenerateRequest", "context", value, "int"))
    return tuple(values)


def _images(values: list[Any]) -> tuple[Picture, ...]:
    pictures = []
    for value in values:
        if not isinstance(value, str):
            raise BadRequest(_cannot("GenerateRequest", "images", value, "[]uint8"))
        try:
            pictures.append(picture(base64.b64decode(value, validate=True)))
        except binascii.Error:
            bad = next(
                (place for place, one in enumerate(value) if not (one.isalnum() or one in "+/")), len(value)
            )
            raise BadRequest(f"illegal base64 data at input byte {bad}") from None
    return tuple(pictures)
