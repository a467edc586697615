"""How Go's encoding/json writes a string and reads a body, down to the words of its errors.

Source: Go 1.26 ``encoding/json``. Keys match whatever their case, trailing data is ignored, invalid UTF-8 and
lone surrogates become U+FFFD.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any


class BadJson(ValueError):
    """A body Go would not take; the message is Go's."""


def quoted(text: str) -> str:
    """A string as Go's ``%q`` and its JSON encoder put it, near enough for error texts."""
    return json.dumps(text, ensure_ascii=False)


def string(text: str) -> str:
    """A JSON string as Go encodes it: HTML characters escaped.

    >>> string("<a> & b")
    '"\\\\u003ca\\\\u003e \\\\u0026 b"'
    """
    return _short_string(text) if len(text) < 24 else _string(text)


def _string(text: str) -> str:
    encoded = encode_basestring(text)
    if "<" in encoded or ">" in encoded or "&" in encoded:
        encoded = encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if "\u2028" in encoded or "\u2029" in encoded:
        encoded = encoded.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return encoded


_short_string = lru_cache(maxsize=16_384)(_string)  # the pieces of answers: the same few, over and over


def dumps(value: Any) -> str:
    """A whole value, compact, with Go's escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Outside of strings none of these characters occurs in JSON.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def loads(body: bytes) -> Any:
    """Read the first JSON value of a body.

    Raises:
        BadJson: with the text of Go's error.
    """
    text = body.decode("utf-8", "replace")
    try:
        value, _ = _DECODER.raw_decode(text, _skip_space(text, 0))
    except (ValueError, RecursionError):
        raise BadJson(_why(text)) from None
    if "\\u" in text:
        value = _without_surrogates(value)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return value
        case list():
            return [_without_surrogates(one) for one in value]
        case dict():
            return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
        case _:
            return value


def kind(value: object) -> str:
    """What Go calls a JSON value in ``cannot unmarshal …``."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def folded(value: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The keys of an object that Go would match to the fields ``fields`` (lower-cased name → name)."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        name = fields.get(key) or fields.get(key.lower())
        if name is not None:
            found[name] = one
    return found


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _why(text: str) -> str:
    """The error of Go's scanner for a text that is no JSON."""
    try:
        _scan_value(text, _skip_space(text, 0))
    except BadJson as error:
        return str(error)
    except IndexError:
        return "unexpected EOF"
    except RecursionError:
        return "exceeded max depth"
    return "unexpected EOF"


def _bad(character: str, where: str) -> BadJson:
    if character == "'":
        shown = r"'\''"
    elif character == '"':
        shown = "'\"'"
    elif character < " ":
        shown = "'" + json.dumps(character)[1:-1].replace("\\u00", "\\x") + "'"
    else:
        shown = f"'{character}'"
    return BadJson(f"invalid character {shown} {where}")


def _scan_value(text: str, at: int) -> int:
    """Follow Go's scanner over one value; IndexError is the end of the text."""
    first = text[at]
    if first == "{":
        return _scan_object(text, at + 1)
    if first == "[":
        return _scan_array(text, at + 1)
    if first == '"':
        return _scan_string(text, at + 1)
    if first == "-" or first.isdigit():
        return _scan_number(text, at)
    for word in ("true", "false", "null"):
        if first == word[0]:
            for offset, expected in enumerate(word):
                if text[at + offset] != expected:
                    raise _bad(text[at + offset], f"in literal {word} (expecting '{expected}')")
            return at + len(word)
    raise _bad(first, "looking for beginning of value")


def _scan_object(text: str, at: int) -> int:
    at = _skip_space(text, at)
    if text[at] == "}":
        return at + 1
    while True:
        if text[at] != '"':
            raise _bad(text[at], "looking for beginning of object key string")
        at = _skip_space(text, _scan_string(text, at + 1))
        if text[at] != ":":
            raise _bad(text[at], "after object key")
        at = _skip_space(text, _scan_value(text, _skip_space(text, at + 1)))
        if text[at] == "}":
            return at + 1
        if text[at] != ",":
            raise _bad(text[at], "after object key:value pair")
        at = _skip_space(text, at + 1)


def _scan_array(text: str, at: int) -> int:
    at = _skip_space(text, at)
    if text[at] == "]":
        return at + 1
    while True:
        at = _skip_space(text, _scan_value(text, at))
        if text[at] == "]":
            return at + 1
        if text[at] != ",":
            raise _bad(text[at], "after array element")
        at = _skip_space(text, at + 1)


def _scan_string(text: str, at: int) -> int:
    while text[at] != '"':
        if text[at] == "\\":
            at += 1
            if text[at] == "u":
                for offset in range(1, 5):
                    if text[at + offset] not in "0123456789abcdefABCDEF":
                        raise _bad(text[at + offset], "in \\u hexadecimal character escape")
                at += 4
            elif text[at] not in '"\\/bfnrt':
                raise _bad(text[at], "in string escape code")
        elif text[at] < " ":
            raise _bad(text[at], "in string literal")
        at += 1
    return at + 1


def _scan_number(text: str, at: int) -> int:
    if text[at] == "-":
        at += 1
        if not text[at].isdigit():
            raise _bad(text[at], "in numeric literal")
    leading_zero = text[at] == "0"
    at += 1
    while not leading_zero and at < len(text) and text[at].isdigit():
        at += 1
    if at < len(text) and text[at] == ".":
        at += 1
        if not text[at].isdigit():
            raise _bad(text[at], "after decimal point in numeric literal")
        while at < len(text) and text[at].isdigit():
            at += 1
    if at < len(text) and text[at] in "eE":
        at += 1
        if text[at] in "+-":
            at += 1
        if not text[at].isdigit():
            raise _bad(text[at], "in exponent of numeric literal")
        while at < len(text) and text[at].isdigit():
            at += 1
    return at
