"""Options that say in which hours something may work: a schedule, a batch, a host."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from worker.clock import Clock
    from worker.policy.windows import Windows
    from worker.storage.engine import Database

WHEN = "When"

Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="HH:MM-HH:MM",
        help="Jobs start in these hours only, e.g. 22:00-06:00 or 'mon-fri 22:00-06:00'; repeat.",
        rich_help_panel=WHEN,
    ),
]
Blackout = Annotated[
    list[str] | None,
    typer.Option("--blackout", metavar="DATE", help="Nor on these dates; repeat.", rich_help_panel=WHEN),
]
Tz = Annotated[
    str, typer.Option("--tz", metavar="ZONE", help="Time zone, e.g. Europe/Berlin.", rich_help_panel=WHEN)
]


def windows_of(window: list[str] | None, blackout: list[str] | None, tz: str) -> "Windows | None":
    """What the options say; None: nothing. Raises InputRefused."""
    from worker.policy.windows import parse_windows

    return parse_windows(window or (), tz, blackout or ())


def say_forecast(database: "Database", clock: "Clock", batch_id: int, console: "Console") -> None:
    """Of a batch with hours, whether they suffice, as far as one can tell beforehand."""
    from worker.quote.forecast import forecast

    found = forecast(database, batch_id, clock=clock)
    if found is not None:
        console.print(found.told, style=None if found.enough else "yellow", soft_wrap=True)
