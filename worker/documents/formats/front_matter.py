"""Front matter: YAML 1.2 between two lines of dashes at the start of a Markdown document.

Values are read by the core schema of YAML 1.2, with one rule on top: what would be spelled differently as a number
(``01234``, ``1.10``, ``0x1F``, ``1e3``) stays a text, so that no postcode and no version loses a digit. YAML 1.1's words
(``NO``, ``yes``, ``12:30:45``) and dates are texts as they stand.
"""

import math
import re
from typing import Any

from worker.documents.formats.limits import MOST_METADATA, Refused, clean

MOST_VALUES = 10_000
DEEPEST = 20
_FRONT = re.compile(r"---[ \t]*\n(.*?)(?:\n|\A)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,14}")


class _NotFrontMatter(Exception):
    """It is valid YAML, but no mapping with distinct keys."""


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The front matter as a dictionary, and the rest of the text. What is no front matter stays text as it stands.

    Raises Refused where aliases make much of little.
    """
    match = _FRONT.match(text[: MOST_METADATA + 16])
    if match is None:
        return {}, text
    import yaml

    try:
        node = yaml.compose(match[1], yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            return {}, text
        values = _plain(node, [MOST_VALUES], 0)
    except (yaml.YAMLError, ValueError, RecursionError, _NotFrontMatter):
        return {}, text
    return values, text[match.end() :].lstrip("\n")


def _plain(node: Any, budget: list[int], depth: int) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > DEEPEST:
        raise Refused(
            "too_large", f"its front matter holds more than {MOST_VALUES:,} values, or nests too deeply"
        )
    if node.id == "scalar":
        return _scalar(node)
    if node.id == "sequence":
        return [_plain(item, budget, depth + 1) for item in node.value]
    values: dict[str, Any] = {}
    for key, value in node.value:
        if key.id != "scalar":
            raise _NotFrontMatter
        name = clean(str(key.value))
        if name in values:
            raise _NotFrontMatter
        values[name] = _plain(value, budget, depth + 1)
    return values


def _scalar(node: Any) -> Any:
    """The value of a scalar; an explicit tag (``!!str 5``) and quotes make a text."""
    written = clean(node.value)
    if node.style is not None or node.tag == "tag:yaml.org,2002:str":
        return written
    return core_value(written)


def core_value(written: str) -> Any:
    """
    >>> [core_value(text) for text in ("NO", "true", "~", "12", "01234", "1.5", "1.10", "1e3", ".nan", "12:30:45")]
    ['NO', True, None, 12, '01234', 1.5, '1.10', '1e3', '.nan', '12:30:45']
    """
    if written in _WORDS:
        return _WORDS[written]
    if _WHOLE.fullmatch(written):
        number: int | float = int(written)
    elif _FRACTION.fullmatch(written):
        number = float(written)
    else:
        return written
    return number if math.isfinite(number) and str(number) == written else written
