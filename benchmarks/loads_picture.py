"""Draws ``docs/loads.svg``, the picture of the README, from the end-to-end tables of ``benchmarks/RESULTS.md``.

``python -m benchmarks.nights --results`` measures the figures; ``python -m benchmarks.loads_picture`` draws them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "loads.svg"
WIDTH, BAR, LEFT, ROW = 760, 400, 190, 22
_NUMBER = r"([\d,.]+)"
_SPEED = re.compile(rf"^\| (W\d): ([^|]+) \| {_NUMBER} \| {_NUMBER} \| {_NUMBER} \|", re.MULTILINE)
_LOADS = re.compile(rf"^\| (W\d) \| {_NUMBER} \| {_NUMBER} \| {_NUMBER} \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bars:
    """One night: model loads and jobs a second of Caravan and of a plain Celery worker."""

    title: str
    loads: int
    plain_loads: int
    rate: float
    plain_rate: float


def read_bars(results: str) -> list[Bars]:
    """The nights of the end-to-end part of ``RESULTS.md``. Raises ValueError where there are none."""
    part = results.partition("<!-- end to end -->")[2]
    loads = {name: (_plain(ours), _plain(theirs)) for name, ours, _, theirs in _LOADS.findall(part)}
    bars = [
        Bars(
            f"{_plain(jobs):,.0f} jobs; {about}",
            int(loads[name][0]),
            int(loads[name][1]),
            _plain(rate),
            _plain(plain),
        )
        for name, about, jobs, rate, plain in _SPEED.findall(part)
    ]
    if not bars:
        raise ValueError("no end-to-end tables in RESULTS.md")
    return bars


def picture(nights: list[Bars]) -> str:
    """The SVG: two bars for each night, as long as there were loads."""
    most = max(night.plain_loads for night in nights)
    lines, y = [_text(10, 24, "Model loads, and jobs a second", size=15, weight="bold")], 52
    for night in nights:
        lines.append(_text(10, y, night.title, weight="bold"))
        for name, loads, rate, colour in (
            ("Caravan", night.loads, night.rate, "#2a7f62"),
            ("one Celery task per job", night.plain_loads, night.plain_rate, "#b9c2cb"),
        ):
            y += ROW
            width = max(2.0, BAR * loads / most)
            lines.append(_text(LEFT - 10, y, name, anchor="end"))
            lines.append(f'<rect x="{LEFT}" y="{y - 12}" width="{width:.1f}" height="15" fill="{colour}"/>')
            lines.append(_text(LEFT + width + 8, y, f"{loads:,} loads, {rate:.3g} jobs/s"))
        y += 34
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 12}" font-family="system-ui, sans-serif">'
    about = "Bar chart: the model loads that Caravan needs for a night, beside a Celery task per job."
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, f"<title>{about}</title>", ground, *lines, "</svg>"]) + "\n"


def _plain(number: str) -> float:
    return float(number.replace(",", ""))


def _text(
    x: float, y: int, words: str, *, anchor: str = "start", size: int = 12, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="#1f2933">{escape(words)}</text>'
    )


def main() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    PICTURE.write_text(picture(read_bars(results)), encoding="utf-8")


if __name__ == "__main__":
    main()
