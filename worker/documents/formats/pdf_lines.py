"""The lines of a page of a PDF, by where its letters stand.

pdfium guesses where a line ends, and between texts that were drawn apart, such as the cells of a table, it often guesses
wrongly: ``get_text_bounded`` then gives "12" and "5" side by side as "125", or two rows as one.
"""

import ctypes
import math
import re
from collections.abc import Iterator
from typing import Any

from worker.documents.formats.scripts import LEVEL, LOWERED, RAISED, spell_marks, unmarked
from worker.records import record

LEVEL_ENOUGH = 0.5
"""Points between two base lines, which say nothing."""
SAME_LINE = 0.5
"""Of the larger size: letters whose base lines differ by less stand on one line."""
GAP = 0.1
"""Of the larger size: texts that are further apart are two words."""
SMALLER = 0.87
"""Times the size of what stands before: letters that are no larger and do not stand on its base line are set high or low."""
_SPACES = re.compile(r"[ \r\n]+")
_NUMBER = re.compile(r"[+\-−–]?[0-9]+")
_UPRIGHT = 0.05
"""Radians."""


@record
class Line:
    """A line, and the places of its first and its last letter among the page's letters."""

    text: str
    first: int
    last: int


def page_lines(words: Any) -> list[Line]:
    """The lines of a text page. What pdfium finds in it stays as it is, but for the spaces between."""
    letters = words.get_text_range().replace("\ufffe", "\x02")  # both stand for a hyphen at the end of a line
    bounded = words.get_text_bounded()
    if len(letters) != words.count_chars() or _solid(letters) != _solid(bounded):
        # letters beside the page, or such as pdfium counts twice: places say nothing
        return [Line(line, -1, -1) for line in bounded.splitlines()]
    lines: list[list[tuple[int, int, str]]] = [[]]
    at = 0
    for match in _SPACES.finditer(letters):
        begin, end = match.span()
        between = match[0]
        if begin > 0 and end < len(letters):
            between = _between(words, begin, end, between)
        pieces = between.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[-1].append((at, begin, pieces[0]))
        lines += [[] for _ in pieces[1:]]
        at = end
    lines[-1].append((at, len(letters), ""))
    return [line for parts in lines if (line := _line(words, letters, parts)) is not None]


def _solid(text: str) -> str:
    return "".join(text.split())


def _between(words: Any, begin: int, end: int, between: str) -> str:
    """What belongs between two letters instead of spaces that pdfium made up."""
    from pypdfium2 import raw

    if not raw.FPDFText_IsGenerated(words, begin):
        return between
    before, after = begin - 1, end
    (left, low), (right, high) = origin(words, before), origin(words, after)
    breaks = "\n" in between
    if abs(low - high) < LEVEL_ENOUGH and (not breaks or right <= left):
        return between
    if any(_UPRIGHT < raw.FPDFText_GetCharAngle(words, at) < math.tau - _UPRIGHT for at in (before, after)):
        return between
    size = max(letter_size(words, before), letter_size(words, after))
    if abs(low - high) >= SAME_LINE * size:
        return between if breaks else "\n"
    if right <= left or not breaks:
        return between
    return " " if words.get_charbox(after)[0] - words.get_charbox(before)[2] > GAP * size else ""


def _line(words: Any, letters: str, parts: list[tuple[int, int, str]]) -> Line | None:
    text = "".join(letters[begin:end] + space for begin, end, space in parts)
    filled = [(begin, end) for begin, end, _ in parts if end > begin]
    if not filled:
        return None
    raised = list(_raised(words, letters, parts))
    if raised:
        marks = {begin: mark for begin, _, mark in raised}
        ends = {end for _, end, _ in raised}
        text = spell_marks(
            "".join(
                marks.get(at, "") + unmarked(letters[at]) + LEVEL * (at in ends) if at >= 0 else space
                for begin, end, space in parts
                for at in (*range(begin, end), -1)
            )
        )
    return Line(text, filled[0][0], filled[-1][1] - 1)


def _raised(words: Any, letters: str, parts: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """First and last place of each number that is set higher or lower than what it follows, and its mark."""
    joined: int | None = None
    """The letter before this part, where no space stands between."""
    for begin, end, space in parts:
        for match in _NUMBER.finditer(letters, begin, end):
            base = match.start() - 1 if match.start() > begin else joined
            if base is None or not (letters[base].isalnum() or letters[base] in ")]}.,"):
                base = match.start()
            last = match.end() - 1
            size = letter_size(words, base)
            if base == last or letter_size(words, last) > SMALLER * size:
                continue
            first = next(
                at for at in range(match.start(), last + 1) if letter_size(words, at) <= SMALLER * size
            )
            rise = origin(words, last)[1] - origin(words, base)[1]
            if rise > 0.1 * size:
                yield first, last, RAISED
            elif rise < -0.05 * size:
                yield first, last, LOWERED
        joined = (end - 1 if end > begin else joined) if not space else None


def origin(words: Any, index: int) -> tuple[float, float]:
    """Where the base line of a letter begins, in points."""
    from pypdfium2 import raw

    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(words, index, ctypes.byref(x), ctypes.byref(y))
    return x.value, y.value


def letter_size(words: Any, index: int) -> float:
    """The size of a letter in points, as it is drawn."""
    from pypdfium2 import raw

    matrix = raw.FS_MATRIX()
    scale = (
        math.hypot(matrix.b, matrix.d) if raw.FPDFText_GetMatrix(words, index, ctypes.byref(matrix)) else 1.0
    )
    size: float = raw.FPDFText_GetFontSize(words, index)
    return size * scale
