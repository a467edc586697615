"""A table of plain lines, without what a short command would have to import for a drawn one."""

from collections.abc import Sequence


def lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    width: int | None = None,
) -> list[str]:
    """The columns aligned, two spaces apart; those in ``right`` to the right. With ``width`` the widest column that is
    not in ``right`` is cut so that a line fits.

    >>> lines(["name", "jobs"], [["茶", "1"], ["ads", "20"]], right=["jobs"])
    ['name  jobs', '茶       1', 'ads     20']
    """
    table = [list(columns), *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(cells(row[at]) for row in table) for at in range(len(columns))]
    over = 0 if width is None else sum(widths) + 2 * (len(widths) - 1) - width
    if over > 0:
        widest = max(
            (at for at, name in enumerate(columns) if name not in right),
            key=lambda at: widths[at],
            default=None,
        )
        if widest is not None:
            widths[widest] = max(8, widths[widest] - over)
            for row in table:
                row[widest] = _cut(row[widest], widths[widest])
    return [
        "  ".join(
            _padded(cell, widths[at], right=columns[at] in right) for at, cell in enumerate(row)
        ).rstrip()
        for row in table
    ]


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
