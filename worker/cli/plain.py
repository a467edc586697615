"""A table of plain lines, without what a short command would have to import for a drawn one."""

import re
from collections.abc import Callable, Mapping, Sequence

from worker.observability.terminal import terminal_safe

SHORTEST = 8
"""Columns of a terminal that are left of a cut column."""


def lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    width: int | None = None,
    paint: Mapping[str, Callable[[str], str]] | None = None,
) -> list[str]:
    """The columns aligned, two spaces apart; those in ``right`` to the right. With ``width`` columns that are neither in
    ``right`` nor in ``whole`` are cut, the widest first, so that a line fits. ``paint`` colours the cells of a column.

    >>> lines(["name", "jobs"], [["茶", "1"], ["ads", "20"]], right=["jobs"])
    ['name  jobs', '茶       1', 'ads     20']
    >>> lines(["name", "model"], [["a-long-name", "a-longer-model"]], width=20)
    ['name       model', 'a-long-n…  a-longer…']
    """
    table = [list(columns), *([terminal_safe(" ".join(cell.split())) for cell in row] for row in rows)]
    widths = [max(cells(row[at]) for row in table) for at in range(len(columns))]
    if width is not None:
        kept = {*right, *whole}
        widths = _fitted(widths, [at for at, name in enumerate(columns) if name not in kept], width)
    aligned = [
        [
            _padded(_cut(cell, widths[at]), widths[at], right=columns[at] in right)
            for at, cell in enumerate(row)
        ]
        for row in table
    ]
    for name, colour in (paint or {}).items():
        for row in aligned[1:]:
            row[columns.index(name)] = colour(row[columns.index(name)])
    return ["  ".join(row).rstrip() for row in aligned]


_COMMAND = re.compile(r"\bcaravan(?: (?:[^\s;,:()]|[,:](?=\S))+)+")
"""A command within a sentence."""
_KEPT = "\x00"


def folded(line: str, width: int) -> str:
    """A line of text as several that fit, all but the first indented. No word is broken, and no command that fits.

    >>> folded("  gone: give it again; caravan retry 1 --state held", 33)
    '  gone: give it again;\\n    caravan retry 1 --state held'
    """
    text = line.lstrip(" ")
    indent = line[: len(line) - len(text)]
    rest = f"{indent}  "
    room = width - len(rest)
    text = _COMMAND.sub(lambda match: match[0].replace(" ", _KEPT if cells(match[0]) <= room else " "), text)
    rows, row = [], indent
    for word in text.split(" "):
        if row.strip() and cells(row) + 1 + cells(word) > width:
            rows.append(row)
            row = rest + word
        else:
            row += f" {word}" if row.strip() else word
    return "\n".join([*rows, row]).replace(_KEPT, " ")


def _fitted(widths: list[int], cut: Sequence[int], width: int) -> list[int]:
    """The widths of a line that is ``width`` wide, as far as the columns in ``cut`` allow that."""
    fitted = list(widths)
    over = sum(fitted) + 2 * (len(fitted) - 1) - width
    while over > 0:
        widest = max(cut, key=lambda at: fitted[at], default=None)
        if widest is None or fitted[widest] <= SHORTEST:
            break
        fitted[widest] -= 1
        over -= 1
    return fitted


def cells(text: str) -> int:
    """How wide ``text`` stands in a terminal.

    >>> cells("tea"), cells("绿茶")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(2 if east_asian_width(sign) in "WF" else 0 if combining(sign) else 1 for sign in text)


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space


def _cut(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    while cells(text) >= width:
        text = text[:-1]
    return f"{text}…"


_SPAN = re.compile(r" \((?:in )?(?:\d+ (?:s|min|h|d)|now)\)")


def without_spans(reason: str) -> str:
    """A reason without what changes by the second, to see whether it is still the same.

    >>> without_spans("gpu-1 cannot be reached since 14:02:10 (3 min): connection refused")
    'gpu-1 cannot be reached since 14:02:10: connection refused'
    """
    return _SPAN.sub("", reason)
