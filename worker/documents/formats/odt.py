"""Texts of OpenDocument as LibreOffice shows them with all changes accepted."""

import xml.etree.ElementTree as ET
from dataclasses import field
from typing import Any

from worker.documents.formats.limits import Content, Refused, check_size, content, paragraphs
from worker.documents.formats.mathml import DEEPEST, Node, formula
from worker.documents.formats.numbering import numeral, whole
from worker.documents.formats.open_document import Letters, local, main_part, name
from worker.documents.formats.package import Package
from worker.documents.formats.scripts import spell_marks
from worker.records import mutable_record

_FORMS = {
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "1": "decimal",
    "": "none",
}
_HREF = "{http://www.w3.org/1999/xlink}href"
MOST_REPEATED = 100
"""Columns or rows that a file says once."""
_PROPERTIES = {
    "title": "title",
    "subject": "subject",
    "creation-date": "created_at",
    "date": "modified_at",
    "language": "language",
}


def read_odt(data: bytes) -> Content:
    """Headers, text, notes and footers; headings and lists as in Markdown, tables as ``a | b``. Raises Refused."""
    package = Package(data, ending=".odt")
    root = main_part(package)
    body = next(root.iter(name("office", "text")), None)
    if body is None:
        raise Refused("unreadable", "not a text of OpenDocument: it has no office:text")
    shapes = package.xml("styles.xml")
    story = _Story(package)
    for part in (shapes, root):
        story.letters.take(part)
        for style in () if part is None else part.iter(name("text", "list-style")):
            story.lists[style.get(name("style", "name"), "")] = {
                whole(level.get(name("text", "level")), 1): level for level in style
            }
    blocks = story.blocks(body)
    notes: list[str] = []
    while len(notes) < len(story.letters.notes):
        note = story.letters.notes[len(notes)].find(name("text", "note-body"))
        written = "" if note is None else " ".join(story.blocks(note))
        notes.append(f"[^{len(notes) + 1}]: {written}")
    tops, bottoms = (_margins(story, shapes, kind) for kind in ("header", "footer"))
    return content(paragraphs([*tops, *blocks, *notes, *bottoms]), metadata=_metadata(package))


