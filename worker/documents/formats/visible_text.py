"""The text that a browser shows of a page, from the starts, texts and ends of its elements."""

import re
from collections.abc import Iterator, Mapping

from worker.documents.formats.limits import check_size
from worker.records import record


@record
class Start:
    """An element begins."""

    tag: str
    attributes: Mapping[str, str]


@record
class End:
    """An element ends."""

    tag: str


Event = Start | End | str

HIDDEN = frozenset({"script", "style", "noscript", "template", "head", "title", "iframe", "object", "audio", "video", "canvas",
                    "noembed", "noframes", "datalist", "rp", "desc", "metadata", "defs"})  # fmt: skip
MOST_TARGET = 2000
"""Characters of a link's target."""
_BLOCKS = frozenset({"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir",
                     "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
                     "h6", "header", "hgroup", "hr", "html", "legend", "li", "listing", "main", "menu", "nav", "ol",
                     "optgroup", "option", "p", "plaintext", "pre", "search", "section", "select", "summary", "table",
                     "tbody", "td", "text", "tfoot", "th", "thead", "tr", "ul", "xmp"})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_ENDED = _BLOCKS - _CELLS - {"tr", "li", "option", "dd"}
"""Blocks that leave a blank line behind them; of the others the next one begins a line."""
_CONTENT = frozenset({"main", "article"})
_KEEPS_SPACE = frozenset({"pre", "textarea", "listing", "plaintext", "xmp"})
_VALUES = frozenset({"", "text", "search", "url", "tel", "email", "number", "date", "time", "datetime-local",
                     "month", "week", "submit", "button", "reset"})  # fmt: skip
_PROTECT = str.maketrans({"\n": "\x01", " ": "\x02", "\t": "\x03"})
"""Spaces that stand as they are, while all others are joined."""
_RESTORE = str.maketrans({"\x01": "\n", "\x02": " ", "\x03": "\t"})
_INVISIBLE = str.maketrans(dict.fromkeys("\x01\x02\x03\x04\xad\ufeff", ""))
_NONE = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\s*(?:!\s*important\s*)?(?:;|$)",
    re.I,
)
_STYLED = re.compile(r"(?:^|;)\s*white-space\s*:\s*(?:pre|pre-wrap|break-spaces|pre-line)\s*(?:;|$)", re.I)


def marks_content(tag: str, attributes: Mapping[str, str | None]) -> bool:
    """Whether the element is what its page is about."""
    return tag in _CONTENT or attributes.get("role") in ("main", "article")


def is_hidden(event: Start) -> bool:
    """Whether a browser shows nothing of the element: by its kind, ``hidden``, or the style written on it."""
    attributes = event.attributes
    return (
        event.tag in HIDDEN
        or "hidden" in attributes
        or (event.tag == "dialog" and "open" not in attributes)
        or bool(_NONE.search(attributes.get("style", "")))
    )


def visible_text(events: Iterator[Event], *, content_only: bool) -> str:
    """The visible text as Markdown has it: a blank line between blocks, ``a | b`` for cells, ``#`` before headings, ``-`` before
    items, ``[words](target)`` for links; of a picture ``[image: its words]``. ``content_only``: without the navigation and
    the footer of a page that says which part is its content.

    Raises Refused for more than is read of a document.
    """
    page = _Page(content_only=content_only)
    for event in events:
        if isinstance(event, Start):
            page.start(event)
        elif isinstance(event, End):
            page.end(event.tag)
        else:
            page.text(event)
    return page.finish()


