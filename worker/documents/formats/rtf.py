"""Rich Text Format, as Word shows it with all changes accepted.

Letters beyond ASCII are bytes in the encoding of their font, which differs within one file. kreuzberg and striprtf were compared:
the first reads all of them in one encoding and keeps deleted text, the second halves characters beyond the first 65,536 and
loses notes and levels.
"""

import codecs
import re
from copy import copy
from typing import Any

from worker.documents.formats.charsets import decode_named
from worker.documents.formats.limits import Content, Refused, check_size, content, paragraphs
from worker.documents.formats.rtf_words import CHARSETS, ENCODINGS, KEPT, SIGNS, SKIPPED
from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, STRUCK, spell_marks, unmarked
from worker.documents.formats.symbols import symbol

_TOKEN = re.compile(
    rb"\\(?P<word>[A-Za-z]{1,32})(?P<number>-?[0-9]{1,10})? ?|\\'(?P<hex>[0-9A-Fa-f]{2})|\\(?P<sign>.)|(?P<brace>[{}])"
    rb"|(?P<text>[^\\{}\r\n]+)|[\r\n]+|\\",
    re.DOTALL,
)
_LINK = re.compile(r'\s*HYPERLINK\s+"([^"]{1,2000})"')
_SYMBOL = re.compile(r'\s*SYMBOL\s+(\d{1,5})(?:.*?\\f\s+"([^"]{1,60})")?')
_HEADING = re.compile(r"heading ([1-9])")
_INFO = {"title": "title", "subject": "subject", "author": "authors", "keywords": "keywords"}
_TOPS = frozenset({"header", "headerl", "headerr", "headerf"})
_BOTTOMS = frozenset({"footer", "footerl", "footerr", "footerf"})
MOST_IN_LINK = 1000
"""Pieces of text of a link; fields within fields would else be joined again and again."""
MOST_GROUPS = 100_000
"""Groups within groups."""


def read_rtf(data: bytes, _encoding: str | None) -> Content:
    """Headers, text, notes and footers; headings as in Markdown, tables as ``a | b``. Raises Refused."""
    if not data.lstrip().startswith(b"{\\rtf"):
        raise Refused("unreadable", "not RTF: it does not begin as one")
    reader = _Reader()
    reader.read(data)
    return reader.finish()