@mutable_record
class _Story:
    """The walk through the blocks of a text."""

    package: Package
    letters: Letters = field(default_factory=Letters)
    lists: dict[str, dict[int, ET.Element]] = field(default_factory=dict)
    """Style of a list → level → how its items are numbered."""
    counts: dict[str, int] = field(default_factory=dict)
    """Style of a list → the number of its last item on the first level."""
    size: int = 0

    def blocks(self, parent: ET.Element) -> list[str]:
        """Paragraphs, lists and tables within an element, in their order."""
        blocks: list[str] = []
        for child in parent:
            kind = local(child)
            if kind in ("p", "h"):
                blocks += self._paragraph(child)
            elif kind == "list":
                blocks.append("\n".join(self._items(child, 1, "")))
            elif kind == "table":
                blocks.append("\n".join(self._rows(child)))
            elif kind == "section" and child.get(name("text", "display")) == "none":
                continue
            elif kind not in (
                "tracked-changes",
                "annotation",
                "forms",
                "event-listeners",
                "index-title-template",
            ):
                blocks += self.blocks(child)
        return [block for block in blocks if block.strip()]

    def _paragraph(self, element: ET.Element) -> list[str]:
        """The paragraph, and what stands in frames that are anchored in it."""
        hidden = element.find(name("text", "hidden-paragraph"))
        style = self.letters.style(element.get(name("text", "style-name")))
        if style.hidden or (hidden is not None and hidden.get(name("text", "is-hidden")) == "true"):
            return []
        self.letters.boxes = []
        written = self.letters.words(element)
        boxes = self.letters.boxes
        formulas = [text for box in boxes if (text := self._formula(box))]
        text = spell_marks(" ".join([written, *formulas]) if formulas else written).strip(" \n")
        self.size += len(text)
        check_size(self.size)
        if local(element) == "h" and text:
            level = whole(element.get(name("text", "outline-level")), 1)
            text = f"{'#' * max(1, min(level, 6))} {text}"
        return [text, *(block for box in boxes for block in self.blocks(box))]

    def _formula(self, frame: ET.Element) -> str:
        """The formula that a frame shows, which lies in a part of its own."""
        thing = frame.find(name("drawing", "object"))
        place = "" if thing is None else thing.get(_HREF, "").removeprefix("./")
        try:
            root = self.package.xml(f"{place}/content.xml") if place and ":" not in place else None
        except Refused:
            return ""
        return "" if root is None or local(root) != "math" else formula(_node(root, 0))

    def _items(self, element: ET.Element, level: int, style: str) -> list[str]:
        style = element.get(name("text", "style-name"), style)
        about = self.lists.get(style, {}).get(level)
        is_numbered = about is not None and local(about) == "list-level-style-number"
        goes_on = level == 1 and element.get(name("text", "continue-numbering")) == "true"
        first = 1 if about is None else whole(about.get(name("text", "start-value")), 1)
        number = self.counts.get(style, first - 1) if goes_on else first - 1
        lines: list[str] = []
        for item in element:
            begins = local(item) == "list-item"
            number = whole(item.get(name("text", "start-value")), number + 1) if begins else number
            label = _label(about, number) if begins and is_numbered and about is not None else "-"
            mark = f"{'  ' * (level - 1)}{label} " if begins and label else "  " * (level - 1)
            for child in item:
                if local(child) == "list":
                    lines += self._items(child, min(level + 1, 10), style)
                    continue
                for text in self._paragraph(child) if local(child) in ("p", "h") else self.blocks(child):
                    if text.strip():
                        lines.append(f"{mark}{text}")
                        mark = "  " * level
        if level == 1:
            self.counts[style] = number
        return lines

    def _rows(self, table: ET.Element) -> list[str]:
        rows: list[str] = []
        for child in table:
            kind = local(child)
            if kind in ("table-header-rows", "table-rows", "table-row-group"):
                rows += self._rows(child)
            elif kind == "table-row":
                cells: list[str] = []
                for cell in child:
                    if local(cell) not in ("table-cell", "covered-table-cell"):
                        continue
                    text = " ".join(" ".join(self.blocks(cell)).split())
                    again = whole(cell.get(name("table", "number-columns-repeated")), 1)
                    cells += [text] * max(1, min(again, MOST_REPEATED))
                while cells and not cells[-1]:
                    cells.pop()
                if cells:
                    rows.append(" | ".join(cells))
        return rows


def _label(about: ET.Element, number: int) -> str:
    form = _FORMS.get(about.get(name("style", "num-format"), ""), "decimal")
    if form == "none":
        return ""
    before, behind = (about.get(name("style", f"num-{end}"), "") for end in ("prefix", "suffix"))
    return f"{before}{numeral(number, form)}{behind}"


def _node(element: ET.Element, depth: int) -> Node:
    node = Node(local(element), dict(element.attrib))
    if element.text:
        node.inside.append(element.text)
    for child in element if depth < DEEPEST else ():
        if not (local(child) == "annotation" and "StarMath" in child.get("encoding", "")):
            node.inside.append(_node(child, depth + 1))
    return node


def _margins(story: _Story, shapes: ET.Element | None, kind: str) -> list[str]:
    """The headers or footers of all kinds of pages, each text once."""
    texts: list[str] = []
    for element in () if shapes is None else shapes.iter():
        shown = local(element) in (kind, f"{kind}-left", f"{kind}-first")
        if shown and element.get(name("style", "display")) != "false":
            texts.append("\n\n".join(story.blocks(element)))
    return [text for text in dict.fromkeys(texts) if text.strip()]


def _metadata(package: Package) -> dict[str, Any]:
    try:
        root = package.xml("meta.xml")
    except Refused:
        return {}
    values: dict[str, Any] = {}
    creator = ""
    for element in () if root is None else root.iter():
        text = " ".join((element.text or "").split())[:2000]
        if not text:
            continue
        if local(element) in _PROPERTIES:
            values[_PROPERTIES[local(element)]] = text
        elif local(element) == "keyword":
            values.setdefault("keywords", []).append(text)
        elif local(element) == "initial-creator" or (local(element) == "creator" and not creator):
            creator = text
    return {**values, **({"authors": [creator]} if creator else {})}
