"""``caravan hosts``: add, change, check, drain and remove the Ollama servers of this database."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from worker.cli.confirm import confirm
from worker.cli.groups import option, with_groups
from worker.cli.hours import HoursOptions, windows_of

# What reads the database or speaks HTTP is imported within the commands: ``caravan --help`` needs none of it.
from worker.cli.json_output import ALL, NEWEST, AsJson, Newest, print_json, say_more
from worker.domain.hosts import Access, Health, Host, memory_bytes
from worker.errors import SettingsRefused
from worker.observability.terminal import terminal_safe
from worker.records import record

if TYPE_CHECKING:
    from worker.hosts.registry import HostLook
    from worker.ollama.client import OllamaHost
    from worker.policy.windows import Windows
    from worker.settings import Settings
    from worker.storage.engine import Database
    from worker.storage.host_rows import HostRow

_NAME = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:@~%\[\]-]{0,99}")
_FORGET = "none"
_MISPLACED = 4
"""Exit code of ``add`` where the address cannot be right."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in caravan hosts list.")]
IfMissing = Annotated[
    bool, option("--if-missing", "Leave a host of this name as it is, for scripts that run more than once.")
]
NoWindow = Annotated[bool, option("--no-window", "Take work at any time; removes --blackout dates too.")]


@record
class HostTraits:
    """What a host can do."""

    slots: Annotated[
        int | None,
        option("--slots", "Requests at a time (its OLLAMA_NUM_PARALLEL). Default: learned.", min=1, max=1000),
    ] = None
    models: Annotated[
        int | None,
        option(
            "--models", "Models it holds at once (its OLLAMA_MAX_LOADED_MODELS); default 1.", min=1, max=1000
        ),
    ] = None
    memory: Annotated[str | None, option("--memory", "Memory for models, e.g. 24GB.", metavar="SIZE")] = None
    shared: Annotated[
        bool | None,
        option("--shared/--not-shared", "Other people use it too: let them in, and step back for them."),
    ] = None
    watts: Annotated[
        float | None, option("--watts", "Power at work in watts, for kWh; 0 forgets it.", min=0, max=1e6)
    ] = None
    idle_watts: Annotated[
        float | None, option("--idle-watts", "Idle power in watts; 0 forgets it.", min=0, max=1e6)
    ] = None


@record
class AccessOptions:
    """How requests to a host are let in."""

    basic_auth: Annotated[
        str | None,
        option("--basic-auth", "Reference to USER:PASSWORD: env:NAME or file:PATH.", metavar="REF"),
    ] = None
    bearer: Annotated[
        str | None, option("--bearer", "Reference to a bearer token: env:NAME or file:PATH.", metavar="REF")
    ] = None
    header: Annotated[
        list[str] | None,
        option("--header", "Header and the reference to its value; repeat for more.", metavar="NAME=REF"),
    ] = None
    ca_file: Annotated[
        str | None,
        option("--ca-file", "PEM file with the authorities of the host's certificate.", metavar="FILE"),
    ] = None


hosts = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Add, check, change and drain Ollama hosts.",
)


