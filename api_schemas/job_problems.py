"""What is wrong with a line, in words: where, what it is, and what was expected."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from api_schemas.job_line import FIELDS
from api_schemas.options import Options

PROBLEM_CODES: Mapping[str, str] = {
    "invalid_json": "the line is not one JSON object",
    "invalid_encoding": "the line is not UTF-8",
    "unsupported_format": "the line is in another tool's format",
    "duplicate_field": "a name stands twice in one object",
    "unknown_field": "no such field or option",
    "missing": "a field that is needed is not there",
    "blank": "a text has nothing but white space in it",
    "wrong_type": "a value is of another type",
    "out_of_range": "a number is too small, too large or not finite",
    "invalid_value": "a value is none of those allowed",
    "conflict": "two fields exclude each other",
    "too_large": "a text or the whole line is longer than allowed",
    "cloud_model": "the model would run outside of your machines",
    "duplicate_custom_id": "another line has the same custom_id for the same model",
}
"""Every code of a problem, and what it means."""

MOST_PROBLEMS = 20
"""Problems reported of one line."""


@dataclass(frozen=True, slots=True)
class LineProblem:
    """One thing that is wrong with one line, which counts from 1; 0 is a default of the whole file."""

    line: int
    field: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


OPTIONS = tuple(Options.model_fields)

_INSTEAD = {
    "max_tokens": "write options.num_predict",
    "max_completion_tokens": "write options.num_predict",
    "max_new_tokens": "write options.num_predict",
    "n_predict": "write options.num_predict",
    "n_ctx": "write options.num_ctx",
    "context_length": "write options.num_ctx",
    "messages": "a line with messages has no prompt: write it as the last message",
    "input": "write prompt",
    "text": "write prompt",
    "question": "write prompt",
    "content": "write prompt",
    "instructions": "write system",
    "system_prompt": "write system",
    "id": "write custom_id, or put it into metadata",
    "key": "write custom_id, or put it into metadata",
    "thinking": "write think",
    "reasoning_effort": "write think",
    "reasoning": "write think",
    "response_format": 'write format ("json" or a JSON Schema)',
    "schema": "write format",
    "image": "write images, a list",
    "tools": "tools belong to a line with messages",
    "width": "images are not generated here",
    "height": "images are not generated here",
    "steps": "images are not generated here",
}


def unsupported_format(value: Mapping[str, Any], line: int) -> LineProblem | None:
    """The one problem of a line that was written for another interface, or None."""
    if "body" in value and ("method" in value or "url" in value):
        return LineProblem(
            line,
            "",
            "unsupported_format",
            "a line of an OpenAI batch file (method, url, body); write one with prompt instead: "
            '{"custom_id": …, "model": …, "system": …, "prompt": …, "options": {"num_predict": …}}',
        )
    return None


def problems_of(error: ValidationError, line: int, fields: tuple[str, ...] = FIELDS) -> list[LineProblem]:
    """What pydantic found, in our words. ``fields``: those that the line may have."""
    details = error.errors(include_url=False)
    return [_problem(item, line, fields) for item in details[:MOST_PROBLEMS]]


def _problem(item: Mapping[str, Any], line: int, fields: tuple[str, ...]) -> LineProblem:
    field = place(item["loc"])
    kind: str = item["type"]
    if kind == "extra_forbidden":
        location = tuple(_short(str(part)) for part in item["loc"])  # what is remembered is not long
        return LineProblem(line, _short(field), "unknown_field", _unknown(location, fields))
    if kind == "missing" or (kind == "string_type" and item["input"] is None):
        return LineProblem(line, field, "missing", f"{field}: missing")
    if kind == "json_invalid":  # found nothing else that is wrong: what is left is the parser's own limit
        return LineProblem(
            line,
            "",
            "invalid_json",
            "not valid JSON: nested too deep or a number is too long",
        )
    code, expected = _expectation(kind, item)
    return LineProblem(line, field, code, f"{field}: {expected}")


def _expectation(kind: str, item: Mapping[str, Any]) -> tuple[str, str]:
    value = item["input"]
    context: Mapping[str, Any] = item.get("ctx") or {}
    if kind in _TYPES:
        expected = _TYPES[kind]
        if item["loc"][-1] == "stop" and isinstance(value, str):
            expected += f", such as [{preview(value)}]"
        return "wrong_type", f"expected {expected}, got {described(value)}"
    for bound, words in _BOUNDS.items():
        if kind == bound:
            limit = next(iter(context.values()))
            return (
                "out_of_range",
                f"expected {words} {int(limit):,}, got {preview(value)}",
            )
    match kind:
        case "finite_number":
            return "out_of_range", f"expected a finite number, got {preview(value)}"
        case "literal_error":
            return (
                "invalid_value",
                f"expected {context.get('expected')}, got {preview(value)}",
            )
        case "string_too_short":
            return "blank", "empty"
        case "string_too_long":
            return (
                "too_large",
                f"{len(value):,} characters, at most {context.get('max_length')} are allowed",
            )
        case "string_pattern_mismatch" if context.get("pattern") == r"\S":
            return "blank", "blank"
        case "string_pattern_mismatch":
            return (
                "invalid_value",
                f"expected the form {context.get('pattern')}, got {preview(value)}",
            )
        case "too_long":
            return (
                "too_large",
                f"more than {context.get('max_length'):,} entries, which is the most that are allowed",
            )
        case "think" | "deadline" | "reuse":
            return "invalid_value", f"{item['msg']}, got {described(value)}"
        case "keep_alive" if not isinstance(value, str | int | float) or isinstance(value, bool):
            return "wrong_type", f"{item['msg']}, got {described(value)}"
        case "metadata":
            return "invalid_json", item["msg"]
        case _:
            return "invalid_value", item["msg"]


_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_BOUNDS = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}


def place(location: Sequence[str | int]) -> str:
    """A place in a line as its producer would write it.

    >>> place(("options", "stop", 0))
    'options.stop[0]'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


