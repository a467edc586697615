"""Presentations of Office Open XML: each slide with its title, texts, tables, charts and diagrams, and its notes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from worker.documents.formats.limits import Content, Refused, check_size, content, paragraphs
from worker.documents.formats.package import Package, Relation, core_properties
from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, STRUCK, spell_marks

_TITLES = ("title", "ctrTitle")
_FURNITURE = ("sldNum", "dt", "ftr", "hdr", "sldImg")


def read_pptx(data: bytes) -> Content:
    """The text of its slides as Markdown, in the order of the presentation. Raises Refused."""
    package = Package(data, ending=".pptx")
    main = package.related("", "officeDocument") or "ppt/presentation.xml"
    root = package.xml(main)
    if root is None:
        raise Refused("unreadable", f"damaged: its part {main} is not there")
    slides = package.relations(main)
    blocks: list[str] = []
    missing: list[str] = []
    for reference in root.iter("p:sldId"):
        relation = slides.get(reference.get("r:id", ""))
        slide = None if relation is None or relation.external else package.xml(relation.target)
        if relation is None or slide is None:
            missing.append("" if relation is None else relation.target)
            continue
        blocks += _Slide(package, package.relations(relation.target)).blocks(slide)
        notes = package.related(relation.target, "notesSlide")
        page = None if notes is None else package.xml(notes)
        if page is not None:
            blocks += [f"Notes: {text}" for text in _Slide(package, {}).blocks(page)]
        check_size(sum(map(len, blocks)))
    metadata: dict[str, object] = {"parts_not_read": missing[:50]} if missing else {}
    return content(paragraphs(blocks), metadata={**core_properties(package), **metadata})


class _Slide:
    """A slide, and the parts that it refers to."""

    def __init__(self, package: Package, relations: dict[str, Relation]) -> None:
        self._package, self._relations = package, relations

    def blocks(self, element: ET.Element) -> Iterator[str]:
        """Its texts in their order, a title first: programs write it anywhere."""
        texts = list(self._shapes(element))
        yield from (f"## {' '.join(text.split())}" for title, text in texts if title and text.strip())
        yield from (text for title, text in texts if not title and text.strip())

    def _shapes(self, element: ET.Element) -> Iterator[tuple[bool, str]]:
        for child in element:
            if child.tag == "mc:AlternateContent":
                chosen = child.find("mc:Choice")
                texts = [] if chosen is None else list(self._shapes(chosen))
                fallback = child.find("mc:Fallback")
                yield from texts or ([] if fallback is None else self._shapes(fallback))
            elif child.tag == "p:sp":
                holder = next(child.iter("p:ph"), None)
                kind = "" if holder is None else holder.get("type", "")
                body = child.find("p:txBody")
                if body is not None and kind not in _FURNITURE:
                    yield kind in _TITLES, _text(body)
            elif child.tag == "a:tbl":
                rows = (
                    " | ".join(" ".join(_text(cell).split()) for cell in row.iter("a:tc"))
                    for row in child.iter("a:tr")
                )
                yield False, "\n".join(rows)
            elif child.tag in ("c:chart", "dgm:relIds"):
                yield False, self._drawn(child)
            else:
                yield from self._shapes(child)

    def _drawn(self, element: ET.Element) -> str:
        """The words and numbers of a chart or a diagram, which lie in a part of their own."""
        relation = self._relations.get(element.get("r:dm") or element.get("r:id") or "")
        root = None if relation is None or relation.external else self._package.xml(relation.target)
        texts = () if root is None else (one.text for one in root.iter() if one.tag in ("a:t", "c:v"))
        return " ".join(text.strip() for text in texts if text and text.strip())


def _text(body: ET.Element) -> str:
    """The paragraphs of a text, a line each; those of deeper levels are set in."""
    lines = []
    for paragraph in body.iter("a:p"):
        properties = paragraph.find("a:pPr")
        depth = "" if properties is None else properties.get("lvl", "")
        line = spell_marks("".join(_runs(paragraph)))
        if line.strip():
            lines.append("  " * (int(depth) if depth.isdecimal() and len(depth) < 2 else 0) + line)
    return "\n".join(lines)


def _runs(paragraph: ET.Element) -> Iterator[str]:
    """The texts of a paragraph, with marks where one is set high, low or struck."""
    for run in paragraph.iter():
        if run.tag == "a:br":
            yield "\n"
        elif run.tag in ("a:r", "a:fld"):
            properties = run.find("a:rPr")
            baseline = "" if properties is None else properties.get("baseline", "").rstrip("%")
            level = RAISED if baseline.isdecimal() and baseline.strip("0") else ""
            marks = level or (LOWERED if baseline.startswith("-") else "")
            if properties is not None and properties.get("strike", "noStrike") != "noStrike":
                marks = STRUCK + marks
            yield f"{marks}{_words(run)}{LEVEL * len(marks)}"


def _words(run: ET.Element) -> str:
    return "".join(text.text or "" for text in run if text.tag == "a:t")
