"""Draws the Mermaid diagrams of the pages as SVG, so that a reader's browser needs no script and no network for them.

A ``stateDiagram`` becomes a chart with a column for each state and a row for each way into a state; a ``flowchart``
becomes boxes from top to bottom. Only the syntax that the pages use is read. Colours are those of the site's theme.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLUMN, ROW, GUTTER, SHORT = 37, 26, 64, 9
"""Of a chart: width and height of a cell, room for the labels at the left, and how many characters fit there."""
LETTER, LINE, GAP, RISE = 7.4, 18, 18, 62
"""Of a flowchart: width and height of a character, and the room beside and below a box."""
_TRANSITION = re.compile(r"(\S+) --> (\S+?)(?:: (.+))?$")
_NODE = r"(\w+)(\[\(.+?\)\]|\[.+?\]|\{.+?\})?"
_EDGE = re.compile(rf"{_NODE} (<?)(?:(--)|-\.(?:(.+?)\.)?-?)>?(?:->|>)?(?:\|(.+?)\|)? {_NODE}$")
_STYLE = (
    "text{fill:var(--md-default-fg-color,#222);font:14px var(--md-text-font-family,system-ui,sans-serif)}"
    ".halo{paint-order:stroke;stroke:var(--md-default-bg-color,#fff);stroke-width:5px;font-size:13px}"
    ".guide{stroke:var(--md-default-fg-color--lightest,#ddd)}"
    ".line{fill:none;stroke:var(--md-default-fg-color--light,#777);stroke-width:1.5}"
    ".dots{stroke-dasharray:4 3}"
    ".mark{fill:var(--md-default-fg-color--light,#777)}"
    ".box{fill:var(--md-code-bg-color,#f5f5f5);stroke:var(--md-default-fg-color--light,#777)}"
    ".store{stroke:var(--md-accent-fg-color,#2a7f62);stroke-width:2}"
)


class DiagramError(ValueError):
    """A line of a diagram that is not understood."""


@dataclass(frozen=True, slots=True)
class Way:
    """A row of a chart: from which states a label leads to a state."""

    label: str
    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow of a flowchart."""

    source: str
    target: str
    label: str
    dotted: bool
    both: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A node of a flowchart; ``x`` and ``y`` are its middle."""

    lines: Sequence[str]
    is_store: bool
    x: float = 0
    y: float = 0

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * LETTER + 24

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + 14


def draw(source: str) -> str:
    """The SVG of a Mermaid diagram, without empty lines. Raises DiagramError."""
    kind, *lines = [line.strip() for line in source.strip().splitlines()]
    if kind.startswith("stateDiagram"):
        return _chart(lines)
    if kind.startswith("flowchart"):
        return _flow(lines)
    raise DiagramError(f"{kind}: only stateDiagram and flowchart are drawn")


def _chart(lines: Sequence[str]) -> str:
    arrows = [_match(_TRANSITION, line).groups(default="") for line in lines]
    ends = [source for source, target, label in arrows if target == "[*]" and not label]
    ways: dict[tuple[str, str], list[str]] = {}
    for source, target, label in arrows:
        if target != "[*]" or label:
            way = ways.setdefault(("end" if target == "[*]" else target, label), [])
            way.append("start" if source == "[*]" else source)
    names = [*(source for source, _, _ in arrows), *(target for _, target, _ in arrows)]
    states = ["start", *(name for name in dict.fromkeys(names) if name != "[*]")]
    if any(target == "end" for target, _ in ways):
        states.append("end")
    rows = sorted(
        (Way(label, tuple(sources), target) for (target, label), sources in ways.items()),
        key=lambda way: states.index(way.target),
    )
    above = max(len(way.label) for way in rows) > SHORT
    left, pitch = (10, ROW + 16) if above else (GUTTER, ROW)
    top = 26 + max(len(state) for state in states) * 5.8
    places = {state: left + COLUMN * (number + 0.5) for number, state in enumerate(states)}
    width, height = left + COLUMN * len(states) + 34, top + pitch * len(rows) + 8
    parts = []
    for state in states:
        x = places[state]
        weight = ' font-weight="bold"' if state in ends else ""
        parts.append(f'<line class="guide" x1="{x:g}" y1="{top - 8:g}" x2="{x:g}" y2="{height:g}"/>')
        parts.append(
            f'<text transform="translate({x:g},{top - 14:g}) rotate(-50)"{weight}>{escape(state)}</text>'
        )
    for number, way in enumerate(rows):
        y = top + pitch * (number + 1) - ROW / 2
        parts += _way(way, places, y)
        if above:
            parts.append(f'<text class="halo" x="0" y="{y - 9:g}">{escape(way.label or "then")}</text>')
        else:
            parts.append(f'<text x="0" y="{y + 4:g}">{escape(way.label)}</text>')
    about = "Each row leads from the states with a dot to the state with an arrow: " + "; ".join(
        f"{way.label or 'then'} to {way.target}" for way in rows
    )
    return _svg(width, height, about, parts)


def _way(way: Way, places: Mapping[str, float], y: float) -> Iterator[str]:
    to = places[way.target]
    froms = [places[source] for source in way.sources]
    for far, side in ((min(froms), -1), (max(froms), 1)):
        if side * far > side * to:
            yield f'<line class="line" x1="{far:g}" y1="{y:g}" x2="{to + side * 6:g}" y2="{y:g}"/>'
            yield f'<path class="mark" d="M{to:g} {y:g}l{side * 9} -5v10z"/>'
    for x in froms:
        yield f'<circle class="mark" cx="{x:g}" cy="{y:g}" r="4"/>'
        if x == to:
            yield f'<path class="line" d="M{x:g} {y:g}c16 -14 16 14 4 3"/>'


def _flow(lines: Sequence[str]) -> str:
    boxes: dict[str, Box] = {}
    edges: list[Edge] = []
    for line in lines:
        source, shape, both, solid, dotted_label, label, target, target_shape = _match(_EDGE, line).groups()
        for name, text in ((source, shape), (target, target_shape)):
            if text or name not in boxes:
                words = text[1:-1].strip('"') if text and '"' in text else (text or name).strip("[](){}")
                boxes[name] = Box(words.split("<br/>"), bool(text and text.startswith("[(")))
        edges.append(Edge(source, target, label or dotted_label or "", not solid, bool(both)))
    ranks = _ranks(list(boxes), edges)
    boxes, width = _placed(boxes, edges, ranks)
    bottom = max(box.y + box.height / 2 for box in boxes.values())
    arrows, labels = [], []
    for edge in edges:
        path, x, y = _curve(edge, boxes, ranks)
        ends = ' marker-end="url(#tip)"' + (' marker-start="url(#tip)"' if edge.both else "")
        arrows.append(f'<path class="line{" dots" * edge.dotted}" d="{path}"{ends}/>')
        if edge.label:
            labels.append(
                f'<text class="halo" text-anchor="middle" x="{x:g}" y="{y:g}">{escape(edge.label)}</text>'
            )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="mark" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    about = "; ".join(
        f"{' '.join(boxes[edge.source].lines)} to {' '.join(boxes[edge.target].lines)}" for edge in edges
    )
    drawn = [part for box in boxes.values() for part in _box(box)]
    return _svg(width, bottom + 6, about, [tip, *arrows, *drawn, *labels])


def _ranks(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """How far down each box stands: below all that lead to it, arrows that close a circle apart."""
    after: dict[str, set[str]] = {name: set() for name in names}

    def reaches(start: str, goal: str) -> bool:
        return start == goal or any(reaches(other, goal) for other in after[start])

    for edge in edges:
        if not reaches(edge.target, edge.source):
            after[edge.source].add(edge.target)
    ranks = dict.fromkeys(names, 0)
    for _ in names:
        for source, targets in after.items():
            for target in targets:
                ranks[target] = max(ranks[target], ranks[source] + 1)
    before = {target for targets in after.values() for target in targets}
    for name in names:
        if name not in before and after[name]:
            ranks[name] = min(ranks[target] for target in after[name]) - 1
    return ranks


def _placed(
    boxes: Mapping[str, Box], edges: Sequence[Edge], ranks: Mapping[str, int]
) -> tuple[dict[str, Box], float]:
    """The boxes in their places, each beneath the middle of those that lead to it as far as there is room; the width."""
    rows = [[name for name in boxes if ranks[name] == rank] for rank in range(max(ranks.values()) + 1)]
    room = {name: box.width + GAP for name, box in boxes.items()}
    for edge in edges:
        if ranks[edge.target] == ranks[edge.source] + 1:
            room[edge.source] = max(room[edge.source], len(edge.label) * LETTER + GAP)
    spans = [sum(room[name] for name in row) for row in rows]
    margin = 60
    width, y, places = max(spans) + 2 * margin, 4.0, {}
    for row, span in zip(rows, spans, strict=True):
        tall = max(boxes[name].height for name in row)
        parents = {
            name: [places[edge.source].x for edge in edges if edge.target == name and edge.source in places]
            or [width / 2]
            for name in row
        }
        row.sort(key=lambda name: sum(parents[name]) / len(parents[name]))
        middle = sum(sum(each) / len(each) for each in parents.values()) / len(row)
        x = min(max(middle - span / 2, margin), width - margin - span)
        for name in row:
            box = boxes[name]
            places[name] = Box(box.lines, box.is_store, x + room[name] / 2, y + tall / 2)
            x += room[name]
        y += tall + RISE
    return places, width


def _curve(edge: Edge, boxes: Mapping[str, Box], ranks: Mapping[str, int]) -> tuple[str, float, float]:
    """The path of an arrow, and where its label stands."""
    a, b = boxes[edge.source], boxes[edge.target]
    step = ranks[edge.target] - ranks[edge.source]
    if step == 1:
        y1, y2 = a.y + a.height / 2, b.y - b.height / 2
        bend = (y2 - y1) / 2
        path = f"M{a.x:g} {y1:g}C{a.x:g} {y1 + bend:g} {b.x:g} {y2 - bend:g} {b.x:g} {y2 - 1:g}"
        return path, a.x + (b.x - a.x) * 0.15, y1 + (y2 - y1) * 0.35 + 4
    side = -1 if step > 1 else 1  # downwards past a row at the left, upwards at the right
    between = [box for box in boxes.values() if min(a.y, b.y) <= box.y <= max(a.y, b.y)]
    x1, x2 = a.x + side * a.width / 2, b.x + side * b.width / 2 + side
    out = side * (max(side * box.x + box.width / 2 for box in between) + 20)
    turn = 10 if b.y > a.y else -10
    path = (
        f"M{x1:g} {a.y:g}H{out - side * 10:g}q{side * 10} 0 {side * 10} {turn}"
        f"V{b.y - turn:g}q0 {turn} {-side * 10} {turn}H{x2:g}"
    )
    return path, out, a.y + 2.2 * turn + 4


def _box(box: Box) -> Iterator[str]:
    left, top = box.x - box.width / 2, box.y - box.height / 2
    store = " store" if box.is_store else ""
    yield (
        f'<rect class="box{store}" x="{left:g}" y="{top:g}" width="{box.width:g}" height="{box.height:g}" rx="5"/>'
    )
    for number, line in enumerate(box.lines):
        y = top + 7 + LINE * (number + 0.78)
        yield f'<text text-anchor="middle" x="{box.x:g}" y="{y:g}">{escape(line)}</text>'


def _svg(width: float, height: float, about: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'width="{width:g}" style="max-width:100%;height:auto">'
    )
    return "\n".join([head, f"<title>{escape(about)}</title><style>{_STYLE}</style>", *parts, "</svg>"])


def _match(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    match = pattern.match(line)
    if match is None:
        raise DiagramError(f"not understood: {line}")
    return match
