"""A report as one HTML file: figures, pictures drawn in it as SVG, nothing fetched from anywhere, light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from worker.cli.plot import short
from worker.cli.render import duration
from worker.cli.report import energy, filled_hours, remarks, share
from worker.policy.figures import Line

if TYPE_CHECKING:
    from worker.reports.report import Report

_DAYS_FROM = 24 * 8
"""Hours from which the picture over time has a column a day."""
_MOST_BARS = 12
_WIDTH = 720

_STYLE = """
:root { --page: #fbfbf9; --ink: #1d1d1b; --soft: #6a6a64; --line: #dcdcd4; --busy: #2a6fdb; --loading: #d98a1f;
  --idle: #d5d5cd; --bad: #c8402f; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --page: #181a1b; --ink: #ecece8; --soft: #a2a29a; --line: #3a3c3d;
  --busy: #6ba3f5; --loading: #e5a94d; --idle: #45474a; --bad: #ec7565 } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 54rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2.2rem 0 .4rem }
p { color: var(--soft); margin: .2rem 0 } .scroll { overflow-x: auto }
.tiles { display: flex; flex-wrap: wrap; gap: 1.2rem 2.2rem; margin: 1.4rem 0 } .tiles b { display: block; font-size: 1.5rem }
.tiles span { color: var(--soft) } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .4rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 8rem }
tr.total { font-weight: 600 }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--soft); font: 12px system-ui, sans-serif }
svg text.name { fill: var(--ink) } .axis { stroke: var(--line) } .busy { fill: var(--busy) } .bad { fill: var(--bad) }
.loading { fill: var(--loading) } .idle { fill: var(--idle) } .key i { display: inline-block; width: .8rem;
  height: .8rem; margin: 0 .3rem 0 .9rem } .key i.busy { background: var(--busy); margin-left: 0 }
