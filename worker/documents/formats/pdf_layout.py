"""The layout of a PDF's page as pdfium tells it: headings by the size of their letters, and columns that were drawn line by line.

Nothing is left out and no word is changed. What is not clearly a heading or a column stays as pdfium reads it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from worker.documents.formats.pdf_lines import Line, letter_size
from worker.records import record

LARGER = 1.15
"""Times the size of most letters: from there on a line is a heading."""
MOST_LEVELS = 3
LONGEST_HEADING = 200
MOST_IN_HEADINGS = 0.25
"""Of all letters: with more, sizes do not tell headings from text (a poster, slides)."""
FEWEST_LINES = 6
"""Of each column."""
GUTTER = 8.0
"""Points between two columns, at least."""
FULL = 0.7
"""Of a column's width, which half of its lines fill: cells of a table do not."""

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""


@record
class SizedLine:
    """A line of a page and the size of its letters, in half points."""

    text: str
    size: int


def sized_lines(words: Any, lines: Sequence[Line]) -> Iterator[SizedLine]:
    """The lines of a text page. The size is the smaller one of the first and the last letter."""
    for line in lines:
        text = line.text.strip()
        if text and line.first >= 0:
            sizes = letter_size(words, line.first), letter_size(words, line.last)
            yield SizedLine(text, round(2 * min(sizes)))


def heading_sizes(lines: Sequence[SizedLine]) -> dict[int, int]:
    """Size → level of headings, of all lines of a document; nothing where sizes tell none.

    >>> heading_sizes([SizedLine("Title", 48), SizedLine("Part", 32), SizedLine("Words of the text. " * 9, 22)])
    {48: 1, 32: 2}
    """
    letters: Counter[int] = Counter()
    for line in lines:
        letters[line.size] += len(line.text)
    if not letters:
        return {}
    body = letters.most_common(1)[0][0]
    sizes = sorted(
        {line.size for line in lines if line.size >= body * LARGER and _may_head(line.text)}, reverse=True
    )
    if sum(letters[size] for size in sizes) > MOST_IN_HEADINGS * letters.total():
        return {}
    return {size: min(level, MOST_LEVELS) for level, size in enumerate(sizes, start=1)}


def _may_head(text: str) -> bool:
    return len(text) <= LONGEST_HEADING and sum(sign.isalpha() for sign in text) > 1


def with_headings(text: str, lines: Sequence[SizedLine], sizes: dict[int, int]) -> str:
    """The text of a page, ``#`` before its headings; one over several lines is joined.

    >>> with_headings("A long\\ntitle\\nText.", [SizedLine("A long", 48), SizedLine("title", 48)], {48: 1})
    '# A long title\\n\\nText.'
    """
    heads = [line for line in lines if line.size in sizes and _may_head(line.text)]
    if not heads:
        return text
    marked: list[str] = []
    before: int | None = None
    at = 0
    for line in text.split("\n"):
        nth = next((n for n in range(at, len(heads)) if heads[n].text == line.strip()), None)
        if nth is None:
            marked += [""] * (before is not None and bool(line.strip())) + [line]
            before = None
            continue
        at = nth + 1
        size = heads[nth].size
        if before == size and len(marked[-1]) + len(line) <= LONGEST_HEADING:
            marked[-1] += f" {line.strip()}"
        else:
            marked += [""] * bool(marked and marked[-1]) + [f"{'#' * sizes[size]} {line.strip()}"]
        before = size
    return "\n".join(marked)


