"""``caravan hosts list`` and ``history``: which hosts there are, and what each has loaded."""

from dataclasses import replace
from typing import assert_never

import typer
from rich.text import Text

from worker.cli.colours import colour_of
from worker.cli.json_output import ALL, NEWEST, print_json, say_more
from worker.cli.render import one_line, output_console, plain_table
from worker.cli.settings import opened, settings_for
from worker.cli.streams import say
from worker.domain.hosts import Health
from worker.domain.urls import masked
from worker.explain.situation import Server
from worker.observability.terminal import terminal_safe
from worker.stack.home import server_of
from worker.storage.host_rows import HostRow, read_hosts
from worker.storage.hosts import host_history


def print_hosts(*, json_: bool) -> None:
    """All hosts, as a table or as JSON."""
    settings = settings_for()
    with opened(settings) as db, db.read() as conn:
        reports = read_hosts(conn, db.clock().now())
    if server_of(settings) is Server.NOBODY:  # the lease of a process that died goes on for a while
        reports = [replace(report, serving=False, intent=None) for report in reports]
    if json_:
        from worker.exports.output.hosts import host_output

        print_json([host_output(report) for report in reports])
        return
    if not reports:
        typer.echo("no hosts yet: caravan hosts add NAME URL")
        return
    table = plain_table(
        *("name", "url", "slots", "version", "holds", "state"),
        right=("slots",),
        fold=("name", "url", "holds", "state"),
    )
    for report in reports:
        state = _state(report) + ("" if report.kept else ", not added")
        table.add_row(
            report.host.name,
            masked(report.host.url),
            "auto" if report.host.auto_slots else str(report.host.slots),
            report.version or "–",
            _held(report),
            Text(terminal_safe(state), style=colour_of(state) or ""),
        )
    output_console().print(table)
    if passing := next((report.host for report in reports if not report.kept), None):
        add = f"caravan hosts add {passing.name} {masked(passing.url)}"
        say(f"A host that is not added was used by a run alone: {add} keeps it for all commands.")


def print_history(name: str, limit: int | None, *, json_: bool) -> None:
    """What a host loaded, the newest first. Raises NotFound."""
    with opened(settings_for()) as db, db.read() as conn:
        shown = limit or (ALL if json_ else NEWEST)
        read = host_history(conn, name, shown + 1)
    runs = read[:shown]
    say_more(len(read), shown, "loads")
    if json_:
        from worker.exports.output.hosts import runs_output

        print_json(runs_output(runs))
        return
    if not runs:
        typer.echo(f"{name} has loaded nothing yet")
        return
    table = plain_table(
        *("started", "runner", "load", "jobs", "lasted", "why"),
        right=("load", "jobs", "lasted"),
        fold=("runner",),
        cut=("why",),
    )
    for run in runs:
        table.add_row(
            f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            run.runner_key,
            f"{run.load_time.total_seconds():.1f} s" if run.load_time is not None else "–",
            f"{run.jobs:,}",
            _span((run.ended_at - run.started_at).total_seconds()) if run.ended_at else "still",
            one_line(f"failed: {run.error}" if run.error else run.reason),
        )
    output_console().print(table)


def _held(report: HostRow) -> str:
    """The model that it loads or uses; with its options the line would rarely fit, and caravan hosts ps has them."""
    if report.intent:
        return f"loading {report.intent.split()[0]}"
    return report.resident.split()[0] if report.resident else "–"


def _state(report: HostRow) -> str:
    state = "serving" if report.serving else "idle"
    match report.health:
        case Health.DRAINING:
            return f"draining, {report.error or state}"
        case Health.CLOSED:
            opens = "" if report.opens_at is None else f" until {report.opens_at.astimezone():%a %H:%M}"
            return f"closed{opens}, {state}"
        case Health.READY:
            return f"ready, {state}"
        case Health.QUARANTINED:
            assert report.quarantined_until is not None
            return f"quarantined until {report.quarantined_until.astimezone():%H:%M}: {report.health_reason}"
        case Health.SLOW | Health.UNREACHABLE:
            return f"{report.health}: {report.health_reason}"
        case _:
            assert_never(report.health)


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
