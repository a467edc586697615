"""The processes and the hosts of a fleet, the database's version, and simulated hosts."""

import json
import sys
import threading
from typing import Annotated

import typer
from rich.table import Table

from worker.cli.render import error_console
from worker.cli.settings import opened, settings_for
from worker.domain.hosts import Host
from worker.observability.logging import configure
from worker.ollama.client import OllamaHost
from worker.services.hosts import register
from worker.settings import Settings, masked
from worker.storage.hosts import list_hosts
from worker.storage.migrate import HEAD, revision, upgrade

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

hosts = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The Ollama hosts of this database.")
database = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database's schema.")


def add_to(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.add_typer(hosts, name="hosts")
    app.add_typer(database, name="db")
    app.command("worker")(worker)
    app.command("control")(control)
    app.command("beat")(beat)
    app.command("simulate")(simulate)


@hosts.command("add")
def hosts_add(
    name: Annotated[str, typer.Argument(help="What to call it; its worker is started with this name.")],
    url: Annotated[str, typer.Argument(help="Where its Ollama listens, e.g. http://10.0.0.7:11434.")],
    slots: Annotated[
        int, typer.Option(min=1, help="Requests it serves at a time (its OLLAMA_NUM_PARALLEL).")
    ] = 1,
    json_: AsJson = False,
) -> None:
    """Add a host, or change the URL and slots of one; looks at it at once.

    Example: caravan hosts add gpu-1 http://10.0.0.7:11434 --slots 4
    """
    settings = settings_for()
    with opened(settings) as db:
        seen = register(
            db,
            Host(name, url.rstrip("/"), slots),
            open_host=lambda host: _open(settings, host),
            clock=db.clock(),
        )
    models = [model.name for model in seen.models]
    if json_:
        typer.echo(json.dumps({"name": name, "version": seen.version, "models": models, "error": seen.error}))
    elif seen.error is not None:
        typer.echo(f"{name}: added, but it cannot be reached now: {seen.error}")
    else:
        typer.echo(
            f"{name}: Ollama {seen.version}, {slots} slots, {len(models)} models: {', '.join(models) or 'none'}"
        )


def _open(settings: Settings, host: Host) -> OllamaHost:
    return OllamaHost(host.url, slots=host.slots, deadlines=settings.deadlines)


@hosts.command("list")
def hosts_list(json_: AsJson = False) -> None:
    """List the hosts: what they hold, who serves them, when they were last seen.

    Example: caravan hosts list --json
    """
    with opened(settings_for()) as db, db.read() as conn:
        reports = list_hosts(conn, db.clock().now())
    if json_:
        typer.echo(
            json.dumps(
                [
                    {
                        "name": report.host.name,
                        "url": masked(report.host.url),
                        "slots": report.host.slots,
                        "version": report.version,
                        "resident": report.view.resident,
                        "loading": report.view.intent,
                        "serving": report.view.serving,
                        "models": sorted(report.view.models),
                        "last_seen_at": report.last_seen_at.isoformat() if report.last_seen_at else None,
                        "error": report.error,
                    }
                    for report in reports
                ]
            )
        )
        return
    if not reports:
        typer.echo("no hosts yet: caravan hosts add NAME URL")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "url", "slots", "version", "holds", "state"):
        table.add_column(column, overflow="fold")
    for report in reports:
        state = report.error or ("serving" if report.view.serving else "idle")
        table.add_row(
            report.host.name,
            masked(report.host.url),
            str(report.host.slots),
            report.version or "–",
            (report.view.intent and f"loading {report.view.intent}") or report.view.resident or "–",
            state,
        )
    console = error_console()
    console.file = sys.stdout
    console.print(table)


def _start(settings: Settings) -> None:
    configure(settings.log_level, style=settings.log_style)


def worker(
    host: Annotated[
        list[str], typer.Option("--host", metavar="NAME", help="A host to serve; repeat for more.")
    ],
) -> None:
    """Serve hosts of a fleet until stopped. One per GPU host, beside it or for it.

    Example: caravan worker --host gpu-1
    """
    from worker.dispatch.run import run_worker

    settings = settings_for()
    _start(settings)
    with opened(settings):
        pass  # says at once what is wrong with the database
    raise typer.Exit(run_worker(settings, host))


def control(
    pool: Annotated[
        str | None, typer.Option("--pool", help="Only this pool: tick or chores; default: both.")
    ] = None,
) -> None:
    """Rescue stale jobs, promote retries, wake idle hosts, settle batches. One per fleet; more do no harm.

    Example: caravan control
    """
    from worker.dispatch.run import run_control

    settings = settings_for()
    _start(settings)
    with opened(settings):
        pass
    raise typer.Exit(run_control(settings, pool=pool))


def beat() -> None:
    """Send the ticks that control works on. One per fleet; more do no harm.

    Example: caravan beat
    """
    from worker.dispatch.run import run_beat

    settings = settings_for()
    _start(settings)
    raise typer.Exit(run_beat(settings))


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this version's schema. Safe to run by many at once.

    Example: CARAVAN_DATABASE_URL=postgresql://caravan@db/caravan caravan db upgrade
    """
    settings = settings_for()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = revision(settings.database)
    upgrade(settings.database)
    typer.echo(f"{masked(settings.database)}: {before or 'empty'} → {HEAD}")


def simulate(
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME:PORT", help="A host to simulate; repeat for more."),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="OLLAMA_NUM_PARALLEL of each.")] = 1,
    line: Annotated[str, typer.Option(help="O: behaves as v0.24.0; H: as v0.33.0-rc2.")] = "O",
    time_scale: Annotated[
        float, typer.Option(min=0, help="1 is real time, 0.1 ten times as fast, 0 at once.")
    ] = 1.0,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Simulate Ollama hosts for any client, until Ctrl-C. The answers are made up.

    Example: caravan simulate --host gpu-1:11501 --host gpu-2:11502 --time-scale 0.1
    """
    import simulator

    settings = []
    for wanted in host or ["simulated:11434"]:
        name, _, port = wanted.rpartition(":")
        if not name or not port.isdigit():
            raise typer.BadParameter(f"{wanted!r}: expected NAME:PORT", param_hint="--host")
        settings.append(
            simulator.HostSettings(
                name=name,
                port=int(port),
                bind=bind,
                models=simulator.demo_models(),
                num_parallel=slots,
                time_scale=time_scale,
                line="H" if line.upper() == "H" else "O",
            )
        )
    with simulator.running(*settings) as running:
        for one in running:
            typer.echo(f"{one.name} {one.url}")
        sys.stdout.flush()
        threading.Event().wait()
