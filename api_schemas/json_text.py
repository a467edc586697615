"""Reads JSON written by others: strictly, and with messages that name the place.

Stricter than ``json.loads``: NaN and Infinity are no JSON, and a name that stands twice in one object is refused, since
readers disagree on which of the two values counts. Text that no database holds alike (NUL, lone surrogates) is replaced.
"""

import json
import math
import re
from collections.abc import Callable
from json import encoder as _encoder
from typing import Any

DEEPEST = 200
"""Levels of lists and objects."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NAME_ENDS = re.compile(rb'"[ \t\r\n]*:')


def json_writer(
    *, separators: tuple[str, str], default: Callable[[Any], Any] | None = None
) -> Callable[[Any], str]:
    """``json.dumps(value, ensure_ascii=False, …)`` for many small values: the encoder is made once, where ``json`` makes
    one for each value. The texts are the same.

    >>> json_writer(separators=(",", ":"))({"a": [1, 0.5, "é"]})
    '{"a":[1,0.5,"é"]}'
    """
    plain = json.JSONEncoder(ensure_ascii=False, separators=separators, default=default)
    make = getattr(_encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    item, key = separators
    encode = make(None, plain.default, _encoder.encode_basestring, None, key, item, False, False, True)

    def write(value: Any) -> str:
        try:
            return "".join(encode(value, 0))
        except RecursionError:  # it holds itself, perhaps; the other encoder says so
            return plain.encode(value)

    return write


class NotJson(ValueError):
    """The text is not JSON as RFC 8259 has it. ``code`` is one of ``PROBLEM_CODES``."""

    def __init__(self, message: str, *, field: str = "", code: str = "invalid_json") -> None:
        self.field, self.code = field, code
        super().__init__(message)


def load_json(text: str | bytes) -> Any:
    """The value that ``text`` holds. Raises NotJson."""
    try:
        return json.loads(text, parse_constant=_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise NotJson(f"not valid JSON: {_explanation(error.doc, error)}") from error
    except NotJson:
        raise
    except RecursionError as error:
        raise NotJson(f"nested deeper than {DEEPEST} levels") from error
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start + 1}") from error
    except ValueError as error:
        raise NotJson("not valid JSON: a number has thousands of digits") from error


def most_names(data: bytes) -> int:
    """At most so many names stand in the objects of a text that is known to be JSON; those within texts may count too.

    >>> most_names(b'{"a": 1, "b" : {"c": "d"}}')
    3
    """
    return len(_NAME_ENDS.findall(data))


def repeated_name(text: str | bytes) -> str | None:
    """A name that stands twice in one object of a text that is known to be JSON, or None."""
    try:
        json.loads(text, object_pairs_hook=_object)
    except NotJson as error:
        return error.field
    except (ValueError, RecursionError):
        pass  # whoever validates the text says so
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                shown = name if len(name) <= 80 else name[:79] + "…"
                message = f"{shown}: this name stands twice in one object; leave one of the two out"
                raise NotJson(message, field=shown, code="duplicate_field")
            names.add(name)
    return value


def _constant(name: str) -> float:
    raise NotJson(f"not valid JSON: {name} is no JSON number")


def _explanation(text: str, error: json.JSONDecodeError) -> str:
    stripped = text.strip()
    if not stripped:
        return "the line is blank"
    if stripped in ("{", "[", "[{", "}", "]"):
        return f"only {stripped}; write each job on one line, with no list around them (JSONL)"
    near = text[max(0, error.pos - 20) : error.pos + 20].strip()
    if error.msg == "Extra data" and stripped.startswith("["):
        return "a list; write each job on one line, with no list around them (JSONL)"
    if error.msg == "Extra data" and stripped.startswith("{"):
        rest = text[error.pos :].strip()
        if rest == ",":
            return f"a comma behind the object, at column {error.pos + 1}; remove it"
        if rest.startswith("{"):
            return f"a second object on the line, at column {error.pos + 1}; write each on a line of its own"
    what = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
    if error.msg.startswith("Invalid control character"):
        sign = ord(text[error.pos]) if error.pos < len(text) else 0
        what = f"control character U+{sign:04X}, which JSON writes as \\u{sign:04x}"
    return f"{what} at column {error.pos + 1}" + (f", near {near!r}" if near else "")


class Repair:
    """Makes of values what every database can hold, and remembers where it changed something."""

    def __init__(self) -> None:
        self._replaced: dict[str, int] = {}

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{field}: {count} NUL or lone surrogate{'s' if count > 1 else ''} replaced by U+FFFD"
            for field, count in self._replaced.items()
        )

    def object(self, value: dict[str, Any]) -> dict[str, Any]:
        """Raises NotJson: nested too deep, or a number that is too large."""
        repaired = {}
        for key, item in value.items():
            name = self._text(key, "a field's name")
            repaired[name] = self._value(item, name, 1)
        return repaired

    def _value(self, value: Any, field: str, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, field)
        if isinstance(value, float) and not math.isfinite(value):
            raise NotJson("a number is too large", field=field)
        if depth > DEEPEST:
            raise NotJson(f"nested deeper than {DEEPEST} levels", field=field)
        if isinstance(value, dict):
            return {
                self._text(key, field): self._value(item, field, depth + 1) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, field, depth + 1) for item in value]
        return value

    def _text(self, text: str, field: str) -> str:
        repaired, count = _UNSTORABLE.subn("\ufffd", text)
        if count:
            self._replaced[field] = self._replaced.get(field, 0) + count
        return repaired