@hosts.command("add")
@with_groups
def hosts_add(
    traits: HostTraits,
    access: AccessOptions,
    hours: HoursOptions,
    name: Annotated[str, typer.Argument(help="Name of the host, and of its worker.")],
    url: Annotated[str, typer.Argument(help="Its address, in any form that OLLAMA_HOST knows.")],
    if_missing: IfMissing = False,
    json_: AsJson = False,
) -> None:
    """Add a host and look at it at once. A name that is taken is a conflict; caravan hosts set changes a host.

    Secrets are named, never given: env:NAME is a variable, file:PATH a file, read where the host is served.

    Example: caravan hosts add gpu-1 https://gpu.example/ollama --basic-auth env:OLLAMA_AUTH --slots 4
    """
    from worker.cli.settings import opened
    from worker.domain.address import host_address
    from worker.hosts.registry import register_new
    from worker.storage.hosts import host_at, is_permanent

    if not _NAME.fullmatch(name):
        raise SettingsRefused(
            f"{name[:100]!r} is not a valid name for a host. Use letters, digits and . _ : -"
        )
    host = Host(
        name,
        host_address(url),
        traits.slots or 1,
        access=_access(Access(), access),
        models_at_once=traits.models or 1,
        memory=None if traits.memory in (None, _FORGET) else memory_bytes(traits.memory or ""),
        shared=bool(traits.shared),
        auto_slots=traits.slots is None,
    )
    windows = windows_of(hours)
    settings = _settings()
    with opened(settings) as db:
        with db.read() as conn:
            twin = host_at(conn, host.url)
            doubled = twin is not None and twin.name != name and is_permanent(conn, twin.name)
        seen = register_new(db, host, open_host=_opener(settings), clock=db.clock(), if_missing=if_missing)
        if isinstance(seen, Host):
            _report_there(settings, seen, host, json_=json_)
            return
        _set_power(db, name, traits.watts, traits.idle_watts)
        if windows is not None:
            _set_hours(db, name, windows)
    if twin is not None and doubled:
        typer.echo(
            f"caravan: {twin.name} has the same address. Register each server once: under two names, conflicting loads are "
            "scheduled on it",
            err=True,
        )
    _report(settings, seen, "added", json_=json_)
    if seen.misplaced:
        raise typer.Exit(_MISPLACED)


@hosts.command("set")
@with_groups
def hosts_set(
    traits: HostTraits,
    access: AccessOptions,
    hours: HoursOptions,
    name: Name,
    url: Annotated[str | None, option("--url", "New address.")] = None,
    no_window: NoWindow = False,
    json_: AsJson = False,
) -> None:
    """Change what is given of a host and leave the rest. "none" takes a secret, a header (X-Key=none) or a size away.

    Example: caravan hosts set gpu-1 --slots 8 --ca-file none
    """
    from worker.cli.settings import opened
    from worker.domain.address import host_address
    from worker.hosts.registry import change

    windows = windows_of(hours)
    nothing = traits == HostTraits() and access == AccessOptions() and url is None and windows is None
    if nothing and not no_window:
        raise SettingsRefused("nothing to change was given; see caravan hosts set --help")
    address = None if url is None else host_address(url)
    size = None if traits.memory is None else 0 if traits.memory == _FORGET else memory_bytes(traits.memory)
    settings = _settings()
    with opened(settings) as db:
        seen = change(
            db,
            name,
            open_host=_opener(settings),
            clock=db.clock(),
            url=address,
            slots=traits.slots,
            models_at_once=traits.models,
            memory=size,
            access=lambda before: _access(before, access),
            shared=traits.shared,
        )
        _set_power(db, name, traits.watts, traits.idle_watts)
        if windows is not None or no_window:
            _set_hours(db, name, windows)
    _report(settings, seen, "changed", json_=json_)


@hosts.command("list")
def hosts_list(json_: AsJson = False) -> None:
    """List the hosts: what they hold, who serves them, when they were last seen.

    Example: caravan hosts list --json
    """
    from rich.text import Text

    from worker.cli.colours import colour_of
    from worker.cli.render import output_console, plain_table
    from worker.cli.settings import opened, settings_for
    from worker.domain.urls import masked
    from worker.storage.host_rows import read_hosts

    with opened(settings_for()) as db, db.read() as conn:
        reports = read_hosts(conn, db.clock().now())
    if json_:
        from worker.exports.shown.hosts import host_shown

        print_json([host_shown(report) for report in reports])
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
        state = _state(report)
        table.add_row(
            report.host.name,
            masked(report.host.url),
            "auto" if report.host.auto_slots else str(report.host.slots),
            report.version or "–",
            _held(report),
            Text(terminal_safe(state), style=colour_of(state) or ""),
        )
    output_console().print(table)


@hosts.command("ps")
def hosts_ps(json_: AsJson = False) -> None:
    """Show what each host has loaded: its size, the part in the GPU, its context window, and until when.

    Asks every host, all at once; of one that does not answer it says what the database knew last.

    Example: caravan hosts ps
    """
    from worker.cli.loaded import print_loaded

    print_loaded(as_json=json_)


