"""HTML by the rules of browsers, and XHTML as XML."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from html.entities import html5
from typing import Any

from worker.documents.formats.charsets import SCANNED, declared_label, decode_page
from worker.documents.formats.limits import Content, Refused, content
from worker.documents.formats.visible_text import HIDDEN, End, Event, Start, marks_content, visible_text

_XHTML = "{http://www.w3.org/1999/xhtml}"
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_DOCTYPE = re.compile(r"\s*<!DOCTYPE[^>\[]*(?:\[([^\]]*)\]\s*)?>", re.IGNORECASE)
_DECLARATION = re.compile(
    r"<!ENTITY\s+([A-Za-z][\w.-]{0,99})\s+(?:\"([^\"&<%]{0,200})\"|'([^'&<%]{0,200})')\s*>"
)
"""An entity that stands for plain text; no other is read, so that none can grow."""
_ENTITY = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|&([A-Za-z][\w.-]*);", re.DOTALL)
_SELF_CLOSING = re.compile(
    r"<(title|script|style|iframe|textarea|noscript|noframes|noembed|xmp|template|p|div|span|a)((?:\s[^<>]*)?)/>",
    re.IGNORECASE,
)
"""What ends itself in XML, and in HTML would take the rest of the page in."""
_SWALLOWING = re.compile(
    r"<(?:title|script|style|iframe|textarea|noscript|noframes|noembed|xmp|template)(?:\s[^<>]*)?/>",
    re.IGNORECASE,
)
"""Tags that end themselves, of those whose content HTML takes as text up to their end tag."""
_XHTML_NAMED = re.compile(
    r"<!DOCTYPE\s[^<>]*//DTD XHTML|<html\s[^<>]*[\"']http://www\.w3\.org/1999/xhtml[\"']", re.IGNORECASE
)
_MARKED = "main, article, [role=main], [role=article]"
"""What says which part of a page is its content."""
_PREDEFINED = frozenset({"amp", "lt", "gt", "quot", "apos"})
_IN_HEAD = frozenset({"head", "title"})
_NAMES = frozenset({"author", "description", "keywords", "date"})


def read_html(data: bytes, encoding: str | None) -> Content:
    """The text that a browser shows, a block a paragraph; headings as in Markdown. Raises Refused.

    A well-formed page that says of itself that it is XHTML, and has a tag that ends itself and would take in all that
    follows, is read as XHTML: a chapter of a book, for instance, whose name ends in .html. Where a page would show nothing
    at all, such a tag is taken to end itself.
    """
    text, name = decode_page(data, encoding)
    if not _SWALLOWING.search(text):
        return page_content(text, name)
    if _says_xhtml(text) and (root := _xml_root(text)) is not None:
        return _xml_content(root, name)
    page = page_content(text, name)
    return page if page["text"].strip() else page_content(_ended(text), name)


def read_xhtml(data: bytes, encoding: str | None) -> Content:
    """As XML, where ``<script/>`` and ``<title/>`` end themselves; by the rules of HTML where it is not well-formed."""
    try:
        text, name = decode_page(data, encoding, xml=True)
    except Refused:
        if encoding is not None or declared_label(data, xml=True):
            raise
        return read_html(data, encoding)
    root = _xml_root(text)
    return page_content(_ended(text), name) if root is None else _xml_content(root, name)


def _ended(text: str) -> str:
    """The page with an end tag behind each tag that ends itself."""
    return _SELF_CLOSING.sub(r"<\1\2></\1>", _without_doctype(text)[0])


def _xml_content(root: ET.Element, name: str | None) -> Content:
    metadata = _Metadata()
    marked = any(marks_content(*_named(element)) for element in root.iter())
    shown = visible_text(metadata.watch(_xml_events(root)), content_only=marked)
    return content(shown, metadata=metadata.values, encoding=name)


def _says_xhtml(text: str) -> bool:
    """An XML declaration, the document type or the namespace of XHTML."""
    return text.lstrip("\ufeff \t\r\n").startswith("<?xml") or _XHTML_NAMED.search(text[:SCANNED]) is not None


def page_content(text: str, encoding: str | None) -> Content:
    """The text and the metadata of an HTML page."""
    from selectolax.lexbor import LexborHTMLParser

    metadata = _Metadata()
    page = LexborHTMLParser(text)
    root, marked = page.root, page.css_first(_MARKED) is not None
    shown = "" if root is None else visible_text(metadata.watch(_html_events(root)), content_only=marked)
    return content(shown, metadata=metadata.values, encoding=encoding)


class _Metadata:
    """Title, author and language, taken from the events of a page as they pass."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._title: list[str] | None = None

    def watch(self, events: Iterator[Event]) -> Iterator[Event]:
        foreign = 0
        for event in events:
            if isinstance(event, Start):
                foreign += event.tag in ("svg", "math")
                if event.tag == "title" and not foreign and "title" not in self.values:
                    self._title = []
                self._start(event)
            elif isinstance(event, End):
                foreign -= event.tag in ("svg", "math")
                if event.tag == "title" and self._title is not None:
                    title = " ".join("".join(self._title).split())[:1000]
                    if title:
                        self.values["title"] = title
                    self._title = None
            elif self._title is not None:
                self._title.append(event)
            yield event

    def _start(self, event: Start) -> None:
        if event.tag == "html":
            language = event.attributes.get("lang") or event.attributes.get("xml:lang")
            if language:
                self.values["language"] = language[:40]
        elif event.tag == "meta":
            name, written = event.attributes.get("name", "").lower(), event.attributes.get("content", "")
            if name in _NAMES and written:
                self.values[name] = written[:2000]


