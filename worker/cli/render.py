"""Consoles, tables, sizes and spans of time as a person sees them."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any, Protocol, TextIO

from worker.cli import plain
from worker.cli.settings import common_options
from worker.cli.streams import drawing
from worker.observability.terminal import terminal_safe
from worker.records import mutable_record, record


class Console(Protocol):
    """What commands write their lines and tables on: rich draws on a terminal, elsewhere it is a ``LineConsole``."""

    @property
    def is_terminal(self) -> bool: ...

    @property
    def width(self) -> int: ...

    quiet: bool

    def print(self, *parts: Any, **look: Any) -> None: ...


@mutable_record
class LineConsole:
    """Where no terminal is: lines without colours, none of them folded, and nothing of rich is imported for them."""

    file: TextIO
    quiet: bool = False
    is_terminal: bool = False
    width: int = 10_000

    def print(self, *parts: Any, **look: Any) -> None:
        """Write texts and tables. How they should look is passed over; what only rich can write, it writes."""
        if self.quiet:
            return
        if all(isinstance(part, str | PlainTable) for part in parts):
            self.file.write(f"{' '.join(map(_written, parts))}\n")
            return
        from worker.cli.drawing import SafeConsole

        SafeConsole(file=self.file, width=self.width).print(*parts, **look)


def error_console() -> Console:
    """Standard error: progress and summaries go there, so that standard output stays for what a script reads.

    Silent under ``caravan -q``.
    """
    return _console(drawing(sys.stderr), quiet=common_options().quiet)


def output_console() -> Console:
    """Standard output, for what was asked for."""
    return _console(drawing(sys.stdout))


def _console(file: TextIO, *, quiet: bool = False) -> Console:
    """On a terminal text is folded between words; what is printed with ``soft_wrap`` is left to the terminal, for commands
    that people copy. Off a terminal no line is folded: a script reads it."""
    if not (file.isatty() or _FORCED & os.environ.keys()):  # noqa: TID251 - what rich looks at
        return LineConsole(file, quiet)
    from worker.cli.drawing import SafeConsole

    console = SafeConsole(file=file, quiet=quiet)
    return console if console.is_terminal else LineConsole(file, quiet)


_FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables that make rich draw although no terminal is there."""


@mutable_record
class PlainTable:
    """A table without lines, or with one beneath its head where ``ruled``."""

    columns: tuple[str, ...]
    right: Sequence[str] = ()
    fold: Sequence[str] = ()
    cut: Sequence[str] = ()
    ruled: bool = False
    show_header: bool = True
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def add_row(self, *cells: Any) -> None:
        self.rows.append(cells)

    def __str__(self) -> str:
        """Its lines, each as long as it is."""
        lines = plain.lines(self.columns, [tuple(map(str, row)) for row in self.rows], right=self.right)
        return "\n".join(lines[0 if self.show_header else 1 :])

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from worker.cli.drawing import drawn_table

        yield drawn_table(self)


def plain_table(
    *columns: str, right: Sequence[str] = (), fold: Sequence[str] = (), cut: Sequence[str] = ()
) -> PlainTable:
    """A table without lines. ``right`` names the columns of numbers; where the terminal is too narrow those in ``fold``
    take several lines, and those in ``cut`` lose their ends; the others stay whole."""
    return PlainTable(columns, right, fold, cut)


def _written(part: Any) -> str:
    return terminal_safe(str(part))


def one_line(text: str) -> str:
    """A cell for a column that is cut at its end."""
    return " ".join(text.split())


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
