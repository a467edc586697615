"""E-books: their chapters in the order of the book, each as XHTML.

A library that drops a chapter because of its name, its encoding or a tag says nothing of it; here what cannot be read is named.
"""

import posixpath
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import unquote

from worker.documents.formats.html import parsed_xml, read_xhtml
from worker.documents.formats.limits import Content, Refused, content, paragraphs
from worker.documents.formats.package import Package

_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbncx+xml", "text/x-oeb1-document"})
_SINGLE = ("title", "language", "subject", "date")


def read_epub(data: bytes, encoding: str | None) -> Content:
    """The text of its chapters, and what the book says of itself. Raises Refused."""
    package = Package(data, ending=".epub")
    container = _part(package, "META-INF/container.xml")
    place = next((root.get("full-path", "") for root in container.iter() if _local(root) == "rootfile"), "")
    book = _part(package, place)
    folder = posixpath.dirname(place)
    items = {item.get("id"): item for item in book.iter() if _local(item) == "item"}
    locked = _locked(package)
    metadata = _metadata(book)
    texts: list[str] = []
    missing: list[str] = []
    for reference in (one for one in book.iter() if _local(one) == "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type", "application/xhtml+xml") not in _PAGES:
            missing.append(str(reference.get("idref")) if item is None else item.get("href", ""))
            continue
        name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        if name in locked:
            raise Refused(
                "encrypted", "it is protected by DRM and opens only in the reader that it was sold for"
            )
        chapter = package.data(name)
        if chapter is None:
            missing.append(name)
            continue
        try:
            texts.append(read_xhtml(chapter, encoding)["text"])
        except Refused as refused:
            raise Refused(refused.code, f"its chapter {name}: {refused.message}") from refused
    if missing:
        metadata["parts_not_read"] = sorted(set(missing))[:50]
    return content(paragraphs([text for text in texts if text.strip()]), metadata=metadata)


def _part(package: Package, name: str) -> ET.Element:
    data = package.data(name) if name else None
    root = None if data is None else parsed_xml(data)
    if root is None:
        raise Refused("unreadable", f"damaged: its part {name or 'content.opf'} is not there, or is not XML")
    return root


def _locked(package: Package) -> frozenset[str]:
    """The parts that are encrypted; of most books fonts only."""
    data = package.data("META-INF/encryption.xml")
    root = None if data is None else parsed_xml(data)
    references = () if root is None else (one for one in root.iter() if _local(one) == "CipherReference")
    return frozenset(unquote(one.get("URI", "")) for one in references)


def _metadata(book: ET.Element) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for element in book.iter():
        name, text = _local(element), " ".join((element.text or "").split())[:2000]
        if text and name in _SINGLE:
            values.setdefault(name, text)
        elif text and name == "creator":
            values.setdefault("authors", []).append(text)
    return values


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