.key i.loading { background: var(--loading) } .key i.idle { background: var(--idle) }
"""


def page(made: "Report", *, price: float | None = None) -> str:
    """The whole page. Names come from outside: every one is escaped."""
    of = ", ".join(f"{number} ({name})" for number, name in made.batches.items()) or "all work"
    limits = (("since", made.since), ("until", made.until))
    span = (f"{word} {at:%Y-%m-%d %H:%M}" for word, at in limits if at is not None)
    about = ", ".join((f"as of {made.at:%Y-%m-%d %H:%M} UTC", *span))
    title = f"Caravan: {'batch ' if made.batches else ''}{of}"
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>",
        _tiles(made, price),
        *(f"<p>{escape(told)}</p>" for told in remarks(made, price)),
        _over_time(made),
        _section("Hosts", _stacked(made.hosts.lines)),
        _section(
            "Output tokens by model",
            _bars([(line.key, line.output_tokens, _model(line)) for line in made.models.lines], "busy"),
        ),
        _section("Failures by code", _bars([(c, n, f"{n:,}") for c, n in made.failures.items()], "bad")),
        *(
            _section(f"Length of {what}, in tokens", _lengths(made.lengths.get(name, {})))
            for name, what in (("prompt", "prompts"), ("output", "answers, reasoning included"))
        ),
        _section(f"By {made.by}", _table(made)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{_STYLE}</style></head>\n'
        f"<body>\n{''.join(f'{part}{chr(10)}' for part in parts if part)}</body></html>\n"
    )


_KEY = '<p class="key"><i class="busy"></i>busy<i class="loading"></i>loading'
_IDLE_KEY = '<i class="idle"></i>idle'
_IDLE = "<p>Idle is what is left of the hours in which a host did something.</p>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body or '<p>none</p>'}</section>"


def _tiles(made: "Report", price: float | None) -> str:
    total = made.figures.total
    speed = "–" if total.tokens_per_second is None else f"{total.tokens_per_second:,.1f}"
    tiles = [
        (f"{total.results:,}", f"jobs, {total.failed:,} failed"),
        (f"{total.cut:,}", f"answers cut, {total.empty:,} empty, {total.unfit:,} to a part of the prompt"),
        (short(total.output_tokens), f"tokens out, {short(total.prompt_tokens)} in"),
        (speed, "tokens/s of a slot"),
        (duration(total.busy_seconds), "GPUs busy"),
        (duration(total.loading_seconds), f"in {total.loads:,} loads, {share(total.load_share)}"),
    ]
    if total.kwh:
        cost = "" if price is None else f", {total.kwh * price:,.2f} at {price:g}"
        tiles.append((energy(total.kwh), f"kWh{cost}"))
    return f'<div class="tiles">{"".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in tiles)}</div>'


def _over_time(made: "Report") -> str:
    hours = filled_hours(made)
    if len(hours) < _DAYS_FROM:
        shown = [(f"{hour:%m-%d %H:%M}", tokens) for hour, tokens in hours]
        return _section("Output tokens per hour (UTC)", _columns(shown))
    days: dict[str, int] = {}
    for hour, tokens in hours:
        days[f"{hour:%Y-%m-%d}"] = days.get(f"{hour:%Y-%m-%d}", 0) + tokens
    return _section("Output tokens per day (UTC)", _columns(list(days.items())))


def _columns(values: Sequence[tuple[str, float]], *, height: int = 190) -> str:
    if not values:
        return ""
    left, top, bottom = 48, 14, 24
    room, tall = _WIDTH - left, height - top - bottom
    highest = max(value for _, value in values) or 1
    step = min(room / len(values), 90)
    each = max(1, round(80 / step))
    drawn = []
    for share_ in (0, 0.5, 1):
        y = top + tall * (1 - share_)
        drawn.append(f'<line class="axis" x1="{left}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(highest * share_)}</text>'
        )
    for at, (label, value) in enumerate(values):
        x, size = left + at * step, tall * value / highest
        told = escape(f"{label}: {value:,.0f}")
        drawn.append(
            f'<rect class="busy" x="{x + step * 0.1:.1f}" y="{top + tall - size:.1f}" width="{step * 0.8:.1f}" '
            f'height="{size:.1f}"><title>{told}</title></rect>'
        )
        if at % each == 0 and (len(values) == 1 or x + 60 <= _WIDTH or at == 0):
            drawn.append(f'<text x="{x + step * 0.1:.1f}" y="{height - 6}">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(drawn)}</svg>'


def _bars(values: Sequence[tuple[str, float, str]], kind: str) -> str:
    if not values:
        return ""
    shown = sorted(values, key=lambda one: -one[1])[:_MOST_BARS]
    highest = max(value for _, value, _ in shown) or 1
    drawn = []
    for at, (name, value, told) in enumerate(shown):
        y = at * 28
        wide = 330 * value / highest
        drawn.append(
            f'<text class="name" x="0" y="{y + 17}">{escape(_cut(name))}<title>{escape(name)}</title></text>'
        )
        drawn.append(f'<rect class="{kind}" x="200" y="{y + 4}" width="{max(1, wide):.1f}" height="18"/>')
        drawn.append(f'<text x="{208 + wide:.1f}" y="{y + 17}">{escape(told)}</text>')
    more = f"<p>and {len(values) - len(shown)} more</p>" if len(values) > len(shown) else ""
    return f'<svg viewBox="0 0 {_WIDTH} {len(shown) * 28}" role="img">{"".join(drawn)}</svg>{more}'


def _stacked(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    idle = any(line.idle_seconds is not None for line in lines)
    drawn = []
    longest = max((_whole(line) for line in lines), default=0) or 1
    for at, line in enumerate(lines):
        y, x = at * 28, 200.0
        drawn.append(
            f'<text class="name" x="0" y="{y + 17}">{escape(_cut(line.key))}<title>{escape(line.key)}</title></text>'
        )
        for kind, seconds in (
            ("busy", line.busy_seconds),
            ("loading", line.loading_seconds),
            ("idle", line.idle_seconds or 0.0),
        ):
            wide = 330 * seconds / longest
            told = f"{kind}: {duration(seconds)}"
            drawn.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="{wide:.1f}" height="18"><title>{told}</title></rect>'
            )
            x += wide
        busy = f"{line.busy_seconds / (_whole(line) or 1):.0%} of {duration(_whole(line))} busy"
        if not idle:
            busy = duration(_whole(line))
        drawn.append(f'<text x="{x + 8:.1f}" y="{y + 17}">{busy}</text>')
    picture = f'<svg viewBox="0 0 {_WIDTH} {len(lines) * 28}" role="img">{"".join(drawn)}</svg>'
    return f"{_KEY}{_IDLE_KEY if idle else ''}</p>{picture}{_IDLE if idle else ''}"


def _whole(line: Line) -> float:
    return line.busy_seconds + line.loading_seconds + (line.idle_seconds or 0.0)


def _model(line: Line) -> str:
    speed = "" if line.tokens_per_second is None else f", {line.tokens_per_second:,.1f}/s"
    return f"{short(line.output_tokens)}{speed}"


def _lengths(found: Mapping[int, int]) -> str:
    if not found:
        return ""
    size, shown = min(found), []
    while size <= max(found):
        shown.append((f"≤ {size:,}", float(found.get(size, 0))))
        size *= 2
    return _columns(shown, height=150)


def _cut(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _table(made: "Report") -> str:
    head = (
        str(made.by),
        "jobs",
        "failed",
        "cut",
        "empty",
        "unfit",
        "prompt tok",
        "output tok",
        "tok/s",
        "busy",
        "loading",
        "load",
        "idle",
        "kWh",
    )
    rows = [_row(line, "") for line in made.figures.lines]
    rows.append(_row(made.figures.total, ' class="total"'))
    heads = "".join(f"<th>{name}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(line: Line, kind: str) -> str:
    speed = "–" if line.tokens_per_second is None else f"{line.tokens_per_second:,.1f}"
    cells = (
        line.key,
        *(f"{n:,}" for n in (line.results, line.failed, line.cut, line.empty, line.unfit)),
        *(f"{n:,}" for n in (line.prompt_tokens, line.output_tokens)),
        speed,
        *(duration(seconds) for seconds in (line.busy_seconds, line.loading_seconds)),
        share(line.load_share),
        share(line.idle_share),
        energy(line.kwh),
    )
    return f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
