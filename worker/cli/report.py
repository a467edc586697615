"""``caravan report``: what the work came to, as a table with a picture, JSON, or a page."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.groups import BATCH_IN_WORDS, option
from worker.cli.json_output import AsJson, print_json
from worker.cli.outputs import Force, outputs_of, written
from worker.cli.plain import lines
from worker.cli.plot import columns
from worker.cli.settings import opened, settings_for
from worker.cli.streams import say
from worker.exports.targets import replacing
from worker.policy.figures import By, Line

if TYPE_CHECKING:
    from worker.reports.report import Report

_WIDE = 118
"""Columns of a terminal that hold every figure."""


def report(
    batch: Annotated[
        list[str] | None,
        typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}; none: all work."),
    ] = None,
    by: Annotated[By, option("--group-by", "Print a line for each of these.")] = By.MODEL,
    since: Annotated[
        str | None, option("--since", "From this hour on: 2026-11-23T02:00, or 12h, 2d ago.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, option("--until", "Up to this hour; as --since.", metavar="TIME")] = None,
    html: Annotated[
        Path | None, option("--html", "Write a web page with charts to this file.", metavar="FILE")
    ] = None,
    price: Annotated[
        float | None,
        option("--price-per-kwh", "Price of a kWh, in any currency, to print the cost of the energy.", min=0),
    ] = None,
    json_: AsJson = False,
    force: Force = False,
) -> None:
    """Sum up the work: tokens, GPU time, loads, speed and kWh.

    Running batches count as far as they have come. kWh need the hosts' watts: caravan hosts set NAME --watts 350.

    Example: caravan report @last --group-by host --html night.html
    """
    from worker.cli.moments import parse_moment
    from worker.reports.report import make_report

    settings = settings_for()
    outputs = outputs_of(settings, force=force)
    if html is not None:
        outputs.check(html)
    with opened(settings) as database:
        clock = database.clock()
        report = make_report(
            database,
            batch or (),
            by=by,
            clock=clock,
            since=parse_moment(since, clock.now(), "--since"),
            until=parse_moment(until, clock.now(), "--until"),
            details=html is not None,
        )
    if html is not None:
        from worker.cli.report_page import page

        with written(outputs, html), replacing(html) as out:
            out.write(page(report, price=price).encode())
    if json_:
        from worker.exports.output.reports import report_output

        print_json(report_output(report, price))
        return
    if not report.figures.lines:
        typer.echo("nothing has been answered yet")
    else:
        _print(report, price)
    if html is not None:
        say(f"the page: {html}")


def _print(report: "Report", price: float | None) -> None:
    from rich.text import Text

    from worker.cli.render import output_console

    console = output_console()
    width = console.width if console.is_terminal else None
    head, *rows = table(report, width=width)
    console.print(Text(head, style="bold"), soft_wrap=True)
    for row in rows:
        console.print(Text(row), soft_wrap=True)
    for remark in remarks(report, price):
        console.print(remark)
    if width is not None:
        hours = filled_hours(report)
        console.print(Text("\noutput tokens per hour (UTC)", style="bold"))
        picture = columns(
            [tokens for _, tokens in hours],
            width=min(width, 120),
            labels=[f"{hour:%m-%d %H:%M}" for hour, _ in hours],
        )
        for line in picture:
            console.print(Text(line, style="cyan"), soft_wrap=True)


def table(report: "Report", *, width: int | None) -> list[str]:
    """The lines of the table; those of a narrow terminal leave some columns out."""
    from worker.cli.render import duration

    wide = width is None or width >= _WIDE
    total = report.figures.total
    flaws = [name for name in ("cut", "empty", "unfit") if getattr(total, name) or (wide and name == "cut")]
    names = [str(report.by), "jobs", "failed", *flaws]
    names += (
        ["prompt tok", "output tok", "tok/s", "busy", "loading"] if wide else ["output tok", "tok/s", "busy"]
    )
    names += ["load", "idle", "kWh"]

    def cells(line: Line) -> list[str]:
        jobs = [line.key, f"{line.results:,}", f"{line.failed:,}"]
        jobs += [f"{getattr(line, name):,}" for name in flaws]
        speed = "–" if line.tokens_per_second is None else f"{line.tokens_per_second:,.1f}"
        busy = duration(line.busy_seconds)
        if wide:
            jobs += [f"{line.prompt_tokens:,}", f"{line.output_tokens:,}", speed, busy]
            jobs += [duration(line.loading_seconds)]
        else:
            jobs += [f"{line.output_tokens:,}", speed, busy]
        return [*jobs, share(line.load_share), share(line.idle_share), energy(line.kwh)]

    shown = [cells(line) for line in report.figures.lines]
    if len(shown) != 1:
        shown.append(cells(report.figures.total))
    return lines(names, shown, right=names[1:], width=width)


def remarks(report: "Report", price: float | None) -> list[str]:
    """What stands beneath the figures."""
    lines = []
    if report.failures:
        lines.append("failed: " + ", ".join(f"{n:,} {code}" for code, n in list(report.failures.items())[:6]))
    kwh = report.figures.total.kwh
    if price is not None and kwh is not None:
        lines.append(f"energy: {energy(kwh)} kWh at {price:g} = {kwh * price:,.2f}")
    if report.figures.unknown_power and (price is not None or any(line.kwh for line in report.figures.lines)):
        first = report.figures.unknown_power[0]
        lines.append(
            f"no watts told for {', '.join(report.figures.unknown_power)}: caravan hosts set {first} --watts N"
        )
    lines += [schedule_remark(schedule) for schedule in report.schedule_lines]
    return lines


def schedule_remark(line: Mapping[str, Any]) -> str:
    """A schedule with its last firing, in one line."""
    when = (
        "paused"
        if line["paused_at"]
        else f"next {line['next_at']:%Y-%m-%d %H:%M} UTC"
        if line["next_at"]
        else "no next time"
    )
    if line["last_fire_at"] is None:
        return f"schedule {line['schedule']}: not fired yet; {when}"
    names = ("new", "changed", "retried", "reused", "gone", "failed", "cut", "empty", "unfit")
    counts = ", ".join(f"{line[f'last_{name}']:,} {name}" for name in names if line[f"last_{name}"])
    last = f"{line['last_fire_at']:%Y-%m-%d %H:%M} UTC {line['last_state']}"
    return f"schedule {line['schedule']}: {last}{': ' if counts else ''}{counts}; {when}"


def filled_hours(report: "Report") -> list[tuple[datetime, int]]:
    """Each hour from the first to the last with its output tokens."""
    from datetime import UTC, timedelta

    tokens = {
        datetime.strptime(line.key, "%Y-%m-%d %H:%M").replace(tzinfo=UTC): line.output_tokens
        for line in report.hours.lines
    }
    if not tokens:
        return []
    first, last = min(tokens), max(tokens)
    count = int((last - first) / timedelta(hours=1)) + 1
    hours = (first + timedelta(hours=at) for at in range(count))
    return [(hour, tokens.get(hour, 0)) for hour in hours]


def share(value: float | None) -> str:
    """``12%``, or a dash."""
    return "–" if value is None else f"{value:.0%}"


def energy(kwh: float | None) -> str:
    """kWh with as many digits as mean something."""
    return "–" if kwh is None else f"{kwh:,.3f}" if kwh < 10 else f"{kwh:,.1f}"
