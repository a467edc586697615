"""What time is it? The only module that reads the machine's clock.

Everything else takes ``now`` as an argument or a :class:`Clock`, so that tests run leases, deadlines and back-offs
without waiting for them. Leases are measured by the database's clock (``worker.storage.engine.database_clock``):
two workers whose clocks differ by an hour still agree on when a lease ends.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """A source of time that can be replaced."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ElapsedClock(SystemClock):
    """As ``SystemClock``, but its monotonic time goes on while the machine sleeps, where the system can tell (Linux's
    CLOCK_BOOTTIME, CLOCK_MONOTONIC of macOS): others' time went on too."""

    def monotonic(self) -> float:
        return time.monotonic() if _ELAPSED is None else time.clock_gettime(_ELAPSED)


_ELAPSED: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class OffsetClock:
    """This machine's clock, shifted by what another clock (the database's) was ahead when it was asked."""

    def __init__(self, theirs: datetime, *, base: Clock | None = None) -> None:
        self._base: Clock = base or SystemClock()
        self._theirs = theirs
        self._asked_at = self._base.monotonic()

    def now(self) -> datetime:
        return self._theirs + timedelta(seconds=self._base.monotonic() - self._asked_at)

    def monotonic(self) -> float:
        return self._base.monotonic()


def local_zone() -> str:
    """The name of this machine's time zone, such as Europe/Berlin; UTC where it has no name."""
    for name in (os.environ.get("TZ", "").lstrip(":"), os.path.realpath("/etc/localtime"), _etc_timezone()):
        zone = name.rpartition("zoneinfo/")[2].removeprefix("posix/").removeprefix("right/")
        if not zone or zone.startswith("/"):
            continue
        try:
            return "UTC" if ZoneInfo(zone).key in _UTC else zone
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            continue
    return "UTC"


_UTC = frozenset({"UTC", "UCT", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "Universal", "Zulu"})


def _etc_timezone() -> str:
    try:
        return Path("/etc/timezone").read_text().strip()
    except (OSError, UnicodeError):
        return ""