def column_text(words: Any) -> str | None:
    """The page read column by column, where two columns of prose were drawn line by line; None where it is as it should be,
    and where a letter would be lost or doubled."""
    count = words.count_rects()
    if count < 2 * FEWEST_LINES:
        return None
    rectangles = runs([words.get_rect(number) for number in range(count)])
    gutter = woven_gutter(rectangles)
    if gutter is None:
        return None
    left, right = min(box[0] for box in rectangles), max(box[2] for box in rectangles)
    top, bottom = max(box[3] for box in rectangles), min(box[1] for box in rectangles)
    across = sorted(
        ((box[1], box[3]) for box in rectangles if box[0] < gutter < box[2]),
        key=lambda span: -span[1],
    )
    parts: list[str] = []
    top += 1
    for low, high in [
        *across,
        (bottom - 1, bottom - 1),
    ]:  # each line over both columns ends what stands above it
        if top > high:
            parts += [
                words.get_text_bounded(left - 1, high + 0.1, gutter, top),
                words.get_text_bounded(gutter, high + 0.1, right + 1, top),
            ]
        if high > low:
            parts.append(words.get_text_bounded(left - 1, low, right + 1, min(high, top)))
        top = min(top, low - 0.5)
    text = "\n".join(part.strip() for part in parts if part.strip())
    whole = words.get_text_bounded()
    return text if sorted("".join(text.split())) == sorted("".join(whole.split())) else None


def runs(rectangles: Sequence[Rectangle]) -> list[Rectangle]:
    """Pieces of a line that were drawn one after the other, put together where no gutter fits between them.

    >>> runs([(0, 0, 50, 10), (52, 2, 90, 10), (120, 0, 170, 10)])
    [(0, 0, 90, 10), (120, 0, 170, 10)]
    """
    cells: list[Rectangle] = []
    for left, bottom, right, top in rectangles:
        if cells:
            before = cells[-1]
            beside = -GUTTER < left - before[2] < GUTTER and bottom < before[3] and top > before[1]
            if beside:
                cells[-1] = before[0], min(before[1], bottom), max(before[2], right), max(before[3], top)
                continue
        cells.append((left, bottom, right, top))
    return cells


def woven_gutter(rectangles: Sequence[Rectangle]) -> float | None:
    """Where the space between two columns lies whose lines were drawn in turn, left and right; None where there are none such.

    Both columns have lines at the same heights, and half of their lines fill them: a table has neither wide gaps nor short cells
    that do.
    """
    left, right = min(box[0] for box in rectangles), max(box[2] for box in rectangles)
    width = right - left
    best: tuple[int, float] | None = None
    for edge in {round(box[0], 1) for box in rectangles}:  # a column begins where many lines do
        if not 0.3 * width < edge - left < 0.7 * width:
            continue
        before = [box for box in rectangles if box[2] <= edge - GUTTER]
        behind = [box for box in rectangles if box[0] >= edge - 1]
        begins = sum(abs(line[0] - edge) < 1 for line in behind)
        if len(before) >= FEWEST_LINES and begins >= FEWEST_LINES and (best is None or begins > best[0]):
            gutter = (max(line[2] for line in before) + edge) / 2
            if _is_woven(rectangles, gutter, left, edge, right):
                best = begins, gutter
    return None if best is None else best[1]


def _is_woven(rectangles: Sequence[Rectangle], gutter: float, left: float, edge: float, right: float) -> bool:
    """Whether most lines of the left column are followed by the line beside them, and half of all lines fill their column."""
    sides = [box for box in rectangles if not box[0] < gutter < box[2]]
    across = len(rectangles) - len(sides)
    rows: dict[tuple[bool, int], tuple[float, float]] = {}
    turns = 0
    for one, following in zip(sides, [*sides[1:], sides[-1]], strict=True):
        is_left = one[2] <= gutter
        key = is_left, round(one[1] / 3)
        begin, end = rows.get(key, (one[0], one[2]))
        rows[key] = min(begin, one[0]), max(end, one[2])
        turns += is_left and following[0] >= gutter and abs(one[1] - following[1]) < 3
    lines = {
        side: [end - begin for (is_left, _), (begin, end) in rows.items() if is_left is side]
        for side in (True, False)
    }
    if min(map(len, lines.values())) < FEWEST_LINES or across > len(sides) / 3:
        return False
    fill = median(lines[True]) / (gutter - left), median(lines[False]) / (right - edge)
    return turns >= 0.6 * min(map(len, lines.values())) and min(fill) >= FULL
