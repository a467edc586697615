"""Checks whether an answer is the JSON that was requested.

A grammar keeps most answers in form, but not all: a host that does not know ``format``, or a model that it does not
hold, answers in prose or in a code fence; ``num_predict`` ends an object in the middle; and no grammar knows all of
JSON Schema. What is complete counts, also where white space up to ``num_predict`` follows it (``done_reason`` says
``length`` then: the grammar allows space at the end, and a weak model takes it).
"""

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

DEEPEST = 100
"""Levels of a value: beyond, checking it against a schema would run out of stack."""
_FENCE = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MOST_CHARACTERS = 300


class Unfit(ValueError):
    """The answer is not what was asked for; its text says why, for the producer and for the model."""


def fitting(text: str, format: Any, *, cut: bool) -> Any:
    """The value that ``text`` holds, where it is JSON and follows ``format`` (``"json"`` or a schema).

    ``cut``: the answer was ended by ``num_predict`` or the window. NUL and lone surrogates in texts become U+FFFD, as
    everywhere. Raises Unfit.

    >>> fitting('{"a": 1}   ', "json", cut=True)
    {'a': 1}
    """
    value = parsed(text, cut=cut)
    if isinstance(format, Mapping):
        problem = schema_problem(value, format)
        if problem is not None:
            raise Unfit(problem)
    elif not isinstance(value, dict | list):
        raise Unfit(f"expected a JSON object, got {json.dumps(value, ensure_ascii=False)[:60]}")
    return value


def parsed(text: str, *, cut: bool = False) -> Any:
    """The one JSON value that ``text`` is. A code fence around it is taken off. Raises Unfit.

    Stricter than Python: no key twice, no NaN, no Infinity, no number beyond a double, at most ``DEEPEST`` levels.
    """
    bare = text.strip()
    fenced = _FENCE.fullmatch(bare)
    if fenced is not None:
        bare = fenced[1].strip()
    if not bare:
        raise Unfit("the answer was cut before it began" if cut else "the answer is empty")
    try:
        value = _DECODER.decode(bare)
    except json.JSONDecodeError as error:
        if cut:
            raise Unfit(f"the JSON was cut after {len(bare):,} characters; raise num_predict") from error
        raise Unfit(f"not JSON: {error.msg} at character {error.pos + 1:,}") from error
    except RecursionError as error:
        raise Unfit(f"nested deeper than {DEEPEST} levels") from error
    except ValueError as error:  # of the hooks below; of Python, for more digits than it reads
        raise error if isinstance(error, Unfit) else Unfit("a number that is too long") from error
    return _storable(value, 0)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unfit(f"the key {json.dumps(key[:60], ensure_ascii=False)} stands twice in an object")
            seen.add(key)
    return values


def _constant(name: str) -> NoReturn:
    raise Unfit(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Unfit(f"the number {text[:40]} is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_constant, parse_float=_float)


def _storable(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise Unfit(f"nested deeper than {DEEPEST} levels")
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {_UNSTORABLE.sub("\ufffd", key): _storable(item, depth + 1) for key, item in value.items()}
        case list():
            return [_storable(item, depth + 1) for item in value]
        case _:
            return value


def schema_problem(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with ``value`` by a JSON Schema; None where it fits."""
    return _problem(value, json.dumps(schema, sort_keys=True))


def _problem(value: Any, schema: str) -> str | None:
    # Imported here: it takes longer than everything else a worker starts with, and few jobs carry a schema.
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(_validator(schema).iter_errors(value))
    except RecursionError:
        return "the schema refers to itself without end, or the answer is nested too deep for it"
    except (Unresolvable, re.error) as defect:
        return f"the schema cannot be applied: {str(defect)[:_MOST_CHARACTERS]}"
    if error is None:
        return None
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    place = f"at {where.removeprefix('.')}: " if where else ""
    return f"{place}{error.message}"[:_MOST_CHARACTERS]


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(json.loads(schema), registry=Registry())  # which fetches nothing
