"""Estimates beforehand whether the hours of a batch are long enough, from the known pace of the hosts."""

from datetime import datetime
from typing import Any

from worker.clock import Clock
from worker.domain.numbers import count_of
from worker.policy.windows import fit, is_open, opens_at, stored_windows
from worker.policy.zones import zone_of
from worker.quote.quote import quote_batch
from worker.records import record
from worker.storage.engine import Database
from worker.storage.windows import batch_windows


@record
class Forecast:
    """What is to be expected of a batch that may not work at all hours."""

    enough: bool | None
    """It is done before its first window closes; None: nothing is known of the pace."""
    opens_at: datetime | None
    """When its window opens, where that is closed now."""
    done_at: datetime | None
    closes_at: datetime | None
    """When the first window closes in which it is worked on."""
    windows: int
    """How many it needs."""
    message: str
    """For people."""

    @property
    def plain(self) -> dict[str, Any]:
        """For a report."""
        return {
            "enough": self.enough,
            "opens_at": _iso(self.opens_at),
            "done_at": _iso(self.done_at),
            "closes_at": _iso(self.closes_at),
            "windows": self.windows,
            "message": self.message,
        }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def forecast(database: Database, batch_id: int, *, clock: Clock) -> Forecast | None:
    """None: the batch may work at any time, or has nothing left to do. Raises NotFound, DatabaseUnavailable."""
    now = clock.now()
    with database.read() as conn:
        windows = stored_windows(batch_windows(conn, batch_id))
        if windows is None:
            return None
        quoted = quote_batch(conn, batch_id, now=now)
    if not quoted.jobs:
        return None
    zone = zone_of(windows.zone)

    def wall(at: datetime) -> str:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"

    opens = None if is_open(windows, now) else opens_at(windows, now)
    begins = "" if opens is None else f"nothing starts before {wall(opens)}; "
    message = f"window {windows.text}: {begins}"
    if opens is None and not is_open(windows, now):
        return Forecast(False, None, None, None, 0, f"{message}it never opens again, as far as can be seen")
    if not quoted.quote.hosts or quoted.quote.unplaced:
        return Forecast(None, opens, None, None, 0, f"{message}nothing is known of the hosts' pace yet")
    fitting = fit(windows, now, quoted.quote.expected)
    if fitting.is_enough and fitting.done_at is not None:
        message += f"done at about {wall(fitting.done_at)}"
    elif fitting.done_at is not None and fitting.closes_at is not None:
        message += (
            f"it will not be done when that closes at {wall(fitting.closes_at)}, "
            f"but at about {wall(fitting.done_at)}, in {count_of(fitting.windows, 'window')}"
        )
    else:
        message += "it will not be done in the next two years"
    return Forecast(fitting.is_enough, opens, fitting.done_at, fitting.closes_at, fitting.windows, message)