def _html_events(root: Any) -> Iterator[Event]:
    """Starts, texts and ends of a tree, without recursion: a page may nest as deeply as it likes."""
    node, depth = root, 0
    while True:
        tag = node.tag
        if tag == "-text":
            yield node.text_content or ""
        elif tag and tag[0] not in "-_!":
            yield Start(tag, {name: value or "" for name, value in node.attributes.items()})
            first = node.child if tag not in HIDDEN or tag in _IN_HEAD else None
            if first is not None:
                node, depth = first, depth + 1
                continue
            yield End(tag)
        while depth and node.next is None:
            node, depth = node.parent, depth - 1
            yield End(node.tag)
        if not depth:
            return
        node = node.next


def _xml_events(root: ET.Element) -> Iterator[Event]:
    yield Start(*_named(root))
    if root.text:
        yield root.text
    stack: list[tuple[ET.Element, Iterator[ET.Element]]] = [(root, iter(root))]
    while stack:
        element, children = stack[-1]
        child = next(children, None)
        if child is not None:
            yield Start(*_named(child))
            if child.text:
                yield child.text
            stack.append((child, iter(child)))
            continue
        stack.pop()
        yield End(_named(element)[0])
        if stack and element.tail:
            yield element.tail


def _named(element: ET.Element) -> tuple[str, dict[str, str]]:
    """The element's name and attributes as HTML has them."""
    tag = element.tag.removeprefix(_XHTML).rpartition("}")[2].lower()
    names = {"{http://www.w3.org/XML/1998/namespace}lang": "xml:lang"}
    return tag, {names.get(name, name).lower(): value for name, value in element.attrib.items()}


def _xml_root(text: str) -> ET.Element | None:
    """The root of a well-formed page; None where it is not well-formed, or is not XHTML."""
    root = _root(text)
    return None if root is None or _named(root)[0] != "html" else root


def parsed_xml(data: bytes) -> ET.Element | None:
    """The root of a well-formed part of an e-book; None where it is not well-formed. Raises Refused for its encoding."""
    return _root(decode_page(data, None, xml=True)[0])


def _root(text: str) -> ET.Element | None:
    text, subset = _without_doctype(re.sub(r"\A\s*<\?xml[^>]*\?>", "", text))
    entities = {name: double or single for name, double, single in _DECLARATION.findall(subset)}
    try:
        return ET.fromstring(_ENTITY.sub(partial(_character, entities), text))  # noqa: S314  no entities, and nothing is fetched
    except ET.ParseError:
        return None


def _without_doctype(text: str) -> tuple[str, str]:
    """The page without its document type, and what that declares. Steps over comments one by one: a pattern for all of them
    would try every way to divide them."""
    at = 0
    while comment := _COMMENT.match(text, at):
        at = comment.end()
    doctype = _DOCTYPE.match(text, at)
    return (text, "") if doctype is None else (text[doctype.end() :], doctype[1] or "")


def _character(entities: dict[str, str], match: re.Match[str]) -> str:
    """A named character of HTML, or an entity that the page declares, as text: an XML parser knows five names only."""
    name = match[1]
    if name is None or name in _PREDEFINED:
        return match[0]
    signs = entities.get(name, html5.get(f"{name};"))
    return match[0] if signs is None else "".join(f"&#{ord(sign)};" for sign in signs)