@hosts.command("drain")
def hosts_drain(name: Name) -> None:
    """Let a host finish what it runs and take nothing new, until it is resumed.

    Example: caravan hosts drain gpu-1
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.hosts import drain_host

    with opened(settings_for()) as db:
        now = db.clock().now()
        db.transact(lambda conn: drain_host(conn, name, now=now))
    typer.echo(
        f"{name}: takes nothing new, what it runs goes to its end; back with caravan hosts resume {name}"
    )


@hosts.command("resume")
def hosts_resume(name: Name) -> None:
    """Let a drained host take work again.

    Example: caravan hosts resume gpu-1
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.hosts import resume_host

    with opened(settings_for()) as db:
        db.transact(lambda conn: resume_host(conn, name))
    typer.echo(f"{name}: takes work again")


@hosts.command("remove")
def hosts_remove(name: Name, yes: Annotated[bool, option("--yes -y", "Do not ask.")] = False) -> None:
    """Forget a host. Its answers and its history stay; one that is being served is refused.

    Example: caravan hosts remove gpu-1 --yes
    """
    from worker.cli.settings import opened, settings_for
    from worker.domain.urls import masked
    from worker.storage.hosts import get_host, remove_host

    with opened(settings_for()) as db:
        with db.read() as conn:
            host = get_host(conn, name)
        confirm(f"Remove {name} ({masked(host.url)})?", yes=yes)
        now = db.clock().now()
        db.transact(lambda conn: remove_host(conn, name, now=now))
    typer.echo(f"{name}: removed")


