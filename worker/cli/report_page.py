"""A report as one HTML file: ``report_page.html.j2`` filled with figures; nothing is fetched from anywhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.plot import short
from worker.cli.render import duration
from worker.cli.report import energy, filled_hours, remarks, share
from worker.domain.numbers import count_of
from worker.policy.figures import Line

if TYPE_CHECKING:
    from worker.reports.report import Report

_DAYS_FROM = 24 * 8
"""Hours from which the picture over time has a column a day."""
_HEAD = (
    *("jobs", "failed", "cut", "empty", "unfit", "prompt tok", "output tok", "tok/s", "busy", "loading"),
    *("load", "idle", "kWh"),
)
_BATCH_HEAD = ("batch", "state", "created (UTC)", "jobs", "answered", "failed", "cut", "empty", "unfit")
_SCHEDULE_HEAD = (
    *("schedule", "next (UTC)", "documents", "last (UTC)", "state", "new", "changed", "reused", "gone"),
    *("failed", "cut"),
)


def page(report: "Report", *, price: float | None = None) -> str:
    """The whole page. Names come from outside: the template escapes every value."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["format_number"] = "{:,}".format
    return environment.get_template("report_page.html.j2").render(_values(report, price)).strip() + "\n"


def _values(report: "Report", price: float | None) -> dict[str, Any]:
    of = ", ".join(f"{number} ({name})" for number, name in report.batches.items()) or "all work"
    limits = (("since", report.since), ("until", report.until))
    span = (f"{word} {at:%Y-%m-%d %H:%M}" for word, at in limits if at is not None)
    unit, columns = _over_time(report)
    lengths = (("prompt", "prompts"), ("output", "answers, reasoning included"))
    return {
        "title": f"Caravan: {'batch ' if report.batches else ''}{of}",
        "about": ", ".join((f"as of {report.at:%Y-%m-%d %H:%M} UTC", *span)),
        "tiles": _tiles(report, price),
        "remarks": remarks(report, price),
        "unit": unit,
        "columns": columns,
        "hosts": _hosts(report.hosts.lines),
        "idle": any(line.idle_seconds is not None for line in report.hosts.lines),
        "models": _bars([(line.key, line.output_tokens, _model(line)) for line in report.models.lines]),
        "failures": _bars([(code, n, f"{n:,}") for code, n in report.failures.items()]),
        "lengths": [(name, _lengths(report.lengths.get(key, {}))) for key, name in lengths],
        "by": str(report.by),
        "head": (str(report.by), *_HEAD),
        "lines": [_cells(line) for line in report.figures.lines],
        "total": _cells(report.figures.total),
        "chosen": bool(report.batches),
        "batch_head": _BATCH_HEAD,
        "batches": [_batch(line) for line in report.batch_lines],
        "schedule_head": _SCHEDULE_HEAD,
        "schedules": [_schedule(line) for line in report.schedule_lines],
    }


def _tiles(report: "Report", price: float | None) -> list[tuple[str, str]]:
    total = report.figures.total
    speed = "–" if total.tokens_per_second is None else f"{total.tokens_per_second:,.1f}"
    tiles = [
        (f"{total.results:,}", f"jobs, {total.failed:,} failed"),
        (f"{total.cut:,}", f"answers cut, {total.empty:,} empty, {total.unfit:,} to a part of the prompt"),
        (short(total.output_tokens), f"tokens out, {short(total.prompt_tokens)} in"),
        (speed, "tokens/s of a slot"),
        (duration(total.busy_seconds), "GPUs busy"),
        (
            duration(total.loading_seconds),
            f"loading models, {count_of(total.loads, 'load')}, {share(total.load_share)} of the work",
        ),
    ]
    if total.kwh:
        cost = "" if price is None else f", {total.kwh * price:,.2f} at {price:g}"
        tiles.append((energy(total.kwh), f"kWh{cost}"))
    return tiles


