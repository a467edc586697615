"""What OpenDocument texts and presentations share: names, styles of letters, and the words of a paragraph."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import field

from worker.documents.formats.limits import Refused
from worker.documents.formats.package import Package
from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, STRUCK
from worker.records import mutable_record, record

OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_HREF = "{http://www.w3.org/1999/xlink}href"
_BREAKS = {"line-break": "\n", "tab": "\t"}
_NOT_SHOWN = frozenset({"annotation", "annotation-end", "script", "tracked-changes", "ruby-text", "event-listeners",
                        "note-citation", "hidden-text", "desc", "title", "page-thumbnail"})  # fmt: skip
MOST_BLANKS = 1000


def name(space: str, local: str) -> str:
    """An element's or an attribute's name."""
    return f"{{{OASIS}{space}:1.0}}{local}"


def local(element: ET.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def main_part(package: Package) -> ET.Element:
    """The part with the text. Raises Refused."""
    manifest = package.data("META-INF/manifest.xml")
    if manifest is not None and b"encryption-data" in manifest:
        raise Refused("encrypted", "it opens with a password only; save it without one")
    root = package.xml("content.xml")
    if root is None:
        raise Refused("unreadable", "damaged: its part content.xml is not there")
    return root


@record
class _Style:
    """What a style says of letters; None where it leaves that to its parent."""

    parent: str = ""
    mark: str | None = None
    struck: bool | None = None
    hidden: bool | None = None


@mutable_record
class Letters:
    """The styles of letters, and what a walk through the paragraphs comes across."""

    styles: dict[str, _Style] = field(default_factory=dict)
    notes: list[ET.Element] = field(default_factory=list)
    boxes: list[ET.Element] = field(default_factory=list)
    """Frames in the paragraph that was read last."""

    def take(self, root: ET.Element | None) -> None:
        """Keep the styles of a part."""
        for style in () if root is None else root.iter(name("style", "style")):
            about = style.find(name("style", "text-properties"))
            parent = style.get(name("style", "parent-style-name"), "")
            key = style.get(name("style", "name"), "")
            self.styles[key] = _Style(parent) if about is None else _letters(about, parent)

    def style(self, key: str | None) -> _Style:
        """A style with what it has of its parents."""
        mark = struck = hidden = None
        for _ in range(20):
            found = None if key is None else self.styles.get(key)
            if found is None:
                break
            mark = found.mark if mark is None else mark
            struck = found.struck if struck is None else struck
            hidden = found.hidden if hidden is None else hidden
            key = found.parent
        return _Style("", mark, struck, hidden)

    def words(self, element: ET.Element) -> str:
        """The text of a paragraph with marks for what is set high, low or struck; a note of a reviewer is none of its words."""
        return "".join(self._parts(element))

    def _parts(self, element: ET.Element) -> Iterator[str]:
        yield _spaces(element.text)
        for child in element:
            yield self._part(child)
            yield _spaces(child.tail)

    def _part(self, child: ET.Element) -> str:
        kind = local(child)
        if kind in _BREAKS:
            return _BREAKS[kind]
        if kind == "s":
            count = child.get(name("text", "c"), "1")
            return " " * min(int(count) if count.isdecimal() and len(count) < 6 else 1, MOST_BLANKS)
        if kind in _NOT_SHOWN:
            return ""
        if kind == "note":
            self.notes.append(child)
            return f"[^{len(self.notes)}]"
        if kind in ("frame", "custom-shape", "text-box", "g", "rect"):
            self.boxes.append(child)
            return ""
        text = self.words(child)
        if kind == "ruby":
            reading = child.find(name("text", "ruby-text"))
            return text if reading is None else f"{text}({self.words(reading)})"
        if kind == "a":
            target = child.get(_HREF, "")
            is_link = bool(text.strip()) and not target.startswith("#") and target not in text
            return f"[{text.strip()}]({target})" if target and is_link else text
        if kind != "span":
            return text
        style = self.style(child.get(name("text", "style-name")))
        if style.hidden:
            return ""
        marks = (STRUCK if style.struck else "") + (style.mark or "")
        return f"{marks}{text}{LEVEL * len(marks)}"


def _spaces(text: str | None) -> str:
    """White space as OpenDocument has it: any run of it is one blank."""
    return re.sub(r"[ \t\r\n]+", " ", text) if text else ""


def _letters(about: ET.Element, parent: str) -> _Style:
    mark = struck = hidden = None
    if position := about.get(name("style", "text-position"), "").split():
        where = position[0]
        raised = where == "super" or where.rstrip("%").strip("0").isdecimal()
        mark = RAISED if raised else LOWERED if where == "sub" or where.startswith("-") else ""
    if (line := about.get(name("style", "text-line-through-style"))) is not None:
        struck = line != "none"
    if (display := about.get(name("text", "display"))) is not None:
        hidden = display == "none"
    return _Style(parent, mark, struck, hidden)
