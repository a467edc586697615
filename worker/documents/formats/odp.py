"""Presentations of OpenDocument, each slide with its title, texts, lists, tables and notes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from worker.documents.formats.limits import Content, content, paragraphs
from worker.documents.formats.open_document import Letters, local, main_part, name
from worker.documents.formats.package import Package
from worker.documents.formats.scripts import spell_marks


def read_odp(data: bytes) -> Content:
    """The text of its slides as Markdown. Raises Refused."""
    package = Package(data, ending=".odp")
    root = main_part(package)
    letters = Letters()
    for part in (package.xml("styles.xml"), root):
        letters.take(part)
    blocks: list[str] = []
    for slide in root.iter(name("drawing", "page")):
        for shape in slide:
            if local(shape) == "notes":
                blocks += [f"Notes: {text}" for text in _blocks(shape, letters)]
                continue
            is_title = shape.get(name("presentation", "class")) in ("title", "subtitle")
            blocks += [f"## {text}" if is_title else text for text in _blocks(shape, letters)]
    return content(paragraphs(blocks))


def _blocks(element: ET.Element, letters: Letters) -> Iterator[str]:
    """Paragraphs, lists and tables within a shape, in their order."""
    for child in element:
        kind = local(child)
        if kind in ("p", "h"):
            yield _words(child, letters)
        elif kind == "list":
            yield "\n".join(_items(child, 0, letters))
        elif kind == "table":
            yield "\n".join(
                " | ".join(" ".join(_blocks(cell, letters)) for cell in row if local(cell) == "table-cell")
                for row in child.iter(name("table", "table-row"))
            )
        elif kind not in ("annotation", "event-listeners", "page-thumbnail"):
            yield from _blocks(child, letters)


def _items(element: ET.Element, depth: int, letters: Letters) -> Iterator[str]:
    for item in element:
        for child in item:
            if local(child) == "list":
                yield from _items(child, depth + 1, letters)
            else:
                yield f"{'  ' * depth}- {_words(child, letters)}"


def _words(element: ET.Element, letters: Letters) -> str:
    return spell_marks(letters.words(element))