class _Page:
    """The text so far, and the elements that are open."""

    def __init__(self, *, content_only: bool) -> None:
        self._content_only = content_only
        self._parts: list[str] = []
        self._size = 0
        self._open: list[tuple[str, bool, bool]] = []
        """Of each element its tag, whether it is hidden, and whether it keeps its spaces."""
        self._lists: list[int | None] = []
        """Of each open list the number of its next item; None where it has bullets."""
        self._first_cell = True
        self._links: list[tuple[int, str]] = []
        """Of each open link the number of parts before it, and its target."""

    def start(self, event: Start) -> None:
        tag = event.tag
        outer_hidden, outer_pre = self._open[-1][1:] if self._open else (False, False)
        hidden = outer_hidden or is_hidden(event) or (self._content_only and self._is_furniture(event))
        pre = outer_pre or tag in _KEEPS_SPACE or bool(_STYLED.search(event.attributes.get("style", "")))
        self._open.append((tag, hidden, pre))
        if tag in ("ol", "ul", "menu", "dir"):
            self._lists.append(_number(event.attributes.get("start"), 1) if tag == "ol" else None)
        if hidden:
            return
        if tag in ("br", "textarea"):
            self._add("\n" if tag == "br" else " ")
        elif tag == "a":
            self._links.append((len(self._parts), _target(event.attributes)))
        elif tag == "img":
            words = " ".join(event.attributes.get("alt", "").translate(_INVISIBLE).split())
            self._add(f" [image: {words}] " if words else "")
        elif tag == "input":
            self._input(event.attributes)
        elif tag == "li":
            self._add(f"\n{self._marker(event)}\x04")
        elif tag in _CELLS:
            self._add("" if self._first_cell else "\t")
            self._first_cell = False
        elif tag == "tr":
            self._first_cell = True
            self._add("\n")
        elif re.fullmatch(r"h[1-6]", tag):
            self._add("\n\n" + "#" * int(tag[1]) + " ")
        elif tag == "rt":
            self._add("(")
        elif tag in _BLOCKS:
            self._add("\n" if tag in ("option", "tbody", "thead", "tfoot", "dd") else "\n\n")

    def end(self, tag: str) -> None:
        if not self._open:
            return
        hidden = self._open.pop()[1]
        if tag in ("ol", "ul", "menu", "dir") and self._lists:
            self._lists.pop()
        if hidden:
            return
        if tag == "rt":
            self._add(")")
        elif tag == "a" and self._links:
            self._link(*self._links.pop())
        elif tag in _ENDED:
            self._add("\n\n")

    def text(self, text: str) -> None:
        hidden, pre = self._open[-1][1:] if self._open else (False, False)
        if hidden:
            return
        text = text.translate(_INVISIBLE)
        self._add(text.translate(_PROTECT) if pre else re.sub(r"[ \t\n\f\r]+", " ", text))

    def finish(self) -> str:
        text = "".join(self._parts).replace("\xa0", " ")
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
        text = re.sub(r" *\t *", "\t", text)
        text = re.sub(r"\t+(?=\n|\Z)", "", text).replace("\t", " | ")
        text = re.sub(r"\n{3,}", "\n\n", text)
        text = re.sub(r"\x04\s*", "", text)
        return text.strip("\n ").translate(_RESTORE).strip("\n") + "\n"

    def _link(self, start: int, target: str) -> None:
        """The words of a link with its target, where it leads elsewhere and they do not say so themselves."""
        words = "".join(self._parts[start:])
        if not target or not words.strip() or target in words:
            return
        if "\n" in words or "\x04" in words or "[" in words:  # blocks, or a picture
            self._add(f" ({target})")
            return
        self._parts[start:] = [words[: len(words) - len(words.lstrip())], "[", words.strip(), f"]({target})"]
        self._add(words[len(words.rstrip()) :])

    def _marker(self, event: Start) -> str:
        if not self._lists or self._lists[-1] is None:
            return "- "
        number = _number(event.attributes.get("value"), self._lists[-1])
        self._lists[-1] = number + 1
        return f"{number}. "

    def _input(self, attributes: Mapping[str, str]) -> None:
        kind = attributes.get("type", "").strip().lower()
        if kind in ("checkbox", "radio"):
            self._add("[x] " if "checked" in attributes else "[ ] ")
        elif kind in _VALUES and attributes.get("value"):
            self._add(f" {attributes['value']} ")

    def _is_furniture(self, event: Start) -> bool:
        """Navigation, and the footer of a page: not that of an article."""
        role = event.attributes.get("role")
        if event.tag not in ("nav", "footer") and role not in ("navigation", "contentinfo"):
            return False
        return not any(tag in _CONTENT for tag, _, _ in self._open)

    def _add(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        check_size(self._size)


def _target(attributes: Mapping[str, str]) -> str:
    """Where a link leads; nothing for a place on the page, a script, or what is no address.

    >>> _target({"href": "a.html"}), _target({"href": "#top"}), _target({"href": "javascript:x()"})
    ('a.html', '', '')
    """
    target = re.sub(r"\s", "", attributes.get("href", "").translate(_INVISIBLE))
    return "" if target.lower().startswith(("#", "javascript:", "data:")) else target[:MOST_TARGET]


def _number(written: str | None, default: int) -> int:
    """
    >>> _number("7", 1), _number("x", 1), _number(None, 3)
    (7, 1, 3)
    """
    return int(written) if written is not None and re.fullmatch(r"-?[0-9]{1,9}", written.strip()) else default
