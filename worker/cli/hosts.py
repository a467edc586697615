"""``caravan hosts``: add, change, check, drain and remove the Ollama servers of this database."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.confirm import confirm
from worker.cli.groups import option, with_groups
from worker.cli.host_options import FORGET, AccessOptions, HostTraits, access_of
from worker.cli.hours import HoursOptions, windows_of

# What reads the database or speaks HTTP is imported within the commands: ``caravan --help`` needs none of it.
from worker.cli.json_output import AsJson, Newest, print_json
from worker.cli.streams import say
from worker.domain.hosts import Access, Host, memory_bytes
from worker.domain.numbers import count_of
from worker.errors import SettingsRefused

if TYPE_CHECKING:
    from worker.hosts.registry import HostLook
    from worker.ollama.client import OllamaHost
    from worker.policy.windows import Windows
    from worker.settings import Settings
    from worker.storage.engine import Database

_NAME = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:@~%\[\]-]{0,99}")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
"""What is rather a name than an address."""
_MISPLACED = 4
"""Exit code of ``add`` and ``set --url`` where the address cannot be right."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in caravan hosts list.")]
IfMissing = Annotated[
    bool,
    option("--if-missing", "Do nothing if a host of this name exists (for scripts that run more than once)."),
]
NoWindow = Annotated[bool, option("--no-window", "Take work at any time; removes --blackout dates too.")]


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
    """Add a host and connect to it. To change an existing host, use caravan hosts set.

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
    if ("://" in name or name.rpartition(":")[2].isdecimal()) and _WORD.fullmatch(url):
        order = f"the name comes first, then the URL, as in caravan hosts add {url} {name}"
        raise typer.BadParameter(order, param_hint="NAME")
    host = Host(
        name,
        host_address(url),
        traits.slots or 1,
        access=access_of(Access(), access),
        models_at_once=traits.models or 1,
        memory=None if traits.memory in (None, FORGET) else memory_bytes(traits.memory or ""),
        shared=bool(traits.shared),
        auto_slots=traits.slots is None,
    )
    windows = windows_of(hours)
    settings = _settings()
    with opened(settings) as db:
        with db.read() as conn:
            twin = host_at(conn, host.url)
            doubled = twin is not None and twin.name != name and is_permanent(conn, twin.name)
        registered = register_new(
            db, host, open_host=_opener(settings), clock=db.clock(), if_missing=if_missing
        )
        if isinstance(registered, Host):
            _report_there(settings, registered, host, json_=json_)
            return
        _set_power(db, name, traits.watts, traits.idle_watts)
        if windows is not None:
            _set_hours(db, name, windows)
    if twin is not None and doubled:
        say(
            f"caravan: {twin.name} has the same address. Register each server once: under two names, conflicting loads are "
            "scheduled on it",
        )
    _report(settings, registered, "added", json_=json_)
    if registered.misplaced:
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
    """Change settings of a host and keep the others. "none" removes a secret, a header (X-Key=none) or a size.

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
    size = None if traits.memory is None else 0 if traits.memory == FORGET else memory_bytes(traits.memory)
    settings = _settings()
    with opened(settings) as db:
        host = change(
            db,
            name,
            open_host=_opener(settings),
            clock=db.clock(),
            url=address,
            slots=traits.slots,
            models_at_once=traits.models,
            memory=size,
            access=lambda before: access_of(before, access),
            shared=traits.shared,
        )
        _set_power(db, name, traits.watts, traits.idle_watts)
        if windows is not None or no_window:
            _set_hours(db, name, windows)
    _report(settings, host, "changed", json_=json_)
    if url is not None and host.misplaced:
        raise typer.Exit(_MISPLACED)


@hosts.command("list")
def hosts_list(json_: AsJson = False) -> None:
    """List the hosts: loaded models, who serves them, and their state.

    Example: caravan hosts list --json
    """
    from worker.cli.host_lists import print_hosts

    print_hosts(json_=json_)


@hosts.command("ps")
def hosts_ps(json_: AsJson = False) -> None:
    """Show the loaded models of each host: size, share in the GPU, context window, and until when.

    Asks every host, all at once; of one that does not answer it says what the database knew last.

    Example: caravan hosts ps
    """
    from worker.cli.loaded import print_loaded

    print_loaded(as_json=json_)


@hosts.command("drain")
def hosts_drain(name: Name) -> None:
    """Start no new jobs on a host; running jobs end by themselves.

    Example: caravan hosts drain gpu-1
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.hosts import drain_host

    with opened(settings_for()) as db:
        now = db.clock().now()
        db.transact(lambda conn: drain_host(conn, name, now=now))
    typer.echo(
        f"{name}: drained; running jobs end, no new ones start. To undo it: caravan hosts resume {name}"
    )


@hosts.command("resume")
def hosts_resume(name: Name) -> None:
    """Let a drained or quarantined host take jobs again.

    Example: caravan hosts resume gpu-1
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.hosts import resume_host

    with opened(settings_for()) as db:
        db.transact(lambda conn: resume_host(conn, name))
    typer.echo(f"{name}: takes work again")


@hosts.command("remove")
def hosts_remove(name: Name, yes: Annotated[bool, option("--yes -y", "Do not ask.")] = False) -> None:
    """Remove a host. Its answers and its history stay. A host that a process serves is refused.

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
    """List past loads of a host, newest first: time, duration, reason and result.

    Example: caravan hosts history gpu-1 --limit 50
    """
    from worker.cli.host_lists import print_history

    print_history(name, limit, json_=json_)


@hosts.command("check")
def hosts_check(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="As in caravan hosts list; none: all, at once.")
    ] = None,
    model: Annotated[
        str | None,
        option("--model", "Model to ask. Default: a loaded one, else the smallest.", metavar="MODEL"),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Check the set-up of hosts by asking each a few short questions; print a remedy with each problem.

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
    say(f"{name}: takes work {'at any time' if hours is None else hours.text}")


def _opener(settings: "Settings") -> "Callable[[Host], OllamaHost]":
    from worker.ollama.client import OllamaHost

    return lambda host: OllamaHost.of(host, deadlines=settings.deadlines)


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
            f"{count_of(len(models), 'model')}: {', '.join(models) or 'none'}"
        )
    if done == "added" and start is not None:
        typer.echo(f"Start its worker to serve it: {start}")
    elif done == "added":
        typer.echo("A running caravan up serves it by itself.")


def _print_change(settings: "Settings", name: str, *, added: bool, start: str | None = None) -> None:
    from api_schemas.output.hosts import HostChangeOutput
    from worker.cli.settings import opened
    from worker.exports.output.hosts import host_output
    from worker.storage.host_rows import read_hosts

    with opened(settings) as db, db.read() as conn:
        row = next(row for row in read_hosts(conn, db.clock().now()) if row.name == name)
    print_json(HostChangeOutput(**dict(host_output(row)), added=added, start=start))


def _report_there(settings: "Settings", there: Host, host: Host, *, json_: bool) -> None:
    """Say that a host is there already, and where the command meant another address."""
    if json_:
        _print_change(settings, there.name, added=False)
    else:
        typer.echo(f"{there.name}: is there already, at {there.url}; nothing was changed")
    if there.url != host.url:
        say(
            f"warning: {there.name} is at {there.url}, not at {host.url}; "
            f"to move it: caravan hosts set {there.name} --url {host.url}",
        )


def _slots(host: Host) -> str:
    if host.auto_slots:
        return "slots to be found out"
    return count_of(host.slots, "slot")
