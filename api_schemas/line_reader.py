"""Reads the lines of an input, of which most say the same but for their name, their text and their metadata.

What else a line says is validated where it is met first (``read_job_line``), and kept for the lines that say it again:
those cost a fifth.
"""

import json
import marshal
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from api_schemas.job_line import LONGEST_ID
from api_schemas.job_problems import LineProblem
from api_schemas.jobs import NO_DEFAULTS, JobDefaults, ParsedLine, overridden, read_job_line
from api_schemas.json_text import repeated_name
from api_schemas.shapes import GENERATE, LineShape

LONGEST = 64 * 1024
"""Bytes of a line that is compared with others."""
LONGEST_REST = 4096
"""Bytes of what is kept of a line; one with images is validated each time."""
MOST_KEPT = 256
_MARSHAL_VERSION = 2
"""Without references: equal values are equal bytes, and 0, 0.0 and false are not."""


class _Cached(NamedTuple):
    """What lines say that were validated."""

    rest: tuple[Any, ...]
    """Of ParsedLine, beyond its own fields."""
    texts: int
    """Names and texts in it."""


class LineReader:
    """Reads lines as ``read_job_line`` does. ``override``: ``defaults`` replace what the lines say.

    Lines that say the same share one ``request``, which nobody may change.
    """

    def __init__(
        self,
        defaults: JobDefaults = NO_DEFAULTS,
        shapes: Sequence[LineShape] = (GENERATE,),
        *,
        override: bool = False,
    ) -> None:
        self._defaults = NO_DEFAULTS if defaults == NO_DEFAULTS else defaults
        self._shapes, self._override = shapes, override
        self._texts = tuple(name for shape in shapes for name in shape.apart)
        self._cache: dict[bytes, _Cached] = {}

    def read(self, raw: bytes | str, line: int) -> ParsedLine | list[LineProblem]:
        """The job on line ``line`` (from 1), or everything that is wrong with it."""
        if len(raw) > LONGEST:
            return self._validated(raw, line)
        try:
            data = raw.encode() if isinstance(raw, str) else raw
            value = from_json(data, allow_inf_nan=False)
            own, texts = self._take_own(value, line)
        except (ValueError, AttributeError):  # not JSON, no object, or odd: _validated says what
            return self._validated(raw, line)
        key = marshal.dumps(value, _MARSHAL_VERSION)
        known = self._cache.get(key)
        # more texts than there are in its values: a name may stand twice
        if known and (_texts_of(data) == known.texts + texts or repeated_name(data) is None):
            return ParsedLine(*own, *known.rest)
        parsed = self._validated(raw, line)
        # whether a job may follow others depends on its name
        if not isinstance(parsed, list) and not parsed.after and len(key) <= LONGEST_REST:
            if len(self._cache) >= MOST_KEPT:
                self._cache.clear()
            self._cache[key] = _Cached(parsed[len(own) :], _texts(value))
        return parsed

    def _take_own(
        self, value: dict[str, Any], line: int
    ) -> tuple[tuple[int, str, str, dict[str, Any] | None], int]:
        """What is a line's own, as ParsedLine begins with it, taken out of ``value``, and how many texts it has.
        Raises ValueError where it has to be validated."""
        custom_id, metadata, text, texts = value.get("custom_id"), value.get("metadata"), None, 1
        for name in self._texts:
            text = value.get(name)
            if text is not None:
                value[name] = None
                break
        if type(text) is not str or not text or text.isspace() or "\0" in text:
            raise ValueError("text")
        if custom_id is not None:
            if type(custom_id) is not str or not 0 < len(custom_id) <= LONGEST_ID:
                raise ValueError("custom_id")
            if custom_id.isspace() or "\0" in custom_id:
                raise ValueError("custom_id")
            value["custom_id"] = None
            texts = 2
        if metadata is not None:
            if type(metadata) is not dict or "\\u0000" in json.dumps(metadata, allow_nan=False):
                raise ValueError("metadata")
            value["metadata"] = None
            texts += _texts(metadata)
        return (line, custom_id or f"line-{line}", text, metadata), texts

    def _validated(self, raw: bytes | str, line: int) -> ParsedLine | list[LineProblem]:
        parsed = read_job_line(raw, line=line, defaults=self._defaults, shapes=self._shapes)
        if self._override and not isinstance(parsed, list):
            return overridden(parsed, self._defaults, shapes=self._shapes)
        return parsed


def _texts(value: Any) -> int:
    """How many texts, names among them, ``value`` holds."""
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(_texts, value.values()))
    return sum(map(_texts, value)) if isinstance(value, list) else 0


def _texts_of(data: bytes) -> int | None:
    r"""How many texts, names among them, a line of JSON holds; None where that takes a closer look.

    >>> _texts_of(rb'{"a": "\"b\""}'), _texts_of(rb'{"a": "b\\"}')
    (2, None)
    """
    if b"\\" not in data:
        return data.count(b'"') // 2
    return None if b"\\\\" in data else (data.count(b'"') - data.count(b'\\"')) // 2
