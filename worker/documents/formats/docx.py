"""Word documents as Word shows them with all changes accepted.

The XML is walked here and not by a library: python-docx sees the direct children of a paragraph only, so that insertions, content
controls and text boxes are lost, and mammoth has neither lists' numbers, headers nor fields.
"""

import io
import re
import zipfile
from typing import Any

from worker.documents.formats.docx_body import Story
from worker.documents.formats.limits import Content, Refused, clean, content, paragraphs
from worker.documents.formats.numbering import read_numbering
from worker.documents.formats.package import Package
from worker.documents.formats.styles import read_styles, toggle

DEEPEST = 3
"""Documents embedded in documents."""


def read_docx(data: bytes, _encoding: str | None) -> Content:
    """Headers, body, notes and footers; headings and lists as in Markdown. Raises Refused."""
    return _read(data, 0)


def _read(data: bytes, depth: int) -> Content:
    package = Package(data)
    main = package.related("", "officeDocument") or "word/document.xml"
    root = package.xml(main)
    body = None if root is None else root.find("w:body")
    if root is None or body is None:
        raise Refused("unreadable", "not a Word document: it has no word/document.xml")
    relations = package.relations(main)
    by_kind = {relation.kind: relation.target for relation in relations.values() if not relation.external}
    settings = package.xml(by_kind["settings"]) if "settings" in by_kind else None
    story = Story(
        package=package,
        relations=relations,
        styles=read_styles(package.xml(by_kind["styles"]) if "styles" in by_kind else None),
        numbering=read_numbering(package.xml(by_kind["numbering"]) if "numbering" in by_kind else None),
        embedded=lambda name: _embedded(package, name, depth),
    )
    blocks = story.text_of(body)
    notes: list[str] = []
    for kind, mark in (("footnote", ""), ("endnote", "e")):
        part = by_kind.get(f"{kind}s")
        notes_root = package.xml(part) if part is not None else None
        if part is None or notes_root is None:
            continue
        there = {note.get("w:id", ""): note for note in notes_root.iter(f"w:{kind}")}
        of_part = story.of_part(package.relations(part))
        for number, note_id in enumerate(story.notes[kind], start=1):
            if note_id in there:
                written = " ".join(of_part.text_of(there[note_id])).strip()
                notes.append(f"[^{mark}{number}]: {written}")
    even = toggle(settings, "w:evenAndOddHeaders") or False
    tops, bottoms = (_margins(story, package, kind, even=even) for kind in ("header", "footer"))
    text = paragraphs([*tops, *blocks, *notes, *bottoms])
    metadata = _core(package)
    if story.unread:
        metadata["parts_not_read"] = sorted(set(story.unread))[:50]
    return content(text, metadata=metadata)


def _margins(story: Story, package: Package, kind: str, *, even: bool) -> list[str]:
    """The headers or footers that any page shows, each text once."""
    texts: list[str] = []
    for section in story.sections:
        first = toggle(section, "w:titlePg") or False
        for reference in section.iter(f"w:{kind}Reference"):
            which = reference.get("w:type", "default")
            relation = story.relations.get(reference.get("r:id", ""))
            if relation is None or (which == "first" and not first) or (which == "even" and not even):
                continue
            root = package.xml(relation.target)
            if root is None:
                continue
            text = "\n\n".join(story.of_part(package.relations(relation.target)).text_of(root)).strip()
            if text and text not in texts:
                texts.append(text)
    return texts


def _embedded(package: Package, name: str, depth: int) -> str | None:
    """The text of a document that is embedded whole (``w:altChunk``); None where no reader knows it."""
    from worker.documents.formats.html import read_html, read_xhtml
    from worker.documents.formats.text import read_text

    data = package.data(name)
    if data is None or depth >= DEEPEST:
        return None
    ending = name.rpartition(".")[2].lower()
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            text = _read(data, depth + 1)["text"]
        elif ending in ("htm", "html"):
            text = read_html(data, None)["text"]
        elif ending == "xhtml":
            text = read_xhtml(data, None)["text"]
        elif ending == "txt":
            text = read_text(data, None)["text"]
        else:
            return None
    except Refused:
        return None
    return str(text)


def _core(package: Package) -> dict[str, Any]:
    """Title, author and the like, from the core properties."""
    part = package.related("", "core-properties") or "docProps/core.xml"
    try:
        root = package.xml(part)
    except Refused:
        return {}
    names = {
        "dc:title": "title",
        "dc:creator": "author",
        "dc:subject": "subject",
        "cp:keywords": "keywords",
        "dc:language": "language",
        "dcterms:created": "created",
        "dcterms:modified": "modified",
    }
    metadata: dict[str, Any] = {}
    for element in () if root is None else root:
        name = names.get(element.tag)
        if name is not None and element.text and element.text.strip():
            value = clean(element.text.strip())[:2000]
            metadata[name] = re.sub("Z$", "+00:00", value) if name in ("created", "modified") else value
    return metadata
