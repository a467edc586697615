"""``caravan schedule run``: a firing now, served here when nothing serves, else by those who do."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.exits import FAILED_OR_HELD
from worker.cli.json_output import AsJson, print_json
from worker.cli.schedules.options import ScheduleName
from worker.errors import AlreadyRunning, InputRefused

if TYPE_CHECKING:
    from worker.cli.render import Console
    from worker.clock import Clock
    from worker.domain.schedules import Firing, Schedule
    from worker.settings import Settings
    from worker.stack.embedded import Embedded
    from worker.stack.main_job import Look
    from worker.storage.engine import Database

WAIT_HOSTS = 120.0
"""Seconds that hosts which are all away are waited for."""
SETTLE_SECONDS = 120.0
"""How long it may take others to end a firing whose batch is over."""
BEGIN_SECONDS = 30.0
"""After which it is said that nobody has begun it."""
LOOK_SECONDS = 0.25


def schedule_run(
    name: ScheduleName,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait until the firing has ended, also where others serve or its window is closed."
        ),
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="URL|NAME", help="Serve with these only; repeat. Default: those added."
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Fire a schedule now: read its documents, and ask those that are new or changed. Serves hosts where nothing else does.

    Exit code: 0; 3 where something failed or is left; 4 where no host can serve.

    Example: caravan schedule run nightly --wait
    """
    from worker.cli.settings import settings_for

    raise typer.Exit(run_now(settings_for(), name, wait=wait, as_json=json_, urls=host))


def run_now(settings: "Settings", name: str, *, wait: bool, as_json: bool, urls: list[str] | None) -> int:
    """Fire a schedule. Returns the exit code. Raises NotFound, Conflict, InputRefused, NoHost."""
    from worker.cli.render import error_console
    from worker.cli.settings import quiet_log
    from worker.stack.embedded import embedded

    quiet_log(settings)
    console = error_console()
    if not settings.broker_url:
        try:
            with embedded(settings) as stack:
                return _here(stack, console, name, wait=wait, as_json=as_json, urls=urls)
        except AlreadyRunning as error:
            if error.command != "up":
                raise
    if urls:
        raise typer.BadParameter(
            "another process serves here with its own hosts; leave this out", param_hint="--host"
        )
    return _by_others(settings, console, name, wait=wait, as_json=as_json)


def _here(
    stack: "Embedded", console: "Console", name: str, *, wait: bool, as_json: bool, urls: list[str] | None
) -> int:
    """Read, ask and answer in this process."""
    from worker.cli.hosts_at_hand import models_checked, say_unreachable
    from worker.cli.summary import RunView, show_to_the_end
    from worker.door.submit import Receipt
    from worker.hosts.selection import select_hosts
    from worker.schedules.fire import fire
    from worker.schedules.reading import reading_of
    from worker.schedules.settle import settle
    from worker.stack.main_job import patiently, workplace_of
    from worker.storage.batches import get_batch
    from worker.storage.firings import get_firing
    from worker.storage.schedules import get_schedule

    database, clock = stack.database, stack.clock
    with database.read() as conn:
        schedule = get_schedule(conn, name)
    place = workplace_of(stack, select_hosts(database, urls, None))
    say_unreachable(console, place.looks)
    problems = models_checked(place, console)(dict.fromkeys(schedule.spec.models, 0))
    if problems:
        raise InputRefused([replace(problem, field="--model") for problem in problems])
    firing = _own_firing(database, schedule, clock, console)
    reading = reading_of(stack.settings.home, commands=stack.settings.means.commands)
    fire(database, firing.id, clock=clock, reading=reading, max_attempts=stack.settings.max_attempts)
    with database.read() as conn:
        firing = get_firing(conn, firing.id)
        batch = None if firing.batch_id is None else get_batch(conn, firing.batch_id)
    code = 0
    if batch is not None and firing.ended_at is None:
        if (closed := _closed(database, firing, clock)) is not None:
            console.print(f"{closed}; caravan up serves it then, and so does --wait", style="yellow")
            if not wait:
                return _print_result(database, firing.id, clock, FAILED_OR_HELD, as_json=as_json)
        try:
            shown = RunView(place, Receipt(batch, created=False))
            look = show_to_the_end(shown, console, wait_hosts=WAIT_HOSTS)
        except KeyboardInterrupt:
            place.stop(console.print)
            console.print("Interrupted. The same command goes on where it stopped.")
            _tell(_report(database, firing.id, clock), as_json=as_json)
            return 130
        code = _code_of(look, console)
    if firing.ended_at is None:
        patiently(lambda: settle(database, firing, clock=clock))
    _deliver(stack, firing.id)
    return _print_result(database, firing.id, clock, code, as_json=as_json)


def _deliver(stack: "Embedded", firing_id: int) -> None:
    """Tell those who are to be told; what does not get out is left to the next command that serves."""
    from worker.reports.notices import deliver_notices

    deliver_notices(stack.database, clock=stack.clock, means=stack.settings.means, firing_id=firing_id)


