"""How much may one line hold? Looked at before it is parsed: two bytes of a line become a hundred of memory, and a
mistake in each of a million fields a kilobyte for each."""

import re
from collections.abc import Mapping
from typing import Any

from api_schemas.job_problems import LineProblem

MOST_VALUES = 2_000_000
"""On one line: each takes a hundred bytes of memory where it took two on the line."""
MOST_FIELDS = 200
"""Of a line, or of its options, unknown ones among them: each that is wrong takes a kilobyte."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Also one that never ends: to look for its end from each of its escaped quotes would take for ever."""


def values_of(data: bytes) -> int:
    """How many values a line holds, without parsing it: its commas and opening brackets beside texts. Counts a little
    beyond ``MOST_VALUES`` and no further."""
    values, place = 0, 0
    for text in _STRING.finditer(data):
        values += _separators(data, place, text.start())
        place = text.end()
        if values > MOST_VALUES:
            return values
    return values + _separators(data, place, len(data))


def _separators(data: bytes, start: int, end: int) -> int:
    if end - start == 1:  # as between most texts
        return int(data[start] in b",[{")
    return sum(data.count(sign, start, end) for sign in (b",", b"[", b"{"))


def crowded(value: Mapping[str, Any], line: int) -> LineProblem | None:
    """More fields than there are: pydantic would name every one before we could stop it."""
    for field, inside in (("", value), ("options", value.get("options"))):
        if isinstance(inside, dict) and len(inside) > MOST_FIELDS:
            named = f"{field}: " if field else ""
            message = f"{named}{len(inside):,} fields, at most {MOST_FIELDS} are allowed; your own data belongs into metadata"
            return LineProblem(line, field, "too_large", message)
    return None
