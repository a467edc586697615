"""Presentations of OpenDocument, which kreuzberg does not read: each slide with its title, texts, lists, tables and notes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from worker.documents.formats.limits import Content, Refused, content, paragraphs
from worker.documents.formats.package import Package

_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_BREAKS = {"line-break": "\n", "tab": "\t", "s": " "}


def read_odp(data: bytes) -> Content:
    """The text of its slides as Markdown. Raises Refused."""
    root = Package(data, ending=".odp").xml("content.xml")
    if root is None:
        raise Refused("unreadable", "damaged: its part content.xml is not there")
    blocks: list[str] = []
    for slide in root.iter(_name("drawing", "page")):
        for shape in slide:
            if _local(shape) == "notes":
                blocks += [f"Notes: {text}" for text in _blocks(shape)]
                continue
            is_title = shape.get(_name("presentation", "class")) in ("title", "subtitle")
            blocks += [f"## {text}" if is_title else text for text in _blocks(shape)]
    return content(paragraphs(blocks))


def _blocks(element: ET.Element) -> Iterator[str]:
    """Paragraphs, lists and tables within a shape, in their order."""
    for child in element:
        kind = _local(child)
        if kind in ("p", "h"):
            yield _words(child)
        elif kind == "list":
            yield "\n".join(_items(child, 0))
        elif kind == "table":
            yield "\n".join(
                " | ".join(" ".join(_blocks(cell)) for cell in row if _local(cell) == "table-cell")
                for row in child.iter(_name("table", "table-row"))
            )
        elif kind not in ("annotation", "event-listeners", "page-thumbnail"):
            yield from _blocks(child)


def _items(element: ET.Element, depth: int) -> Iterator[str]:
    for item in element:
        for child in item:
            if _local(child) == "list":
                yield from _items(child, depth + 1)
            else:
                yield f"{'  ' * depth}- {_words(child)}"


def _words(element: ET.Element) -> str:
    """The text of a paragraph; a note of a reviewer in it is none of its words."""
    parts = [element.text or ""]
    for child in element:
        kind = _local(child)
        if kind != "annotation":
            parts.append(_BREAKS[kind] if kind in _BREAKS else _words(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _name(space: str, local: str) -> str:
    return f"{{{_OASIS}{space}:1.0}}{local}"


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
