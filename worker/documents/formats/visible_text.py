"""The text that a browser shows of a page, from the starts, texts and ends of its elements."""

import re
from collections.abc import Iterator, Mapping

from worker.documents.formats.html_tables import Grid, flat, span_of
from worker.documents.formats.limits import check_size
from worker.documents.formats.mathml import DEEPEST, Node, formula
from worker.documents.formats.numbering import numeral
from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, STRUCK, spell_marks, unmarked
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
                    "noembed", "noframes", "datalist", "rp", "rtc", "desc", "metadata", "defs"})  # fmt: skip
MOST_TARGET = 2000
"""Characters of a link's target."""
_INDENT = "\x02\x02"
MOST_INDENT = 12
"""Levels of lists that are set in."""
_LISTS = frozenset({"ol", "ul", "menu", "dir"})
_MARKS = {"sup": RAISED, "sub": LOWERED, "del": STRUCK, "s": STRUCK, "strike": STRUCK}
_DRAWN_TWICE = "katex-html"
"""The class of what KaTeX draws of a formula that stands beside it as MathML."""
_FORMS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
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
_INVISIBLE = str.maketrans(dict.fromkeys("\x01\x02\x03\x04\x05\xad\ufeff", ""))
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
        or _DRAWN_TWICE in attributes.get("class", "").split()
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
        self._open: list[tuple[str, bool, bool, Mapping[str, str]]] = []
        """Of each element its tag, whether it is hidden, whether it keeps its spaces, and its attributes."""
        self._lists: list[tuple[int | None, str]] = []
        """Of each open list the number of its next item (None where it has bullets), and how that is written."""
        self._grids: list[Grid] = []
        self._links: list[tuple[int, str]] = []
        """Of each open link the number of parts before it, and its target."""
        self._options: list[tuple[bool, int]] = []
        """Of each option of an open drop-down list whether it is chosen, and the number of parts before it."""
        self._formula: list[Node] = []
        """The open elements of a formula."""

    def start(self, event: Start) -> None:
        tag, attributes = event.tag, event.attributes
        outer_hidden, outer_pre = self._open[-1][1:3] if self._open else (False, False)
        hidden = outer_hidden or is_hidden(event) or (self._content_only and self._is_furniture(event))
        pre = outer_pre or tag in _KEEPS_SPACE or bool(_STYLED.search(attributes.get("style", "")))
        self._open.append((tag, hidden, pre, attributes))
        if tag in _LISTS:
            number = _number(attributes.get("start"), 1) if tag == "ol" else None
            self._lists.append((number, _FORMS.get(attributes.get("type", ""), "decimal")))
        if hidden:
            return
        if tag == "math" or self._formula:
            node = Node(tag, attributes)
            if self._formula and len(self._formula) <= DEEPEST:
                self._formula[-1].inside.append(node)
            self._formula.append(node)
        elif tag in ("br", "textarea", "button"):
            self._add("\n" if tag == "br" else " ")
        elif tag == "a":
            self._links.append((len(self._parts), _target(attributes)))
        elif tag == "img":
            words = " ".join(attributes.get("alt", "").translate(_INVISIBLE).split())
            self._add(f" [image: {words}] " if words else "")
        elif tag == "input":
            self._input(attributes)
        elif tag in _MARKS:
            self._add(_MARKS[tag])
        elif tag == "li":
            self._add(f"\n{_INDENT * min(len(self._lists) - 1, MOST_INDENT)}{self._marker(event)}\x04")
        elif tag == "table":
            if self._grids:
                self._grids[-1].is_layout = True
            self._grids.append(Grid())
            self._add("\n\n")
        elif tag in _CELLS and self._grids:
            self._add("\t" * self._grids[-1].start_cell())
            self._grids[-1].begin = len(self._parts)
        elif tag == "tr":
            if self._grids:
                self._grids[-1].start_row()
            self._add("\n")
        elif tag == "select" and not _shows_all(attributes):
            self._options = [(False, len(self._parts))]
            self._add(" ")
        elif tag == "option":
            self._option(attributes)
        elif re.fullmatch(r"h[1-6]", tag):
            self._add("\n\n" + "#" * int(tag[1]) + " ")
        elif tag == "rt":
            self._add("(")
        elif tag in _LISTS and len(self._lists) > 1:
            self._add("\x05")
        elif tag in _BLOCKS:
            self._add("\n" if tag in ("tbody", "thead", "tfoot", "dd") else "\n\n")

    def end(self, tag: str) -> None:
        if not self._open:
            return
        _, hidden, _, attributes = self._open.pop()
        nested = len(self._lists) > 1
        if tag in _LISTS and self._lists:
            self._lists.pop()
        if hidden:
            return
        if self._formula:
            node = self._formula.pop()
            if not self._formula:
                space = "\n\n" if attributes.get("display") == "block" else ""
                self._add(f"{space}{formula(node)}{space}")
        elif tag == "rt":
            self._add(")")
        elif tag in ("textarea", "button"):
            self._add(" ")
        elif tag == "a" and self._links:
            self._link(*self._links.pop())
        elif tag in _MARKS:
            self._add(LEVEL)
        elif tag in _CELLS and self._grids:
            grid = self._grids[-1]
            columns, rows = (span_of(_number(attributes.get(name), 1)) for name in ("colspan", "rowspan"))
            text = "" if grid.is_layout else "".join(self._parts[grid.begin :])
            self._add("\t" * grid.end_cell(columns, rows, text, len(self._parts)))
        elif tag == "tr" and self._grids:
            self._flatten(self._grids[-1])
        elif tag == "select" and self._options:
            self._choose()
        elif tag in _LISTS and nested:
            self._add("\x05")
        elif tag in _ENDED:
            if tag == "table" and self._grids:
                self._grids.pop()
            self._add("\n\n")

    def text(self, text: str) -> None:
        hidden, pre = self._open[-1][1:3] if self._open else (False, False)
        if hidden:
            return
        if self._formula:
            self._formula[-1].inside.append(unmarked(text))
            return
        text = unmarked(text.translate(_INVISIBLE))
        self._add(text.translate(_PROTECT) if pre else re.sub(r"[ \t\n\f\r]+", " ", text))

    def finish(self) -> str:
        text = "".join(self._parts).replace("\xa0", " ")
        text = re.sub(r" *\x05 *\n?", "\n", text)  # the begin or end of a list within a list
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
        text = re.sub(r" *\t *", "\t", text)
        text = re.sub(r"\t+(?=\n|\Z)", "", text).replace("\t", " | ")
        text = re.sub(r"\n{3,}", "\n\n", text)
        text = re.sub(r"\x04\s*", "", text)
        return spell_marks(text).strip("\n ").translate(_RESTORE).strip("\n") + "\n"

    def _flatten(self, grid: Grid) -> None:
        """Let a row of data be one line: a line break within a cell would end it."""
        grid.end_row()
        if len(grid.cells) < 2:
            return
        for begin, end in reversed(grid.cells):
            text = "".join(self._parts[begin:end])
            if "\n" in text.strip() or "\x01" in text:
                self._parts[begin:end] = [flat(text.replace("\x04", ""))]

    def _option(self, attributes: Mapping[str, str]) -> None:
        if self._options:
            self._options.append(("selected" in attributes, len(self._parts)))
        else:
            self._add("\n[x] " if "selected" in attributes else "\n[ ] ")

    def _choose(self) -> None:
        """Of a drop-down list leave what it shows: the option that is chosen, else the first."""
        (_, begin), *options = self._options
        at = next((at for at in reversed(range(len(options))) if options[at][0]), 0)
        ends = [start for _, start in options[1:]] + [len(self._parts)]
        shown = "".join(self._parts[options[at][1] : ends[at]]) if options else ""
        self._parts[begin:] = [f" {shown.strip()} "]
        self._options = []

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
        number, form = self._lists[-1] if self._lists else (None, "")
        if number is None:
            return "- "
        number = _number(event.attributes.get("value"), number)
        self._lists[-1] = number + 1, form
        return f"{numeral(number, form)}. "

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
        return not any(tag in _CONTENT for tag, *_ in self._open)

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


def _shows_all(attributes: Mapping[str, str]) -> bool:
    """Whether a list of options is shown open, not as a drop-down list."""
    return "multiple" in attributes or _number(attributes.get("size"), 1) > 1


def _number(written: str | None, default: int) -> int:
    """
    >>> _number("7", 1), _number("x", 1), _number(None, 3)
    (7, 1, 3)
    """
    return int(written) if written is not None and re.fullmatch(r"-?[0-9]{1,9}", written.strip()) else default
