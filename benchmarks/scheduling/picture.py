"""The figures as a picture: how long the night takes, and how long urgent jobs do, by policy."""

import math
from collections.abc import Callable, Sequence

from benchmarks.scheduling.figures import OURS, Figures

WIDTH, ROW, LEFT, RIGHT, TOP = 900, 18, 240, 80, 24
INK, MUTED, BAR, OWN = "#1f2933", "#7b8794", "#b8c4ce", "#0b7285"
MOST_TIMES = 3.0
"""Where the scale of T/LB ends."""
SECONDS = (1.0, 100_000.0)
"""The scale of urgent jobs, logarithmic."""


def picture(found: Sequence[Figures]) -> str:
    """T/LB of every policy on every workload, then the urgent p99 where there are urgent jobs, as an SVG.

    What is off the scale says its number all the same.
    """
    lines: list[str] = []
    y = _title(lines, TOP, "Length of the whole night, in times the lower bound (1 is the left edge)")
    y = _bars(lines, y, found, _times, lambda one: f"{one.time_ratio:.2f}")
    urgent = [one for one in found if one.urgent]
    if urgent:
        low, high = SECONDS
        told = f"Urgent jobs, submission to end, p99 (logarithmic, {low:g} s to {high:,.0f} s)"
        y = _title(lines, y + ROW, told)
        y = _bars(lines, y, urgent, _urgent, lambda one: f"{one.urgent_at(0.99) or 0.0:,.0f} s")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="system-ui, sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *lines, "</svg>"]) + "\n"


def _times(one: Figures) -> float:
    return (min(one.time_ratio, MOST_TIMES) - 1) / (MOST_TIMES - 1)


def _urgent(one: Figures) -> float:
    low, high = SECONDS
    seconds = min(max(one.urgent_at(0.99) or low, low), high)
    return math.log(seconds / low) / math.log(high / low)


def _bars(
    lines: list[str],
    y: int,
    found: Sequence[Figures],
    share: Callable[[Figures], float],
    told: Callable[[Figures], str],
) -> int:
    """A bar for each policy, workload by workload; ``share`` is its part of the width. Where the next line goes."""
    for workload in dict.fromkeys(one.workload for one in found):
        rows = [one for one in found if one.workload == workload]
        lines.append(_text(10, y, f"{workload}: {rows[0].about}", weight="bold"))
        y += ROW
        for one in rows:
            ink, fill = (INK, OWN) if one.policy == OURS else (MUTED, BAR)
            length = max(1.0, share(one) * (WIDTH - LEFT - RIGHT))
            lines.append(_text(LEFT - 8, y, one.policy, anchor="end", fill=ink))
            lines.append(
                f'<rect x="{LEFT}" y="{y - 10}" width="{length:.1f}" height="12" rx="2" fill="{fill}"/>'
            )
            lines.append(_text(LEFT + length + 6, y, told(one), fill=ink))
            y += ROW
        y += ROW // 2
    return y


def _title(lines: list[str], y: int, text: str) -> int:
    lines.append(_text(10, y, text, size=15, weight="bold"))
    return y + ROW + ROW // 2


def _text(
    x: float,
    y: int,
    text: str,
    *,
    anchor: str = "start",
    fill: str = INK,
    weight: str = "normal",
    size: int = 12,
) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}" '
        f'font-size="{size}">{escaped}</text>'
    )
