"""Options that say in which hours something may work: a schedule, a batch, a host."""

from typing import TYPE_CHECKING, Annotated

from worker.cli.groups import option
from worker.records import record

if TYPE_CHECKING:
    from worker.cli.render import Console
    from worker.clock import Clock
    from worker.policy.windows import Windows
    from worker.storage.engine import Database

WHEN = "When"


@record
class HoursOptions:
    """The hours in which something may work."""

    window: Annotated[
        list[str] | None,
        option(
            "--window",
            "Jobs start in these hours only, e.g. 22:00-06:00 or 'mon-fri 22:00-06:00'; repeat.",
            WHEN,
            metavar="HH:MM-HH:MM",
        ),
    ] = None
    blackout: Annotated[
        list[str] | None, option("--blackout", "Start no jobs on this date; repeat.", WHEN, metavar="DATE")
    ] = None
    tz: Annotated[
        str | None,
        option(
            "--tz",
            "Time zone of --window and --blackout, e.g. Europe/Berlin. Default: this machine's.",
            WHEN,
            metavar="ZONE",
        ),
    ] = None


def windows_of(hours: HoursOptions) -> "Windows | None":
    """What the options say; None: nothing. Raises InputRefused."""
    if not (hours.window or hours.blackout):
        return None
    from worker.policy.windows import parse_windows

    return parse_windows(hours.window or (), zone_name(hours), hours.blackout or ())


def zone_name(hours: HoursOptions) -> str:
    """The time zone by whose clock a command is meant: that of ``--tz``, else this machine's."""
    from worker.clock import local_zone

    return hours.tz or local_zone()


def say_forecast(database: "Database", clock: "Clock", batch_id: int, console: "Console") -> None:
    """Whether the hours of a batch are long enough, as far as the pace is known."""
    from worker.quote.forecast import forecast

    outlook = forecast(database, batch_id, clock=clock)
    if outlook is not None:
        console.print(outlook.message, style=None if outlook.enough else "yellow")