def _own_firing(database: "Database", schedule: "Schedule", clock: "Clock", console: "Console") -> "Firing":
    """The firing of this schedule that is to be worked on: one that is due or was left behind, else a new one.

    Nobody else serves this home, so that whoever held it is dead.
    """
    from worker.schedules.open import begin_queued, fire_now, open_due
    from worker.storage.firings import get_firing, let_firing_go, open_firings

    open_due(database, clock=clock)
    begin_queued(database)
    with database.read() as conn:
        left = open_firings(conn, schedule.id)
    if not left:
        return fire_now(database, schedule.name, clock=clock)
    first = left[0]
    token = first.token
    if token is not None:
        database.transact(lambda conn: let_firing_go(conn, first.id, token=token))
    if first.tries:
        console.print(f"Continuing the firing of {first.fire_at:%Y-%m-%d %H:%M} UTC, which has not ended")
    with database.read() as conn:
        return get_firing(conn, first.id)


def _by_others(settings: "Settings", console: "Console", name: str, *, wait: bool, as_json: bool) -> int:
    """Fire it for whoever serves; with ``wait`` look on until it has ended."""
    from worker.cli.settings import opened
    from worker.cli.summary import RunView, show_to_the_end
    from worker.door.submit import Receipt
    from worker.policy.outlook import Outlook
    from worker.schedules.open import fire_now
    from worker.stack.main_job import elsewhere
    from worker.storage.batches import get_batch

    with opened(settings) as database:
        clock = database.clock()
        firing = fire_now(database, name, clock=clock)
        if not wait:
            if as_json:
                _tell(_report(database, firing.id, clock), as_json=True)
            else:
                typer.echo(f"{name} fires; caravan schedule history {name} shows the result")
            return 0
        try:
            firing = _until(database, firing.id, clock, lambda one: one.batch_id is not None, console)
            code = 0
            if firing.ended_at is None and firing.batch_id is not None:
                with database.read() as conn:
                    batch = get_batch(conn, firing.batch_id)
                place = elsewhere(settings, database)
                if (closed := _closed(database, firing, clock)) is not None:
                    console.print(closed, style="yellow")
                shown = RunView(place, Receipt(batch, created=False))
                look = show_to_the_end(shown, console, wait_hosts=WAIT_HOSTS)
                code = _code_of(look, console)
                if look.outlook is Outlook.DONE and look.progress.done == look.progress.total:
                    _until(database, firing.id, clock, lambda _: False, console, seconds=SETTLE_SECONDS)
        except KeyboardInterrupt:
            console.print(f"Stopped watching; caravan schedule history {name} shows the result.")
            return 130
        return _print_result(database, firing.id, clock, code, as_json=as_json)


def _until(
    database: "Database",
    firing_id: int,
    clock: "Clock",
    enough: "Callable[[Firing], bool]",
    console: "Console",
    *,
    seconds: float | None = None,
) -> "Firing":
    """The firing once it is far ``enough`` or has ended, or after ``seconds``."""
    from worker.storage.firings import get_firing

    began, printed = clock.monotonic(), False
    while True:
        with database.read() as conn:
            firing = get_firing(conn, firing_id)
        waited = clock.monotonic() - began
        if firing.ended_at is not None or enough(firing) or (seconds is not None and waited > seconds):
            return firing
        if not printed and firing.began_at is None and waited > BEGIN_SECONDS:
            printed = True
            why = "an earlier one has not ended" if firing.state == "queued" else "does caravan control run?"
            console.print(f"No process has begun it yet: {why}", style="yellow")
        time.sleep(LOOK_SECONDS)  # noqa: TID251 - people look at this


def _closed(database: "Database", firing: "Firing", clock: "Clock") -> str | None:
    """That its window is closed, and until when."""
    window = _report(database, firing.id, clock).get("window")
    if not window or window["open"]:
        return None
    return f"The window is closed ({window['hours']}): nothing starts before {window['opens_at']}"


def _report(database: "Database", firing_id: int, clock: "Clock") -> dict[str, Any]:
    from worker.schedules.report import report_of
    from worker.storage.firings import get_firing

    with database.read() as conn:
        firing = get_firing(conn, firing_id)
    return report_of(database, firing, now=clock.now())


def _print_result(database: "Database", firing_id: int, clock: "Clock", code: int, *, as_json: bool) -> int:
    """Print the result of a firing. Returns the exit code."""
    report = _report(database, firing_id, clock)
    _tell(report, as_json=as_json)
    if code:
        return code
    if report["state"] == "failed" and report["batch"] is None:
        return 1
    return FAILED_OR_HELD if report["failed"] or report["left"] else 0


def _tell(report: dict[str, Any], *, as_json: bool) -> None:
    from worker.cli.settings import common_options
    from worker.schedules.letter import letter

    if as_json:
        from worker.exports.output.schedules import firing_output

        print_json(firing_output(report))
    elif not common_options().quiet:
        typer.echo(letter(report))


def _code_of(look: "Look", console: "Console") -> int:
    from worker.cli.summary import say_rest
    from worker.policy.outlook import Outlook

    if look.outlook not in (Outlook.NO_HOST, Outlook.PAUSED):
        return 0
    return say_rest(console, look)
