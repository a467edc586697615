"""The processes of a fleet, and simulated hosts."""

import sys
import threading
from typing import TYPE_CHECKING, Annotated, Literal

import typer

# What reads settings and databases is imported within the commands: ``caravan --help`` needs none of it.
if TYPE_CHECKING:
    from worker.settings import Settings


def _started() -> "Settings":
    """The settings of a process that goes on: logged as they say, and the database is one to work on."""
    from worker.cli.settings import opened, settings_for
    from worker.observability.logging import configure

    settings = settings_for()
    configure(settings.log_level, style=settings.log_style)
    with opened(settings):
        return settings


def worker(
    host: Annotated[
        list[str], typer.Option("--host", metavar="NAME", help="A host to serve; repeat for more.")
    ],
) -> None:
    """Serve hosts of a fleet until stopped. One per GPU host, beside it or for it.

    Example: caravan worker --host gpu-1
    """
    from worker.dispatch import require_fleet

    require_fleet()
    from worker.dispatch.run import run_worker

    raise typer.Exit(run_worker(_started(), host))


def control(
    pool: Annotated[
        Literal["tick", "chores", "submit", "health"] | None,
        typer.Option("--pool", help="Only this pool; default: all."),
    ] = None,
) -> None:
    """Rescue stale jobs, promote retries, wake idle hosts, settle batches. One per fleet; more do no harm.

    Example: caravan control
    """
    from worker.dispatch import require_fleet

    require_fleet()
    from worker.dispatch.run import run_control

    raise typer.Exit(run_control(_started(), pool=pool))


def beat() -> None:
    """Send the ticks that control works on. One per fleet; more do no harm.

    Example: caravan beat
    """
    from worker.cli.settings import settings_for
    from worker.dispatch import require_fleet

    require_fleet()
    from worker.dispatch.run import run_beat
    from worker.observability.logging import configure

    settings = settings_for()
    configure(settings.log_level, style=settings.log_style)
    raise typer.Exit(run_beat(settings))


def simulate(
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME:PORT", help="A host to simulate; repeat for more."),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="OLLAMA_NUM_PARALLEL of each.")] = 1,
    line: Annotated[
        Literal["O", "H"],
        typer.Option(case_sensitive=False, help="O: behaves as v0.24.0; H: as v0.33.0-rc2."),
    ] = "O",
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
                line=line,
            )
        )
    with simulator.running(*settings) as running:
        for one in running:
            typer.echo(f"{one.name} {one.url}")
        sys.stdout.flush()
        threading.Event().wait()