class _Flow:
    """A text of its own: the body, a note, a header. Its paragraphs, and the table and the paragraph that are open."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.blocks: list[str] = []
        self.rows: list[str] = []
        self.cells: list[str] = []
        self.cell: list[str] = []
        self.parts: list[str] = []
        self.boxes: list[str] = []
        """Of text boxes, which follow the paragraph that they are anchored in."""

    def paragraph(self, mark: str, *, in_table: bool) -> None:
        text = "".join(self.parts)
        self.parts = []
        if in_table:
            self.cell.append(text)
        elif text.strip():
            self._end_table()
            self.blocks.append(mark + spell_marks(text).strip(" \n"))
        if not in_table:
            self.blocks += self.boxes
            self.boxes = []

    def end_cell(self) -> None:
        self.paragraph("", in_table=True)
        words = " ".join(spell_marks(" ".join(self.cell)).split())
        self.cells.append(words)
        self.cell = []

    def end_row(self) -> None:
        if any(self.cells):
            self.rows.append(" | ".join(self.cells).strip(" "))
        self.cells = []

    def _end_table(self) -> None:
        if self.rows:
            self.blocks.append("\n".join(self.rows))
            self.rows = []

    def finish(self) -> list[str]:
        if self.cell or self.cells:
            self.end_cell()
            self.end_row()
        self.paragraph("", in_table=False)
        self._end_table()
        return self.blocks


class _State:
    """What a group inherits, and what ends with it."""

    def __init__(self, flow: _Flow) -> None:
        self.flow = flow
        self.kind = ""
        """Of a text that is not shown: ``font``, ``style``, ``field``, ``label``, a name of ``_INFO``; ``skip`` for none."""
        self.font: int | None = None
        self.unicode_count = 1
        self.hidden = self.deleted = self.struck = False
        self.level = ""
        self.in_table = False
        self.heading = 0
        self.begins_field = False


class _Reader:
    """The walk through the words of a file."""

    def __init__(self) -> None:
        self._body = _Flow()
        self._state = _State(self._body)
        self._stack: list[_State] = []
        self._bytes = bytearray()
        self._encoding = "cp1252"
        self._default_font: int | None = None
        self._fonts: dict[int, tuple[int | None, str]] = {}
        """Number → charset and name."""
        self._styles: dict[int, str] = {}
        self._style = 0
        self._words: list[str] = []
        """Of the text that is not shown and is open now."""
        self._links: list[tuple[int, _Flow, int, str]] = []
        """Of each open field the depth, where it began, and where it leads."""
        self._notes: list[str] = []
        self._margins: dict[str, list[str]] = {"top": [], "bottom": []}
        self._metadata: dict[str, Any] = {}
        self._skip = 0
        """Signs that stand in for the character before them, for programs without Unicode."""
        self._starred = False
        self._size = 0

    def read(self, data: bytes) -> None:
        """Take all words. Raises Refused."""
        at = 0
        while (match := _TOKEN.match(data, at)) is not None:
            at = match.end()
            if match["word"] is not None:
                word, number = match["word"].decode(), match["number"]
                if word == "bin":
                    at += max(0, int(number or 0))
                self._word(word, None if number is None else int(number))
            elif match["brace"] is not None:
                self._flush()
                self._skip = 0
                if match["brace"] == b"{":
                    self._open()
                else:
                    self._close()
            elif match["hex"] is not None:
                self._take(bytes([int(match["hex"], 16)]))
            elif match["text"] is not None:
                self._take(match["text"])
            elif match["sign"] is not None:
                self._sign(match["sign"])

    def finish(self) -> Content:
        """What the file says."""
        self._flush()
        while self._stack:
            self._close()
        blocks = self._body.finish()
        notes = [f"[^{number}]: {note}" for number, note in enumerate(self._notes, start=1)]
        tops, bottoms = (list(dict.fromkeys(self._margins[end])) for end in ("top", "bottom"))
        return content(paragraphs([*tops, *blocks, *notes, *bottoms]), metadata=self._metadata)

    def _open(self) -> None:
        if len(self._stack) >= MOST_GROUPS:
            raise Refused("too_large", f"more than {MOST_GROUPS:,} groups within each other")
        self._stack.append(self._state)
        self._state = copy(self._state)
        self._state.begins_field = False

    def _close(self) -> None:
        if not self._stack:
            return
        ended, self._state = self._state, self._stack.pop()
        if ended.kind == "style" or ended.kind not in (self._state.kind, "skip"):
            self._end_words(ended.kind)
        if ended.flow is not self._state.flow:
            self._end_flow(ended.flow)
        if ended.begins_field:
            self._end_field()

    def _end_words(self, kind: str) -> None:
        text = "".join(self._words).strip()
        self._words = []
        if kind == "style":
            self._styles.setdefault(self._style, text.rstrip(";").lower())
        elif kind == "label" and text:
            self._write("- " if not any(sign.isalnum() for sign in text) or text == "o" else f"{text} ")
        elif kind == "field" and self._links:
            depth, flow, begin, link = self._links[-1]
            if drawn := _SYMBOL.match(text):
                self._write(symbol(drawn[2] or "", f"{int(drawn[1]):X}"))
            elif target := _LINK.match(text):
                link = target[1]
            self._links[-1] = depth, flow, begin, link
        elif kind in _INFO and text:
            self._metadata[_INFO[kind]] = [text[:2000]] if kind == "author" else text[:2000]

    def _end_field(self) -> None:
        _, flow, begin, target = self._links.pop()
        words = "".join(flow.parts[begin:]) if len(flow.parts) - begin < MOST_IN_LINK else ""
        if target and words.strip() and "\n" not in words and target not in words:
            flow.parts[begin:] = [f"[{words.strip()}]({target})"]

    def _end_flow(self, flow: _Flow) -> None:
        blocks = flow.finish()
        if flow.kind == "note":
            self._notes.append(" ".join(blocks))
        elif flow.kind == "box":
            self._state.flow.boxes += blocks
        elif blocks:
            self._margins[flow.kind].append("\n\n".join(blocks))

    def _sign(self, sign: bytes) -> None:
        if sign in b"\\{}":
            self._take(sign)
            return
        if self._skip:
            self._skip -= 1
            return
        if sign == b"*":
            self._starred = True
        elif sign in b"~_":
            self._flush()
            self._write(" " if sign == b"~" else "\N{NON-BREAKING HYPHEN}")
        elif sign in b"\r\n":
            self._word("par", None)
        elif sign == b"\t":
            self._write("\t")

    def _take(self, data: bytes) -> None:
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        self._bytes += data

    def _flush(self) -> None:
        """Write the bytes so far, in the encoding of their font."""
        if not self._bytes:
            return
        data, self._bytes = bytes(self._bytes), bytearray()
        if self._state.kind == "skip":
            return
        charset, name = self._fonts.get(-1 if self._state.font is None else self._state.font, (None, ""))
        if charset == CHARSETS["symbol"] and self._state.kind != "font":
            self._write("".join(symbol(name, f"{byte:X}") if byte > 0x20 else chr(byte) for byte in data))
            return
        codec = self._codec(charset)
        try:
            text = decode_named(data, codec)
        except UnicodeDecodeError:
            text = data.decode(codec, "replace")
        self._write(text)

    def _codec(self, charset: int | None) -> str:
        """The encoding of a font. A program that knows no charsets gives every font the one of English."""
        own = ENCODINGS.get(-1 if charset is None else charset)
        if own is None or (charset == 0 and not self._knows_charsets()):
            return self._encoding
        return own

    def _knows_charsets(self) -> bool:
        return any(ENCODINGS.get(charset or 0) == self._encoding for charset, _ in self._fonts.values())

    def _write(self, text: str) -> None:
        state = self._state
        if state.kind == "skip":
            return
        if state.kind == "font":
            charset, name = self._fonts.get(state.font or 0, (None, ""))
            self._fonts[state.font or 0] = charset, (name + text).partition(";")[0][:60]
            return
        if state.kind:
            self._words.append(text)
            return
        if state.hidden or state.deleted:
            return
        text = unmarked(text)
        for mark in (state.level, STRUCK if state.struck else ""):
            text = f"{mark}{text}{LEVEL}" if mark else text
        self._size += len(text)
        check_size(self._size)
        state.flow.parts.append(text)

    def _word(self, word: str, number: int | None) -> None:
        self._flush()
        starred, self._starred = self._starred, False
        state = self._state
        if self._skip and word != "u":
            self._skip -= 1
            return
        if word == "u" and number is not None:
            sign = number % 0x10000
            _, name = self._fonts.get(-1 if state.font is None else state.font, (None, ""))
            is_symbol = 0xF000 <= sign <= 0xF0FF
            self._write(symbol(name, f"{sign:X}") if is_symbol else chr(sign) if sign else "")
            self._skip = state.unicode_count
        elif word in SIGNS:
            self._write(SIGNS[word])
        elif word in SKIPPED or (word.startswith("m") and word.endswith("Pr")):
            state.kind = "skip"
        elif not self._starts_text(word):
            if starred and word not in KEPT:
                state.kind = "skip"
            else:
                self._format(word, number)

    def _starts_text(self, word: str) -> bool:
        """Whether a text of another kind begins with this word."""
        state = self._state
        if word == "ud" and state.kind == "upr":
            state.kind = ""
        elif state.kind == "skip":
            pass
        elif word in ("fonttbl", "stylesheet", "fldinst", "listtext", "pntext", "upr"):
            kinds = {"fonttbl": "font", "stylesheet": "style", "fldinst": "field", "upr": "upr"}
            state.kind = kinds.get(word, "label")
        elif word in _INFO:
            state.kind = word
        elif word == "field":
            state.begins_field = True
            self._links.append((len(self._stack), state.flow, len(state.flow.parts), ""))
        elif word == "footnote":
            self._write(f"[^{len(self._notes) + 1}]")
            state.flow, state.in_table, state.level = _Flow("note"), False, ""
        elif word in _TOPS or word in _BOTTOMS:
            state.flow, state.in_table = _Flow("top" if word in _TOPS else "bottom"), False
        elif word in ("shptxt", "dptxbxtext"):
            state.flow, state.kind, state.in_table = _Flow("box"), "", False
        else:
            return False
        return True

    def _format(self, word: str, number: int | None) -> None:
        state, is_on = self._state, number != 0
        if state.kind == "skip":
            return
        match word:
            case "par" | "sect" | "page" if not state.kind:
                state.flow.paragraph("#" * state.heading + " " * bool(state.heading), in_table=state.in_table)
            case "cell" if not state.kind:
                state.flow.end_cell()
            case "row" if not state.kind:
                state.flow.end_row()
            case "pard":
                state.in_table, state.heading = False, 0
            case "intbl":
                state.in_table = is_on
            case "s" if state.kind == "style":
                self._style = number or 0
                self._words = []
            case "s":
                heading = _HEADING.match(self._styles.get(number or 0, ""))
                state.heading = 0 if heading is None else int(heading[1])
            case "outlinelevel" if not state.kind and number is not None:
                state.heading = number + 1 if 0 <= number < 6 else 0
            case "f":
                state.font = number
            case "fcharset" if state.kind == "font":
                _, name = self._fonts.get(state.font or 0, (None, ""))
                self._fonts[state.font or 0] = number, name
            case "plain":
                state.hidden = state.struck = False
                state.level, state.font = "", self._default_font
            case "super" | "up":
                state.level = RAISED if is_on else ""
            case "sub" | "dn":
                state.level = LOWERED if is_on else ""
            case "nosupersub":
                state.level = ""
            case "strike" | "striked":
                state.struck = is_on
            case "v":
                state.hidden = is_on
            case "deleted":
                state.deleted = is_on
            case "uc":
                state.unicode_count = max(0, min(number or 0, 100))
            case "deff":
                self._default_font = state.font = number
            case "ansicpg" if number:
                self._encoding = _code_page(number, self._encoding)
            case "mac":
                self._encoding = "mac-roman"
            case "pc" | "pca":
                self._encoding = "cp437" if word == "pc" else "cp850"


def _code_page(number: int, default: str) -> str:
    """
    >>> _code_page(936, "cp1252"), _code_page(65001, "cp1252"), _code_page(7, "cp1252")
    ('gb18030', 'utf-8', 'cp1252')
    """
    name = {936: "gb18030", 54936: "gb18030", 65001: "utf-8", 10000: "mac-roman"}.get(number, f"cp{number}")
    try:
        return name if codecs.lookup(name) else default
    except LookupError:
        return default
