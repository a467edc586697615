"""Drawing on a terminal by rich: a console that runs nothing of what a text asks for, and tables that fit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from worker.cli.plain import SHORTEST, cells, folded
from worker.cli.render import PlainTable
from worker.observability.terminal import terminal_safe

LEAST_CUT = 24
"""Columns that a cell keeps which is cut at its end, where others can take more lines."""


class SafeConsole(Console):
    """A console on which text is never markup and never a control sequence, whoever wrote it: colour comes from
    ``style=`` and ``Text`` alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *parts: Any, **look: Any) -> None:
        """Print; text is folded between words, and around commands, unless it is left to the terminal (``soft_wrap``)."""
        if parts and all(isinstance(part, str) for part in parts) and not look.get("soft_wrap"):
            text = terminal_safe(" ".join(parts))
            parts = ("\n".join(folded(line, self.width) for line in text.split("\n")),)
            look["soft_wrap"] = True
        super().print(*parts, **look)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(terminal_safe(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(terminal_safe(segment.text), segment.style)


class FittingTable(Table):
    """A table that breaks no word of its columns that take several lines, where there is room for that."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Any]:
        room = options.max_width - 2 * (len(self.columns) - 1)
        most = [self._widest(column, str.splitlines) for column in self.columns]
        words = [self._widest(column, str.split) for column in self.columns]
        for shortest in (LEAST_CUT, SHORTEST):
            least = [
                whole if column.no_wrap else word if column.overflow == "fold" else min(whole, shortest)
                for column, whole, word in zip(self.columns, most, words, strict=True)
            ]
            if sum(least) <= room < sum(most):
                for column, width in zip(self.columns, spread(least, most, room), strict=True):
                    column.width = width
                break
        yield from super().__rich_console__(console, options)

    def _widest(self, column: Column, parts: Callable[[str], Sequence[str]]) -> int:
        texts = [*([str(column.header)] if self.show_header else []), *map(str, column.cells)]
        return max((cells(part) for text in texts for part in parts(text)), default=0)


def spread(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Widths between the least and the most that each column takes, which fill the room; who lacks most gets first.

    >>> spread([5, 8, 11], [5, 30, 20], 30)
    [5, 14, 11]
    """
    widths = list(least)
    while sum(widths) < room:
        lacking = [whole - width for whole, width in zip(most, widths, strict=True)]
        widths[lacking.index(max(lacking))] += 1
    return widths


def drawn_table(table: PlainTable) -> Table:
    """A table as rich draws it."""
    kind = Table if table.ruled else FittingTable
    drawn = kind(
        box=box.SIMPLE_HEAD if table.ruled else None,
        pad_edge=table.ruled,
        header_style="bold",
        show_header=table.show_header,
    )
    for name in table.columns:
        drawn.add_column(
            name,
            justify="right" if name in table.right else "left",
            no_wrap=name not in table.fold and name not in table.cut,
            overflow="fold" if name in table.fold else "ellipsis",
        )
    for row in table.rows:
        drawn.add_row(
            *(
                _shortened(cell) if name in table.cut else cell
                for name, cell in zip(table.columns, row, strict=True)
            )
        )
    return drawn


def _shortened(cell: Any) -> Any:
    """A cell that is cut at the end of its column."""
    return Text(terminal_safe(cell), no_wrap=True, overflow="ellipsis") if isinstance(cell, str) else cell
