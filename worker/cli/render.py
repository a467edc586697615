"""Consoles, tables, sizes and spans of time as a person sees them."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from worker.cli.plain import SHORTEST, cells
from worker.cli.settings import common_options
from worker.cli.streams import drawing
from worker.observability.terminal import terminal_safe
from worker.records import record

LEAST_CUT = 24
"""Columns that a cell keeps which is cut at its end, where others can take more lines."""


class SafeConsole(Console):
    """A console on which text is never markup and never a control sequence, whoever wrote it: colour comes from
    ``style=`` and ``Text`` alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(terminal_safe(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(terminal_safe(segment.text), segment.style)


def error_console() -> Console:
    """Standard error: progress and summaries go there, so that standard output stays for what a script reads.

    Silent under ``caravan -q``.
    """
    return _unfolded(SafeConsole(file=drawing(sys.stderr), quiet=common_options().quiet))


def output_console() -> Console:
    """Standard output, for what was asked for."""
    return _unfolded(SafeConsole(file=drawing(sys.stdout)))


def _unfolded(console: Console) -> Console:
    """Off a terminal no line is folded: a script reads it. On one, text is folded between words; what is printed with
    ``soft_wrap`` is left to the terminal, for commands that people copy."""
    if not console.is_terminal:
        console.width = 10_000
    return console


class PlainTable(Table):
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


def plain_table(
    *columns: str, right: Collection[str] = (), fold: Collection[str] = (), cut: Collection[str] = ()
) -> Table:
    """A table without lines. ``right`` names the columns of numbers; where the terminal is too narrow those in ``fold``
    take several lines, and those in ``cut``, made of ``one_line``, lose their ends; the others stay whole."""
    table = PlainTable(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name not in fold and name not in cut,
            overflow="fold" if name in fold else "ellipsis",
        )
    return table


def one_line(text: str) -> Text:
    """A cell that is cut at the end of its column."""
    return Text(terminal_safe(" ".join(text.split())), no_wrap=True, overflow="ellipsis")


def size(n: int) -> str:
    """Bytes for people.

    >>> [size(n) for n in (0, 900, 5_200_000_000, 43_000_000_000)]
    ['0 B', '900 B', '5.2 GB', '43 GB']
    """
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@record
class Rates:
    """Since the start: finished jobs and generated tokens per second, and the seconds the rest will take."""

    jobs_per_second: float
    tokens_per_second: float
    eta_seconds: float | None
    eta_between: tuple[float, float] | None = None
    """At the earliest and at the latest, where that is known."""


def rates(*, ended: int, unfinished: int, tokens: int, seconds: float) -> Rates:
    """Rates over ``seconds``; no ETA before anything is done.

    >>> rates(ended=10, unfinished=30, tokens=500, seconds=5).eta_seconds
    15.0
    """
    if seconds <= 0:
        return Rates(0.0, 0.0, None)
    return Rates(ended / seconds, tokens / seconds, unfinished * seconds / ended if ended else None)


def without_eta(rates: Rates) -> Rates:
    """The rates while nothing moves: nobody knows how long that lasts."""
    return replace(rates, eta_seconds=None, eta_between=None)


def duration(seconds: float | None) -> str:
    """A span for people.

    >>> [duration(s) for s in (None, 0.4, 42, 90, 3700, 200000)]
    ['–', '0 s', '42 s', '1 min 30 s', '1 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def eta(rate: Rates) -> str:
    """How much longer, as a range where one is known.

    >>> eta(Rates(1, 1, 400.0, (310.0, 520.0))), eta(Rates(1, 1, 90.0))
    ('5–9 min', '1 min 30 s')
    """
    if rate.eta_seconds is None or rate.eta_between is None:
        return duration(rate.eta_seconds)
    return span_between(*rate.eta_between)


def span_between(low: float, high: float) -> str:
    """Two spans in a few characters.

    >>> [span_between(*pair) for pair in ((12, 31), (80, 130), (3000, 9000), (5000, 5100), (90_000, 300_000))]
    ['12–31 s', '1–2 min', '50 min–2.5 h', '1.4 h', '1–3.5 d']
    """
    (first, unit), (last, other) = _short(low), _short(high)
    if (first, unit) == (last, other):
        return f"{first} {unit}"
    return f"{first}–{last} {unit}" if unit == other else f"{first} {unit}–{last} {other}"


def _short(seconds: float) -> tuple[str, str]:
    if seconds < 59.5:
        return f"{seconds:.0f}", "s"
    if seconds < 59.5 * 60:
        return f"{seconds / 60:.0f}", "min"
    unit, length = ("h", 3600) if seconds < 86400 else ("d", 86400)
    return f"{seconds / length:.1f}".removesuffix(".0"), unit
