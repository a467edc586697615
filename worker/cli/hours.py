"""Options that say in which hours something may work: a schedule, a batch, a host."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.records import record

if TYPE_CHECKING:
    from rich.console import Console

    from worker.clock import Clock
    from worker.policy.windows import Windows
    from worker.storage.engine import Database

WHEN = "When"


@record
class HoursOptions:
    """The hours in which something may work."""

    window: Annotated[
        list[str] | None,
        typer.Option(
            "--window",
            metavar="HH:MM-HH:MM",
            help="Jobs start in these hours only, e.g. 22:00-06:00 or 'mon-fri 22:00-06:00'; repeat.",
            rich_help_panel=WHEN,
        ),
    ] = None
    blackout: Annotated[
        list[str] | None,
        typer.Option(
            "--blackout", metavar="DATE", help="Start no jobs on this date; repeat.", rich_help_panel=WHEN
        ),
    ] = None
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz",
            metavar="ZONE",
            help="Time zone, e.g. Europe/Berlin. Default: this machine's.",
            rich_help_panel=WHEN,
        ),
    ] = None


def windows_of(hours: HoursOptions) -> "Windows | None":
    """What the options say; None: nothing. Raises InputRefused."""
    from worker.policy.windows import parse_windows

    return parse_windows(hours.window or (), zone_name(hours), hours.blackout or ())


def zone_name(hours: HoursOptions) -> str:
    """The time zone by whose clock a command is meant: that of ``--tz``, else this machine's."""
    from worker.clock import local_zone

    return hours.tz or local_zone()


def say_forecast(database: "Database", clock: "Clock", batch_id: int, console: "Console") -> None:
    """Whether the hours of a batch are long enough, as far as the pace is known."""
    from worker.quote.forecast import forecast

    found = forecast(database, batch_id, clock=clock)
    if found is not None:
        console.print(found.message, style=None if found.enough else "yellow")
