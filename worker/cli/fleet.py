"""The processes of a fleet."""

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
    """Serve hosts of a fleet until stopped.

    Start one per GPU host, beside it or for it.

    Example: caravan fleet worker --host gpu-1
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
    """Run the periodic services of a fleet until stopped.

    They rescue stale jobs, promote retries, wake idle hosts and settle batches. One per fleet; more do no harm.

    Example: caravan fleet control
    """
    from worker.dispatch import require_fleet

    require_fleet()
    from worker.dispatch.run import run_control

    raise typer.Exit(run_control(_started(), pool=pool))


def beat() -> None:
    """Send the ticks that control works on, until stopped.

    One per fleet; more do no harm.

    Example: caravan fleet beat
    """
    from worker.cli.settings import settings_for
    from worker.dispatch import require_fleet

    require_fleet()
    from worker.dispatch.run import run_beat
    from worker.observability.logging import configure

    settings = settings_for()
    configure(settings.log_level, style=settings.log_style)
    raise typer.Exit(run_beat(settings))


fleet = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Run the processes of a fleet: worker, control and beat.",
)
for process in (worker, control, beat):
    fleet.command()(process)
