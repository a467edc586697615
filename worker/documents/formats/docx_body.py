"""The walk through one story of a Word document: its body, a header, a note."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import field, replace

from worker.documents.formats.limits import check_size
from worker.documents.formats.numbering import Numbering, whole
from worker.documents.formats.omml import FORMULAS, formula
from worker.documents.formats.package import Package, Relation
from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, STRUCK, spell_marks
from worker.documents.formats.styles import Styles, child, toggle, value
from worker.documents.formats.symbols import symbol
from worker.records import mutable_record

_HIDDEN_TAGS = frozenset({"w:del", "w:moveFrom", "w:delText", "w:instrText", "w:delInstrText", "w:annotationRef", "w:rPr",
                       "w:pPr", "w:sectPr", "w:sdtPr", "w:sdtEndPr", "w:tcPr", "w:trPr", "w:tblPr", "w:tblGrid",
                       "w:smartTagPr", "w:customXmlPr", "w:fldData", "w:rt"})  # fmt: skip
"""What a page does not show: deleted text, instructions of fields, properties."""
_SIGNS = {"w:tab": "\t", "w:ptab": "\t", "w:br": "\n", "w:cr": "\n", "w:noBreakHyphen": "\N{NON-BREAKING HYPHEN}",
          "w:softHyphen": ""}  # fmt: skip
MOST_SPAN = 100
"""Columns of a cell."""
LEAST_RISE = 4
"""Half points."""
_LEVELS = {"superscript": RAISED, "subscript": LOWERED}
_SUPPORTED = frozenset({"wps", "wpg", "wpc", "wpi", "wp14", "w14", "w15", "w16", "a14", "v", "w16se"})
"""Extensions that are read; of alternatives that need another, the fallback is."""


@mutable_record
class _Field:
    """A field that has begun: what comes before ``separate`` is its instruction."""

    visible: bool = False


@mutable_record
class Story:
    """One story, and what all stories of a document share."""

    package: Package
    relations: dict[str, Relation]
    styles: Styles
    numbering: Numbering
    embedded: Callable[[str], str | None]
    """The text of an embedded document."""
    notes: dict[str, list[str]] = field(default_factory=lambda: {"footnote": [], "endnote": []})
    """Ids of the notes, in the order in which the text refers to them."""
    sections: list[ET.Element] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Embedded parts that no reader knows."""
    fields: list[_Field] = field(default_factory=list)
    boxes: list[list[str]] = field(default_factory=list)
    """Of each paragraph that is open the text boxes within it, which follow it."""
    size: int = 0

    def of_part(self, relations: dict[str, Relation]) -> "Story":
        """Another story of the same document, with relations of its own."""
        return replace(self, relations=relations, fields=[], boxes=[])

    def text_of(self, root: ET.Element) -> list[str]:
        """The blocks of a whole story."""
        close_fields(root)
        return self.blocks(root)

    def blocks(self, parent: ET.Element) -> list[str]:
        """The paragraphs and tables within an element, in their order."""
        blocks: list[str] = []
        carry = ""
        for element in self._block_elements(parent):
            if element.tag == "w:p":
                text, boxes, joins = self._paragraph(element)
                if joins:  # its mark is deleted or hidden: the next paragraph goes on with its text
                    carry += text
                    blocks += boxes
                    continue
                mark = self._mark(element)  # an empty item of a list counts too
                blocks.append(mark + carry + text if (carry + text).strip() else "")
                carry = ""
                blocks += boxes
            elif element.tag == "w:tbl":
                if carry:
                    blocks.append(carry)
                    carry = ""
                blocks.append(self._table(element))
            elif element.tag == "w:altChunk":
                blocks.append(self._chunk(element))
        if carry:
            blocks.append(carry)
        return [block for block in blocks if block.strip()]

    def _block_elements(self, parent: ET.Element) -> Iterator[ET.Element]:
        """Paragraphs, tables and embedded documents, also those that other elements wrap."""
        for element in parent:
            match element.tag:
                case "w:p" | "w:tbl" | "w:altChunk":
                    yield element
                case "w:sectPr":
                    self.sections.append(element)
                case "mc:AlternateContent":
                    yield from self._block_elements(self._alternative(element))
                case tag if tag not in _HIDDEN_TAGS:
                    yield from self._block_elements(element)

    def _paragraph(self, element: ET.Element) -> tuple[str, list[str], bool]:
        """The text, the text boxes within, and whether the next paragraph goes on with it."""
        properties = element.find("w:pPr")
        section = child(properties, "w:sectPr")
        if section is not None:
            self.sections.append(section)
        of_mark = child(properties, "w:rPr")
        joins = of_mark is not None and any(
            of_mark.find(name) is not None for name in ("w:del", "w:moveFrom")
        )
        joins = joins or (toggle(of_mark, "w:vanish") or False)
        style = value(properties, "w:pStyle") or self.styles.default
        self.boxes.append([])
        text = "".join(self._inline(element, self.styles.vanishes(style)))
        boxes = self.boxes.pop()
        self.size += len(text)
        check_size(self.size)
        return spell_marks(text.replace("\xad", "")), boxes, joins

    def _mark(self, element: ET.Element) -> str:
        """What stands before a paragraph: the sign of a heading, the number or bullet of a list."""
        properties = element.find("w:pPr")
        style = value(properties, "w:pStyle") or self.styles.default
        heading = self.styles.heading(style)
        outline = value(properties, "w:outlineLvl")
        if not heading and outline is not None and whole(outline, 9) < 6:
            heading = whole(outline, 9) + 1
        list_id, level = self.styles.numbering(style)
        numbered = child(properties, "w:numPr")
        if numbered is not None:
            list_id = value(numbered, "w:numId") or list_id
            level = whole(value(numbered, "w:ilvl"), level)
        label = "" if list_id is None else self.numbering.label(list_id, level)
        indent = "  " * level if label and not heading else ""
        return ("#" * heading + " " if heading else "") + indent + (f"{label} " if label else "")

    def _table(self, element: ET.Element) -> str:
        rows = []
        for row in self._parts(element, "w:tr"):
            properties = row.find("w:trPr")
            if properties is not None and properties.find("w:del") is not None:
                continue
            cells: list[str] = []
            owed = 0  # columns that the cell before spans besides its own
            for cell in self._parts(row, "w:tc"):
                about = cell.find("w:tcPr")
                if child(about, "w:cellDel") is not None:
                    continue
                cells += [""] * owed
                owed = max(1, min(whole(value(about, "w:gridSpan"), 1), MOST_SPAN)) - 1
                if any(_continues(about, name) for name in ("w:vMerge", "w:hMerge")):
                    cells.append("")  # the merged cell above, or before, has the text
                    continue
                cells.append(" ".join(block.strip().replace("\n", " ") for block in self.blocks(cell)))
            if any(cells):
                rows.append(" | ".join(cells).strip(" "))
        return "\n".join(rows)

    def _parts(self, element: ET.Element, tag: str) -> Iterator[ET.Element]:
        """Rows or cells, also those that content controls or changes wrap."""
        for inner in element:
            if inner.tag == tag:
                yield inner
            elif inner.tag not in _HIDDEN_TAGS and inner.tag not in ("w:p", "w:tbl"):
                yield from self._parts(inner, tag)

    def _inline(self, parent: ET.Element, hidden: bool) -> Iterator[str]:
        for element in parent:
            tag = element.tag
            if tag == "w:r":
                if not self._hidden(element, hidden):
                    marks = self._marks(element)
                    yield marks
                    yield from self._inline(element, hidden)
                    yield LEVEL * len(marks)
                else:
                    self._only_fields(element)
            elif tag == "w:fldChar":
                yield self._field(element)
            elif tag in _HIDDEN_TAGS:
                continue
            elif tag == "mc:AlternateContent":
                yield from self._inline(self._alternative(element), hidden)
            elif tag == "w:txbxContent":
                self._box(element)
            elif not self._visible:
                continue
            elif tag in ("w:t", "m:t", "a:t"):
                yield element.text or ""
                if tag == "a:t":
                    yield " "
            elif tag in _SIGNS:
                yield _SIGNS[tag]
            elif tag == "w:sym":
                yield symbol(element.get("w:font", ""), element.get("w:char", ""))
            elif tag in ("w:footnoteReference", "w:endnoteReference"):
                yield self._note(element)
            elif tag == "w:ruby":
                yield from self._ruby(element, hidden)
            elif tag in FORMULAS:
                yield formula(element, lambda inner: "".join(self._inline(inner, hidden)))
            elif tag == "v:textpath":
                yield element.get("string", "")
            elif tag in ("dgm:relIds", "c:chart"):
                self._drawn(element)
            else:
                yield from self._inline(element, hidden)

    @property
    def _visible(self) -> bool:
        return all(part.visible for part in self.fields)

    def _hidden(self, run: ET.Element, of_paragraph: bool) -> bool:
        properties = run.find("w:rPr")
        own = toggle(properties, "w:vanish")
        if own is not None:
            return own
        # hidden by the style of both the paragraph and the run is shown: the property toggles
        return self.styles.vanishes(value(properties, "w:rStyle")) != of_paragraph

    def _marks(self, run: ET.Element) -> str:
        """How a run is set: high, low or struck."""
        properties = run.find("w:rPr")
        if properties is None:
            return ""
        level = _LEVELS.get(self.styles.alignment(properties) or "", "")
        if not level and (rise := value(properties, "w:position")):
            level = (
                RAISED if whole(rise, 0) >= LEAST_RISE else LOWERED if whole(rise, 0) <= -LEAST_RISE else ""
            )
        struck = any(toggle(properties, name) for name in ("w:strike", "w:dstrike"))
        return STRUCK * struck + level

    def _only_fields(self, run: ET.Element) -> None:
        for mark in run.iter("w:fldChar"):
            self._field(mark)

    def _field(self, element: ET.Element) -> str:
        """Follow where fields begin and end; of a box or a list of an older form, what it shows."""
        match element.get("w:fldCharType"):
            case "begin":
                shown = _form_field(element.find("w:ffData")) if self._visible else ""
                self.fields.append(_Field())
                return shown
            case "separate" if self.fields:
                self.fields[-1].visible = True
            case "end" if self.fields:
                self.fields.pop()
        return ""

    def _note(self, element: ET.Element) -> str:
        kind = "footnote" if element.tag == "w:footnoteReference" else "endnote"
        note_id = element.get("w:id", "")
        if note_id not in self.notes[kind]:
            self.notes[kind].append(note_id)
        number = self.notes[kind].index(note_id) + 1
        return f"[^{number}]" if kind == "footnote" else f"[^e{number}]"

    def _ruby(self, element: ET.Element, hidden: bool) -> Iterator[str]:
        """The characters, then how they are read: 漢(かん)."""
        texts = {inner.tag: "".join(self._inline(inner, hidden)) for inner in element}
        yield texts.get("w:rubyBase", "")
        if texts.get("w:rt"):
            yield f"({texts['w:rt']})"

    def _box(self, element: ET.Element) -> None:
        """A text box: paragraphs of its own, which follow the one it is anchored in."""
        if not self._visible:
            return
        fields, self.fields = self.fields, []
        blocks = self.blocks(element)
        self.fields = fields
        self._after(blocks)

    def _after(self, blocks: list[str]) -> None:
        if self.boxes:
            self.boxes[-1] += blocks

    def _drawn(self, element: ET.Element) -> None:
        """The words of a diagram or a chart, which lie in a part of their own."""
        relation = self.relations.get(element.get("r:dm") or element.get("r:id") or "")
        root = None if relation is None or relation.external else self.package.xml(relation.target)
        if root is None:
            return
        words = [inner.text.strip() for inner in root.iter() if inner.tag in ("a:t", "c:v") and inner.text]
        if any(words):
            self._after([" ".join(word for word in words if word)])

    def _alternative(self, element: ET.Element) -> ET.Element:
        """The first alternative whose extensions are read, else the fallback: one of them, never both."""
        for choice in element.findall("mc:Choice"):
            if set(choice.get("Requires", "").split()) <= _SUPPORTED:
                return choice
        fallback = element.find("mc:Fallback")
        return ET.Element("mc:Fallback") if fallback is None else fallback

    def _chunk(self, element: ET.Element) -> str:
        relation = self.relations.get(element.get("r:id", ""))
        text = None if relation is None or relation.external else self.embedded(relation.target)
        if text is None:
            self.unread.append("" if relation is None else relation.target)
            return ""
        self.size += len(text)
        check_size(self.size)
        return text


def close_fields(root: ET.Element) -> None:
    """Let a field that never ends be none: it would hide all text behind it."""
    begun: list[ET.Element] = []
    for mark in root.iter("w:fldChar"):
        kind = mark.get("w:fldCharType")
        if kind == "begin":
            begun.append(mark)
        elif kind == "end" and begun:
            begun.pop()
    for mark in begun:
        mark.set("w:fldCharType", "none")


def _continues(properties: ET.Element | None, name: str) -> bool:
    mark = child(properties, name)
    return mark is not None and mark.get("w:val", "continue") == "continue"


def _form_field(data: ET.Element | None) -> str:
    """What a check box or a drop-down list of an older form shows; a text field has its text as its result."""
    box = child(data, "w:checkBox")
    if box is not None:
        state = toggle(box, "w:checked")
        checked = (toggle(box, "w:default") or False) if state is None else state
        return "[x]" if checked else "[ ]"
    choices = child(data, "w:ddList")
    if choices is not None:
        entries = [entry.get("w:val", "") for entry in choices.iter("w:listEntry")]
        at = whole(value(choices, "w:result"), whole(value(choices, "w:default"), 0))
        return entries[at] if 0 <= at < len(entries) else ""
    return ""