@lru_cache(maxsize=1024)
def _unknown(location: tuple[str, ...], fields: tuple[str, ...]) -> str:
    """The message for a field or an option that does not exist, with the nearest that does."""
    name = location[-1]
    field = _short(place(location))
    inside_options = len(location) > 1 and location[0] == "options"
    if inside_options:
        if name in fields:
            return f"{field}: not an option; write {name} beside options, not inside"
        if _INSTEAD.get(name.lower(), "").startswith("write options."):
            return f"{field}: unknown option; {_INSTEAD[name.lower()]}"
        near = nearest(name, OPTIONS)
        return f"{field}: unknown option; " + (
            f"did you mean {near}?" if near else f"the options are {', '.join(OPTIONS)}"
        )
    if name in OPTIONS:
        return f"{field}: unknown field; it is an option: write it inside options"
    if name.lower() in _INSTEAD:
        return f"{field}: unknown field; {_INSTEAD[name.lower()]}"
    near = nearest(name, fields + OPTIONS)
    if near:
        return f"{field}: unknown field; did you mean {'options.' if near in OPTIONS else ''}{near}?"
    return f"{field}: unknown field; the fields are {', '.join(fields)}; your own data belongs into metadata"


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` that ``name`` was probably meant to be, or None.

    >>> nearest("num_ctxt", ("num_ctx", "num_keep"))
    'num_ctx'
    """
    plain = name[:60].lower().replace("-", "_").strip()
    squeezed = {candidate.replace("_", ""): candidate for candidate in names}
    if plain.replace("_", "") in squeezed:
        return squeezed[plain.replace("_", "")]
    close = difflib.get_close_matches(plain, names, n=1, cutoff=0.7)
    return close[0] if close else None


def preview(value: object) -> str:
    """``value`` as JSON, cut to what fits into a message."""
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def described(value: object) -> str:
    """``value`` with its type, for values that look like what they are not.

    >>> described("4096"), described([]), described(True)
    ('"4096" (a text)', 'a list', 'true')
    """
    if isinstance(value, str):
        return f"{preview(value)} (a text)"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return preview(value)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
