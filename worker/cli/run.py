"""``caravan run``: the main job, in one process, or beside the ``caravan up`` that serves already."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import with_groups
from worker.cli.options import AnyFile, AsJson, SubmissionOptions
from worker.cli.outputs import Force
from worker.cli.settings import quiet_log, settings_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from worker.cli.submissions import Entry, Wanted
    from worker.domain.hosts import Host
    from worker.door.observer import CheckModels
    from worker.errors import Problem
    from worker.hosts.registry import OpenHost, Seen
    from worker.settings import Settings
    from worker.stack.embedded import Embedded
    from worker.storage.engine import Database


OUTPUT = "Output"


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Which hosts serve."""

    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="URL|NAME",
            help="Ollama host; repeat for more. Default: those added.",
            rich_help_panel="Hosts",
        ),
    ] = None
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            min=1,
            metavar="N",
            help="Requests a host serves at a time (OLLAMA_NUM_PARALLEL).",
            rich_help_panel="Hosts",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the results of a run go."""

    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the results: .jsonl, .csv or .parquet; - is standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    bom: Annotated[
        bool,
        typer.Option(
            "--bom", help="Begin a CSV with a byte order mark, for spreadsheets.", rich_help_panel=OUTPUT
        ),
    ] = False
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="CSV without the ' before texts a spreadsheet takes for formulas.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


@with_groups
def run(
    options: SubmissionOptions,
    hosts: HostOptions,
    outputs: OutputOptions,
    file: AnyFile = None,
    wait_hosts: Annotated[
        float,
        typer.Option(
            "--wait-hosts",
            min=0,
            metavar="SECONDS",
            help="How long to wait for hosts that are all away.",
            rich_help_panel="Hosts",
        ),
    ] = 120.0,
    json_: AsJson = False,
    force: Force = False,
) -> None:
    """Ask every prompt in FILE on these hosts and keep the answers.

    The answers are kept in the database. Interrupted and started again with the same file it goes on where it stopped;
    no finished job runs twice.

    Example: caravan run products.csv --prompt 'Sell this: {{ title }}' --model qwen3:8b -o answers.csv
    """
    from worker.cli.exits import FAILED_OR_HELD
    from worker.cli.submissions import Wanted, entry_of

    settings = settings_for()
    entry = entry_of(settings, file, options, output=outputs.output, force=force)
    if entry is None:
        return
    wanted = Wanted(
        output=outputs.output,
        outputs=entry.outputs,
        bom=outputs.bom,
        raw=outputs.raw,
        as_json=json_,
        wait_hosts=wait_hosts,
    )
    code = run_batch(settings, entry, wanted, urls=hosts.host, slots=hosts.slots)
    raise typer.Exit(FAILED_OR_HELD if entry.left_out and code == 0 else code)


def run_batch(
    settings: "Settings",
    entry: "Entry",
    wanted: "Wanted",
    *,
    urls: list[str] | None,
    slots: int | None,
) -> int:
    """The main job. Returns the exit code."""
    from worker.cli.render import error_console
    from worker.errors import AlreadyRunning
    from worker.stack.embedded import embedded

    quiet_log(settings)
    console = error_console()
    try:
        with embedded(settings) as stack:
            return _serving(stack, console, entry, wanted, urls=urls, slots=slots)
    except AlreadyRunning as error:
        if error.command != "up":
            raise
    return _beside_up(settings, console, entry, wanted, urls=urls, slots=slots)


def _serving(
    stack: "Embedded",
    console: "Console",
    entry: "Entry",
    wanted: "Wanted",
    *,
    urls: list[str] | None,
    slots: int | None,
) -> int:
    """Serve the hosts in this process until the batch has come to its end."""
    from worker.cli.exits import finished_code
    from worker.cli.main_job import (
        Watched,
        Watching,
        patiently,
        read_progress,
        sum_up,
        watch_to_the_end,
        write_output,
    )
    from worker.cli.quoting import rest_of, warn_of_deadline
    from worker.cli.take_in import bound_of, pilot_of, take_in, tell
    from worker.hosts.wanted import wanted_hosts
    from worker.maintenance.settle import settle_one_batch
    from worker.policy.outlook import Outlook
    from worker.stack.embedded import join_hosts

    settings = stack.settings
    began_at = stack.clock.now()
    seen = join_hosts(stack, wanted_hosts(stack.database, urls, slots))
    say_unreachable(console, seen)
    arrived = take_in(
        stack.database,
        stack.clock,
        settings,
        entry,
        console=console,
        output=wanted.output,
        check_models=models_checked(
            stack.database, stack.open_host, seen, console, pull=entry.submission.pull_missing
        ),
    )
    batch = arrived.batch
    names = [look.host.name for look in seen]
    rest = rest_of(stack.database, stack.clock, batch, names, alone=True)
    if not wanted.quiet:
        warn_of_deadline(console, rest(), batch.deadline)
    watched = Watched(
        stack.database,
        stack.clock,
        settings,
        batch,
        lambda: stack.hosts,
        lambda: stack.output_tokens,
        rest,
        pilot=pilot_of(entry.submission, arrived),
        bound=bound_of(stack.database, stack.clock, arrived),
    )
    started = time.monotonic()
    try:
        stack.serve(
            [look.host for look in seen],
            batch_id=batch.id,
            follow=lambda report: report.kept and report.added_at >= began_at,
        )
        watching = watch_to_the_end(watched, console, wait_hosts=wanted.wait_hosts)
        patiently(
            lambda: settle_one_batch(stack.database, stack.clock, batch_id=batch.id, hosts=set(stack.hosts))
        )
    except KeyboardInterrupt:
        _stop(stack, console)
        watching = Watching(read_progress(watched), Outlook.GOING, (), time.monotonic() - started)
        sum_up(watched, watching, console, as_json=wanted.as_json, hosts=len(seen))
        write_output(watched, watching, wanted, console, arrived)
        console.print("Interrupted. The same command goes on where it stopped.")
        return 130
    tell(stack.database, stack.clock, settings, batch.id, entry.submission, console)
    if wanted.quiet and watching.outlook is Outlook.DONE:
        return finished_code(watching.progress)
    complete = write_output(watched, watching, wanted, console, arrived)
    code = sum_up(
        watched,
        watching,
        console,
        as_json=wanted.as_json,
        hosts=len(stack.hosts),
        written=wanted.output is not None,
    )
    return code if complete else 1


def _stop(stack: "Embedded", console: "Console") -> None:
    stack.ask_to_stop()
    console.print("Stopping: running calls may end; Ctrl-C again stops now.")
    try:
        stack.join(stack.settings.stop_grace_seconds)
    except KeyboardInterrupt:
        stack.abort()


def _beside_up(
    settings: "Settings",
    console: "Console",
    entry: "Entry",
    wanted: "Wanted",
    *,
    urls: list[str] | None,
    slots: int | None,
) -> int:
    """Submit to the ``caravan up`` that holds this home, and look on until it is done."""
    from worker.cli.main_job import Watched, sum_up, watch_to_the_end, write_output
    from worker.cli.quoting import rest_of, warn_of_deadline
    from worker.cli.settings import opened
    from worker.cli.take_in import bound_of, pilot_of, take_in
    from worker.hosts.registry import look_at, register
    from worker.hosts.wanted import kept_hosts, wanted_hosts
    from worker.ollama.client import OllamaHost
    from worker.stack.home import holder

    def open_host(host: "Host") -> OllamaHost:
        return OllamaHost.of(host, deadlines=settings.deadlines)

    if slots is not None and not urls:
        raise typer.BadParameter(
            "caravan up serves here, with the slots its hosts have: caravan hosts set NAME --slots N",
            param_hint="--slots",
        )
    with opened(settings) as database:
        clock = database.clock()
        more = "; the hosts of --host are added to its own, and all of them take part" if urls else ""
        console.print(f"caravan up serves here; this run joins it{more}", style="dim")
        if urls:
            hosts = wanted_hosts(database, urls, slots)
            seen = [
                register(database, one, open_host=open_host, clock=clock, reachable_only=True)
                for one in hosts
            ]
        else:
            seen = [look_at(one, open_host=open_host) for one in kept_hosts(database)]
        say_unreachable(console, seen)
        arrived = take_in(
            database,
            clock,
            settings,
            entry,
            console=console,
            output=wanted.output,
            check_models=models_checked(
                database, open_host, seen, console, pull=entry.submission.pull_missing
            ),
        )
        names = [look.host.name for look in seen]
        rest = rest_of(database, clock, arrived.batch, names)
        warn_of_deadline(console, rest(), arrived.batch.deadline)
        watched = Watched(
            database,
            clock,
            settings,
            arrived.batch,
            lambda: names,
            rest=rest,
            served=lambda: holder(settings.home) is not None,
            pilot=pilot_of(entry.submission, arrived),
            bound=bound_of(database, clock, arrived),
        )
        try:
            watching = watch_to_the_end(watched, console, wait_hosts=wanted.wait_hosts)
        except KeyboardInterrupt:
            console.print(
                f"No longer looking on; caravan up goes on with it. caravan cancel {arrived.batch.id} ends it."
            )
            return 130
        complete = write_output(watched, watching, wanted, console, arrived)
        code = sum_up(
            watched,
            watching,
            console,
            as_json=wanted.as_json,
            hosts=len(names),
            written=wanted.output is not None,
        )
        return code if complete else 1


def say_unreachable(console: "Console", seen: "list[Seen]") -> None:
    """Which hosts are left out for now, and why."""
    for look in seen:
        if look.error is not None:
            console.print(
                f"{look.host.name} cannot be reached and is left out for now: {look.error}", style="yellow"
            )


def models_checked(
    database: "Database", open_host: "OpenHost", seen: "list[Seen]", console: "Console", *, pull: bool
) -> "CheckModels":
    """Refuses models that none of the hosts has, or pulls them first."""
    from worker.hosts.registry import look_again, missing_models

    have = {model.name for look in seen for model in look.models}

    def check(wanted: "Mapping[str, int]") -> "list[Problem]":
        missing = missing_models(wanted, have)
        if not missing or not pull:
            return missing
        from worker.cli.pulling import pull_models

        pull_models(
            [model for model in wanted if model not in have],
            [look.host for look in seen if look.error is None],
            open_host=open_host,
            look_again=lambda host: look_again(database, host, open_host=open_host, clock=database.clock()),
            console=console,
        )
        return []

    return check
