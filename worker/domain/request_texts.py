"""A request as text: for its row, and for the digests of what is asked.

Most jobs of an input ask the same apart from their prompt, so the texts of the last small requests are kept.
"""

import hashlib
import json
import marshal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

SMALL = 4096
"""Bytes of a request whose texts are kept; one with images is encoded each time."""
CACHE_SIZE = 256
_MARSHAL_VERSION = 2
"""Without references: equal values are equal bytes, and 0, 0.0 and false are not."""
_NO_PART = frozenset({"keep_alive", "repairs", "stream", "allow_empty"})
"""Fields that no answer depends on."""
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted = json.JSONEncoder(sort_keys=True).encode
"""``json.dumps`` with these arguments would make an encoder for each job."""


class RequestTexts(NamedTuple):
    """A request in three forms."""

    json: str
    """As JSON, in the order of its fields."""
    canonical: str
    """As JSON with sorted names; empty where nothing was requested."""
    identity: str
    """The same without the fields that no answer depends on, 0 and 0.0 alike."""


def request_texts(request: Mapping[str, Any]) -> RequestTexts:
    """The texts of a request, which holds what JSON knows.

    >>> request_texts({"options": {"temperature": 0.0}, "keep_alive": 60}).identity
    '{"options": {"temperature": 0}}'
    """
    before, texts = _last[0]
    if before is not request:
        data = marshal.dumps(dict(request), _MARSHAL_VERSION)
        if len(data) > SMALL:
            return _texts(request)
        texts = _cached_texts(data)
        _last[0] = request, texts
    return texts


_last: list[tuple[Mapping[str, Any] | None, RequestTexts]] = [(None, RequestTexts("", "", ""))]
"""The request that was asked for last, with its texts: rows that say the same share it, and follow each other."""


@lru_cache(maxsize=CACHE_SIZE)
def _cached_texts(data: bytes) -> RequestTexts:
    return _texts(marshal.loads(data))  # noqa: S302 - made a moment ago by request_texts


def _texts(request: Mapping[str, Any]) -> RequestTexts:
    parts = {name: value for name, value in request.items() if name not in _NO_PART}
    if parts.get("options"):
        parts["options"] = {name: _plain(value) for name, value in parts["options"].items()}
    return RequestTexts(
        _compact(request), _sorted(request) if request else "", _sorted(parts) if parts else ""
    )


def digest(question: str) -> bytes:
    """16 bytes that tell one question from another."""
    return hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _plain(value: Any) -> Any:
    """0 and 0.0 ask the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
