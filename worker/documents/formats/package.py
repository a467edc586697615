"""The parts of an Office Open XML package (a zip of XML files), read with bounds.

XML is read by the standard library's parser, which fetches nothing. A part that declares a document type, and with it entities,
is refused.
"""

import io
import posixpath
import xml.etree.ElementTree as ET
import zipfile
import zlib
from functools import lru_cache

from worker.documents.formats.limits import MOST_UNPACKED, Refused
from worker.records import record

_OFFICE = "http://schemas.openxmlformats.org/"
_STRICT = "http://purl.oclc.org/ooxml/"
_PREFIXES = {
    "wordprocessingml/main": "w",
    "wordprocessingml/2006/main": "w",
    "officeDocument/2006/relationships": "r",
    "officeDocument/relationships": "r",
    "officeDocument/2006/math": "m",
    "officeDocument/math": "m",
    "markup-compatibility/2006": "mc",
    "presentationml/2006/main": "p",
    "presentationml/main": "p",
    "drawingml/2006/main": "a",
    "drawingml/main": "a",
    "drawingml/2006/chart": "c",
    "drawingml/chart": "c",
    "drawingml/2006/diagram": "dgm",
    "drawingml/diagram": "dgm",
    "package/2006/relationships": "rel",
    "urn:schemas-microsoft-com:vml": "v",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
    "http://schemas.microsoft.com/office/word/2010/wordprocessingShape": "wps",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "package/2006/metadata/core-properties": "cp",
}
"""Namespaces and the prefixes that the readers write; the strict ones have the same."""


@record
class Relation:
    """What a part refers to."""

    kind: str
    """The last word of its type: ``footnotes``, ``header``, ``image``."""
    target: str
    """The name of a part; of what lies outside the package its address."""
    external: bool


class Package:
    """A package, its parts read when they are asked for. Raises Refused where it is not a package."""

    def __init__(self, data: bytes, *, ending: str = ".docx") -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise Refused("unreadable", f"not a {ending} that can be read: {error}") from error
        entries = self._archive.infolist()
        if any(entry.flag_bits & 1 for entry in entries):
            raise Refused("encrypted", "it opens with a password only; save it without one")
        self._left = MOST_UNPACKED
        if sum(entry.file_size for entry in entries) > MOST_UNPACKED:
            raise Refused(
                "too_large", f"over {MOST_UNPACKED:,} bytes unpacked, which is the most that is read"
            )
        self._names = {entry.filename.lower().lstrip("/"): entry.filename for entry in entries}

    def data(self, name: str) -> bytes | None:
        """The bytes of a part; None where it is not there. Raises Refused."""
        entry = self._names.get(name.lower().lstrip("/"))
        if entry is None:
            return None
        try:
            with self._archive.open(entry) as file:
                data = file.read(self._left + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise Refused("unreadable", f"damaged: its part {name} cannot be unpacked ({error})") from error
        self._left -= len(data)
        if self._left < 0:
            raise Refused(
                "too_large", f"over {MOST_UNPACKED:,} bytes unpacked, which is the most that is read"
            )
        return data

    def xml(self, name: str) -> ET.Element | None:
        """The root of a part, its names with the prefixes above; None where it is not there. Raises Refused."""
        data = self.data(name)
        if data is None:
            return None
        parser = ET.XMLParser(target=_Builder())  # noqa: S314  no document type, so no entities
        try:
            parser.feed(data)
            root: ET.Element = parser.close()
        except (ET.ParseError, LookupError, ValueError) as error:
            raise Refused("unreadable", f"damaged: its part {name} is not XML ({error})") from error
        for element in root.iter():
            element.tag = _prefixed(element.tag)
            if any("}" in key for key in element.attrib):
                attributes = {_prefixed(key): value for key, value in element.items()}
                element.attrib.clear()
                element.attrib.update(attributes)
        return root

    def relations(self, part: str) -> dict[str, Relation]:
        """What a part refers to, by id; of the package itself for an empty name."""
        folder, _, base = part.rpartition("/")
        root = self.xml(f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels")
        relations: dict[str, Relation] = {}
        for element in () if root is None else root.iter("rel:Relationship"):
            external = element.get("TargetMode") == "External"
            target = element.get("Target", "")
            if not external:
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            kind = element.get("Type", "").rpartition("/")[2]
            relations[element.get("Id", "")] = Relation(kind, target, external)
        return relations

    def related(self, part: str, kind: str) -> str | None:
        """The part that ``part`` has for ``kind``."""
        return next(
            (
                relation.target
                for relation in self.relations(part).values()
                if relation.kind == kind and not relation.external
            ),
            None,
        )


def core_properties(package: Package) -> dict[str, object]:
    """The properties of a package: title, authors and the like. Raises Refused."""
    name = package.related("", "core-properties")
    root = None if name is None else package.xml(name)
    values: dict[str, object] = {}
    for tag, key in (("dc:title", "title"), ("dc:subject", "subject"), ("cp:keywords", "keywords"),
                     ("dcterms:created", "created_at"), ("dcterms:modified", "modified_at")):  # fmt: skip
        text = None if root is None else root.findtext(tag)
        if text and text.strip():
            values[key] = text.strip()[:2000]
    author = None if root is None else root.findtext("dc:creator")
    return {**values, "authors": [author.strip()[:2000]]} if author and author.strip() else values


class _Builder(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise Refused("unreadable", "its XML declares a document type, which no office document does")


@lru_cache(4096)
def _prefixed(name: str) -> str:
    """
    >>> _prefixed("{http://purl.oclc.org/ooxml/wordprocessingml/main}p")
    'w:p'
    """
    if not name.startswith("{"):
        return name
    space, _, local = name[1:].partition("}")
    short = space.removeprefix(_OFFICE).removeprefix(_STRICT)
    prefix = _PREFIXES.get(short)
    return f"{prefix}:{local}" if prefix else name