@hosts.command("history")
def hosts_history(
    name: Name,
    limit: Newest = None,
    json_: AsJson = False,
) -> None:
    """Show what a host loaded and when, the newest first: the duration, reason and result of each load.

    Example: caravan hosts history gpu-1 --limit 50
    """
    from worker.cli.render import one_line, output_console, plain_table
    from worker.cli.settings import opened, settings_for
    from worker.storage.hosts import host_history

    with opened(settings_for()) as db, db.read() as conn:
        shown = limit or (ALL if json_ else NEWEST)
        read = host_history(conn, name, shown + 1)
    runs = read[:shown]
    say_more(len(read), shown, "loads")
    if json_:
        from worker.exports.shown.hosts import runs_shown

        print_json(runs_shown(runs))
        return
    if not runs:
        typer.echo(f"{name} has loaded nothing yet")
        return
    table = plain_table(
        *("started", "runner", "load", "jobs", "lasted", "why"),
        right=("load", "jobs", "lasted"),
        fold=("runner", "why"),
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


@hosts.command("check")
def hosts_check(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="As in caravan hosts list; none: all, at once.")
    ] = None,
    model: Annotated[
        str | None, option("--model", "Model to ask. Default: a loaded one, else the smallest.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Look whether hosts are set up well, by asking each a few short questions; each finding with what to do about it.

    Reach, TLS and access, version, models, whether a proxy holds answers back, how many answers it gives at once,
    whether a model lies partly on the CPU. Exit codes: 0 all well, 3 it serves worse than it could, 4 it cannot serve.

    Example: caravan hosts check gpu-1
    """
    from worker.cli.host_checks import print_checks

    raise typer.Exit(print_checks(_settings(), name, model, as_json=json_))


# -- what several of them need --------------------------------------------------------------------------------------


def _settings() -> "Settings":
    """The settings, and a log of what is wrong: a secret that every user can read is logged as an event."""
    from worker.cli.settings import quiet_log, settings_for

    settings = settings_for()
    quiet_log(settings)
    return settings


def _set_power(db: "Database", name: str, watts: float | None, idle_watts: float | None) -> None:
    from worker.storage.figures import set_power

    if watts is not None or idle_watts is not None:
        db.transact(lambda conn: set_power(conn, name, watts=watts, idle_watts=idle_watts))


def _set_hours(db: "Database", name: str, hours: "Windows | None") -> None:
    from worker.storage.windows import set_host_windows

    db.transact(lambda conn: set_host_windows(conn, name, None if hours is None else hours.plain))
    typer.echo(f"{name}: takes work {'at any time' if hours is None else hours.text}", err=True)


def _opener(settings: "Settings") -> "Callable[[Host], OllamaHost]":
    from worker.ollama.client import OllamaHost

    return lambda host: OllamaHost.of(host, deadlines=settings.deadlines)


def _access(before: Access, options: AccessOptions) -> Access:
    """``before`` with what the options say. A bearer token takes the place of basic auth, and the other way round."""
    headers = dict(before.headers)
    for pair in options.header or ():
        name, sign, reference = pair.partition("=")
        if not sign:
            raise SettingsRefused("--header is NAME=env:VARIABLE or NAME=file:PATH")
        headers.pop(name, None)
        if reference != _FORGET:
            headers[name] = _absolute(reference)
    basic_auth, bearer, ca_file = options.basic_auth, options.bearer, options.ca_file
    access = replace(before, headers=tuple(headers.items()))
    if basic_auth is not None or bearer is not None:
        access = replace(
            access,
            basic_auth=None if basic_auth in (None, _FORGET) else _absolute(basic_auth or ""),
            bearer=None if bearer in (None, _FORGET) else _absolute(bearer or ""),
        )
    if ca_file is not None:
        access = replace(
            access, ca_file=None if ca_file == _FORGET else str(Path(ca_file).expanduser().absolute())
        )
    return access


def _absolute(reference: str) -> str:
    """A file's path as it is from any directory: the host may be served from another."""
    kind, _, place = reference.partition(":")
    return f"file:{Path(place).expanduser().absolute()}" if kind == "file" and place else reference


def _report(settings: "Settings", look: "HostLook", done: str, *, json_: bool) -> None:
    host, models = look.host, [model.name for model in look.models]
    start = f"caravan worker --host {host.name}" if settings.database_url else None
    if json_:
        _print_change(settings, host.name, added=done == "added", start=start)
        return
    if look.error is not None:
        typer.echo(f"{host.name}: {done}, but it cannot be reached now: {look.error}")
        typer.echo(f"what to do: caravan hosts check {host.name}")
    else:
        typer.echo(
            f"{host.name}: {done}; Ollama {look.version}, {_slots(host)}, "
            f"{len(models)} models: {', '.join(models) or 'none'}"
        )
    if done == "added" and start is not None:
        typer.echo(f"to serve it, start its worker: {start}")
    elif done == "added":
        typer.echo("a running caravan up serves it by itself")


def _print_change(settings: "Settings", name: str, *, added: bool, start: str | None = None) -> None:
    from api_schemas.shown.hosts import HostChangeShown
    from worker.cli.settings import opened
    from worker.exports.shown.hosts import host_shown
    from worker.storage.host_rows import read_hosts

    with opened(settings) as db, db.read() as conn:
        row = next(row for row in read_hosts(conn, db.clock().now()) if row.name == name)
    print_json(HostChangeShown(**dict(host_shown(row)), added=added, start=start))


def _report_there(settings: "Settings", there: Host, host: Host, *, json_: bool) -> None:
    """Say that a host is there already, and where the command meant another address."""
    if json_:
        _print_change(settings, there.name, added=False)
    else:
        typer.echo(f"{there.name}: is there already, at {there.url}; nothing was changed")
    if there.url != host.url:
        typer.echo(
            f"warning: {there.name} is at {there.url}, not at {host.url}; "
            f"to move it: caravan hosts set {there.name} --url {host.url}",
            err=True,
        )


def _slots(host: Host) -> str:
    if host.auto_slots:
        return "slots to be found out"
    return f"{host.slots} slot{'' if host.slots == 1 else 's'}"


def _held(report: "HostRow") -> str:
    """The model that it loads or uses; with its options the line would rarely fit, and caravan hosts ps has them."""
    if report.intent:
        return f"loading {report.intent.split()[0]}"
    return report.resident.split()[0] if report.resident else "–"


def _state(report: "HostRow") -> str:
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
