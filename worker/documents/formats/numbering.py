"""The numbers and bullets that Word puts before the paragraphs of lists."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import field

from worker.records import mutable_record, record

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
BULLET = "-"


@record
class _Level:
    """How one level of a list counts."""

    form: str = "decimal"
    text: str = ""
    start: int = 1
    legal: bool = False


@mutable_record
class Numbering:
    """The lists of a document, and how far each has counted."""

    levels: dict[str, dict[int, _Level]] = field(default_factory=dict)
    """List (``numId``) → level → how it is numbered."""
    family: dict[str, str] = field(default_factory=dict)
    """List → the definition with which it counts on."""
    restarts: dict[str, dict[int, int]] = field(default_factory=dict)
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    def label(self, list_id: str, level: int) -> str:
        """What stands before the next paragraph of this list; empty where nothing does."""
        levels = self.levels.get(list_id)
        if levels is None or level not in levels:
            return ""
        counts = self.counts.setdefault(self.family[list_id], {})
        if list_id not in self.begun:
            self.begun.add(list_id)
            for restarted in self.restarts.get(list_id, {}):
                counts.pop(restarted, None)
        about = levels[level]
        start = self.restarts.get(list_id, {}).get(level, about.start)
        counts[level] = counts[level] + 1 if level in counts else start
        for deeper in [deeper_level for deeper_level in counts if deeper_level > level]:
            del counts[deeper]
        if about.form == "bullet":
            return BULLET
        if about.form == "none" and not re.search("%[1-9]", about.text):
            return about.text

        def number(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            other = levels.get(at, _Level())
            form = "decimal" if about.legal and at != level else other.form
            return numeral(counts.get(at, other.start), form)

        return re.sub("%([1-9])", number, about.text)


def read_numbering(root: ET.Element | None) -> Numbering:
    """The lists of ``numbering.xml``."""
    numbering = Numbering()
    if root is None:
        return numbering
    definitions: dict[str, dict[int, _Level]] = {}
    for abstract in root.iter("w:abstractNum"):
        definitions[abstract.get("w:abstractNumId", "")] = {
            level: about for element in abstract.iter("w:lvl") for level, about in [_level(element)]
        }
    for num in root.iter("w:num"):
        list_id = num.get("w:numId", "")
        pointer = num.find("w:abstractNumId")
        family = "" if pointer is None else pointer.get("w:val", "")
        levels = dict(definitions.get(family, {}))
        restarts: dict[int, int] = {}
        for override in num.iter("w:lvlOverride"):
            at = whole(override.get("w:ilvl"), 0)
            element = override.find("w:lvl")
            if element is not None:
                levels[at] = _level(element)[1]
            start = override.find("w:startOverride")
            if start is not None:
                restarts[at] = whole(start.get("w:val"), 1)
        numbering.levels[list_id], numbering.family[list_id] = levels, family
        numbering.restarts[list_id] = restarts
    return numbering


def _level(element: ET.Element) -> tuple[int, _Level]:
    values: Mapping[str, str] = {child.tag: child.get("w:val", "") for child in element}
    legal = element.find("w:isLgl") is not None
    form = values.get("w:numFmt", "decimal")
    return whole(element.get("w:ilvl"), 0), _Level(
        form, values.get("w:lvlText", ""), whole(values.get("w:start"), 1), legal
    )


def whole(written: str | None, default: int) -> int:
    """A whole number of an attribute, or the default where it is not a number."""
    return int(written) if written is not None and re.fullmatch(r"-?[0-9]{1,9}", written) else default


def numeral(number: int, form: str) -> str:
    """
    >>> numeral(4, "lowerRoman"), numeral(28, "upperLetter"), numeral(7, "decimalZero"), numeral(3, "decimal")
    ('iv', 'BB', '07', '3')
    """
    if form == "none":
        return ""
    if number < 1 or number > 10_000:
        return str(number)
    match form:
        case "lowerLetter" | "upperLetter":
            letters = "abcdefghijklmnopqrstuvwxyz"[(number - 1) % 26] * min(20, (number - 1) // 26 + 1)
            return letters.upper() if form == "upperLetter" else letters
        case "lowerRoman" | "upperRoman":
            written = ""
            for value, sign in _ROMAN:
                written += sign * (number // value)
                number %= value
            return written.upper() if form == "upperRoman" else written
        case "decimalZero":
            return f"{number:02}"
        case _:
            return str(number)