def _over_time(report: "Report") -> tuple[str, list[dict[str, Any]]]:
    hours = filled_hours(report)
    if len(hours) < _DAYS_FROM:
        return "hour", _columns([(f"{hour:%m-%d %H:%M}", tokens) for hour, tokens in hours])
    days: dict[str, int] = {}
    for hour, tokens in hours:
        days[f"{hour:%Y-%m-%d}"] = days.get(f"{hour:%Y-%m-%d}", 0) + tokens
    return "day", _columns(list(days.items()))


def _columns(values: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    highest = max((value for _, value in values), default=0) or 1
    return [
        {
            "label": label,
            "value": value,
            "title": f"{label}: {value:,.0f}",
            "percent": round(100 * value / highest, 1),
        }
        for label, value in values
    ]


def _bars(values: Sequence[tuple[str, float, str]]) -> list[dict[str, Any]]:
    """The largest first."""
    highest = max((value for _, value, _ in values), default=0) or 1
    return [
        {"name": name, "percent": round(100 * value / highest, 1), "text": words}
        for name, value, words in sorted(values, key=lambda one: -one[1])
    ]


def _hosts(lines: Sequence[Line]) -> list[dict[str, Any]]:
    longest = max((_whole(line) for line in lines), default=0) or 1
    hosts = []
    for line in lines:
        stretches = (
            ("busy", line.busy_seconds),
            ("loading", line.loading_seconds),
            ("idle", line.idle_seconds or 0.0),
        )
        busy = duration(_whole(line))
        if line.idle_seconds is not None:
            busy = f"{line.busy_seconds / (_whole(line) or 1):.0%} of {busy} busy"
        hosts.append(
            {
                "name": line.key,
                "text": busy,
                "stretches": [
                    (kind, round(100 * seconds / longest, 1), f"{kind}: {duration(seconds)}")
                    for kind, seconds in stretches
                ],
            }
        )
    return hosts


def _whole(line: Line) -> float:
    return line.busy_seconds + line.loading_seconds + (line.idle_seconds or 0.0)


def _model(line: Line) -> str:
    speed = "" if line.tokens_per_second is None else f", {line.tokens_per_second:,.1f}/s"
    return f"{short(line.output_tokens)}{speed}"


def _lengths(counts: Mapping[int, int]) -> list[dict[str, Any]]:
    """By upper bound, each twice the one before it."""
    shown = []
    size = min(counts, default=0)
    while counts and size <= max(counts):
        shown.append((f"≤ {size:,}", float(counts.get(size, 0))))
        size *= 2
    return _columns(shown)


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.key,
        *(f"{n:,}" for n in (line.results, line.failed, line.cut, line.empty, line.unfit)),
        *(f"{n:,}" for n in (line.prompt_tokens, line.output_tokens)),
        "–" if line.tokens_per_second is None else f"{line.tokens_per_second:,.1f}",
        *(duration(seconds) for seconds in (line.busy_seconds, line.loading_seconds)),
        share(line.load_share),
        share(line.idle_share),
        energy(line.kwh),
    )


def _batch(line: Mapping[str, Any]) -> tuple[str, ...]:
    failed = sum(line[name] or 0 for name in ("failed", "cancelled", "expired"))
    counts = (line["jobs"], line["succeeded"], failed, line["cut"], line["empty"], line["unfit"])
    name = f"{line['batch']} {line['batch_name'] or ''}".strip()
    return (name, line["state"], _minute(line["created_at"]), *(f"{n or 0:,}" for n in counts))


def _schedule(line: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (line[f"last_{name}"] for name in ("new", "changed", "reused", "gone", "failed", "cut"))
    return (
        line["schedule"],
        "paused" if line["paused_at"] else _minute(line["next_at"]),
        f"{line['documents']:,}",
        _minute(line["last_fire_at"]),
        line["last_state"] or "–",
        *(f"{n or 0:,}" for n in counts),
    )


def _minute(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"
