"""Where is a long document cut, so that each part fits a model's window? On its structure, and nothing is lost.

Tried in this order: headings, paragraphs, lines, sentences (Chinese ones too), words, and characters where a text has none of
these. Neighbours are put together again as long as they fit, so that there are few parts. Pure.
"""

import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from worker.domain.pages import PAGE_BREAK
from worker.policy.context_window import estimate_tokens, tokens_of, weight
from worker.records import record


@record
class Part:
    """One stretch of a document; all parts one after another are its text."""

    text: str
    number: int
    """From 1."""
    of: int
    start: int
    """In characters of the document's text; ``end`` is behind the last one."""
    end: int
    pages: tuple[int, int] | None
    """First and last page it touches, from 1; None of a document without pages."""
    headings: tuple[str, ...]
    """Those it stands under, the outermost first."""


_HEADING = re.compile(
    r"^(?:(?P<marks>\#{1,6})[ \t]+(?P<marked>\S.*)"
    r"|(?P<chinese>第[一二三四五六七八九十百千零〇两\d]{1,9}(?P<unit>[卷部篇章回节節])(?:[ \t\u3000].*)?)"
    r"|(?P<named>(?:chapter|part|book|section)[ \t]+(?:\d{1,4}|[ivxlc]{1,9})\b.{0,100}))$",
    re.MULTILINE | re.IGNORECASE,
)
_FENCE = re.compile(r"^(?:```|~~~)(?P<rest>.*)$", re.MULTILINE)
"""A line that opens or closes a block of code."""
_UNITS = {"卷": 1, "部": 1, "篇": 1, "章": 2, "回": 2, "节": 3, "節": 3}
_NAMED = {"book": 1, "part": 1, "chapter": 2, "section": 3}
_BREAKS = (
    re.compile(r"\n[ \t\u3000]*\n\s*"),
    re.compile(r"\n+"),
    re.compile(r"[。！？!?…]+[」』”’）)\"']*\s*|(?<=[^\W\d_]{2})\.[\"'”’)]*\s+|[；;]\s*"),
    re.compile(r"\s+|[，、,]"),
)
"""After each match a piece may end."""


def split(text: str, budget: int, *, pages: Sequence[str] | None = None) -> tuple[Part, ...]:
    """``text`` in parts of at most ``budget`` tokens each, as ``estimate_tokens`` counts.

    ``pages``: of which ``text`` is made, ``PAGE_BREAK`` between them. Raises ValueError for a budget below 16 tokens, at
    which no sentence would be left whole.

    >>> [part.text for part in split("# One\\n\\n" + "a " * 60 + "\\n\\n# Two\\n\\nb", 45)][1]
    '# Two\\n\\nb'
    """
    if budget < 16:
        raise ValueError(f"a budget of {budget} tokens: at least 16 are needed")
    headings = list(_headings(text))
    spans = list(_pieces(text, 0, len(text), budget, [at for at, _, _ in headings]))
    starts = _page_starts(pages)
    paths = _paths(headings, text, spans)
    return tuple(
        Part(
            text[start:end],
            number,
            len(spans),
            start,
            end,
            None if starts is None else (_page(starts, start), _page(starts, max(start, end - 1))),
            next(paths),
        )
        for number, (start, end) in enumerate(spans, start=1)
    )


def _pieces(
    text: str, start: int, end: int, budget: int, headings: list[int], level: int = -1
) -> Iterator[tuple[int, int]]:
    """Spans that fit, neighbours put together."""
    if estimate_tokens(text[start:end]) <= budget:
        yield start, end
        return
    if level == len(_BREAKS):
        yield from _cut(text, start, end, budget)
        return
    if level < 0:
        ends = headings[bisect_right(headings, start) : bisect_left(headings, end)]
    else:
        ends = [match.end() for match in _BREAKS[level].finditer(text, start, end) if match.end() < end]
    begin, kept, used = start, start, (0, 0)
    for stop in [*ends, end]:
        size = weight(text[kept:stop])
        both = used[0] + size[0], used[1] + size[1]
        if tokens_of(*both) <= budget:
            kept, used = stop, both
            continue
        if kept > begin:
            yield begin, kept
        if tokens_of(*size) <= budget:
            begin, kept, used = kept, stop, size
        else:
            *whole, last = _pieces(text, kept, stop, budget, headings, level + 1)
            yield from whole
            begin, kept, used = last[0], stop, weight(text[last[0] : stop])
    if kept > begin:
        yield begin, kept


def _cut(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, int]]:
    while start < end:
        low, high = start + 1, min(end, start + 3 * budget)
        while low < high:  # the longest that fits; an estimate grows with its text
            middle = (low + high + 1) // 2
            if estimate_tokens(text[start:middle]) <= budget:
                low = middle
            else:
                high = middle - 1
        yield start, low
        start = low


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each heading begins, its level, its words; not what only looks like one within a block of code."""
    fences = _fences(text)
    begin, stop = next(fences, _NO_FENCE)
    for match in _HEADING.finditer(text):
        at = match.start()
        while stop <= at:
            begin, stop = next(fences, _NO_FENCE)
        if begin <= at:
            continue
        if match["marks"]:
            yield at, len(match["marks"]), match["marked"].strip(" #\t")
        elif match["chinese"]:
            yield at, _UNITS[match["unit"]], match["chinese"].strip()
        else:
            yield at, _NAMED[match["named"].split()[0].lower()], match["named"].strip()


_NO_FENCE = (sys.maxsize, sys.maxsize)


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Where each block of code begins and ends. One that is never closed does not count: a line of dashes hides no heading."""
    opened: int | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence.start()
        elif not fence["rest"].strip(" \t"):
            yield opened, fence.end()
            opened = None


def _paths(
    headings: Sequence[tuple[int, int, str]], text: str, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, ...]]:
    """The headings that each span stands under, the outermost first; both are in the order of the text."""
    path: list[tuple[int, str]] = []
    place = 0
    for start, end in spans:
        first = _SPACES.match(text, start, end)
        begin = min(start if first is None else first.end(), end)
        while place < len(headings) and headings[place][0] <= begin:
            _, level, words = headings[place]
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, words))
            place += 1
        yield tuple(words for _, words in path)


_SPACES = re.compile(r"\s+")


def _page_starts(pages: Sequence[str] | None) -> list[int] | None:
    if pages is None:
        return None
    starts, at = [], 0
    for page in pages:
        starts.append(at)
        at += len(page) + len(PAGE_BREAK)
    return starts


def _page(starts: list[int], at: int) -> int:
    return max(1, bisect_right(starts, at))
