"""When may a schedule, a batch or a host work? Hours by the clock on the wall, on some days, but for some dates.

A window that passes midnight belongs to the day on which it begins. On a blackout date nothing is open, from midnight to
midnight. Through a change of clocks the wall decides: an hour that comes twice is open twice, one that is skipped is lost.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from worker.errors import InputRefused, Problem, in_words
from worker.policy.zones import zone_of
from worker.records import record

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ALL = frozenset(range(7))
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")
AHEAD = 800
"""Days that are looked ahead for a change."""


@record
class Hours:
    """From one time of the day to another, on the days on which it begins. Equal times: the whole day."""

    start: time
    end: time
    days: frozenset[int] = _ALL

    @property
    def text(self) -> str:
        """As ``parse_hours`` reads it."""
        days = "" if self.days == _ALL else f"{','.join(DAYS[day] for day in sorted(self.days))} "
        end = "24:00" if self.end == time() else f"{self.end:%H:%M}"
        return f"{days}{self.start:%H:%M}-{end}"


@record
class Windows:
    """Open while any of ``hours`` is and the date is none of ``blackout``."""

    hours: tuple[Hours, ...]
    zone: str = "UTC"
    blackout: frozenset[date] = frozenset()
    problem: str = ""
    """Why what is stored cannot be read here. Such windows are never open, so that nothing runs at a forbidden hour."""

    @property
    def text(self) -> str:
        """For people."""
        if self.problem:
            return f"unreadable ({self.problem})"
        dates = f", not on {', '.join(str(day) for day in sorted(self.blackout))}" if self.blackout else ""
        return f"{' and '.join(hour.text for hour in self.hours) or 'always'} ({self.zone}){dates}"

    @property
    def plain(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "hours": [hour.text for hour in self.hours],
            "zone": self.zone,
            "blackout": [str(day) for day in sorted(self.blackout)],
        }


def parse_windows(hours: Sequence[str], zone: str, blackout: Sequence[str] = ()) -> Windows | None:
    """What ``--window`` (several) and ``--blackout`` say; None where neither says anything. Raises InputRefused."""
    if not hours and not blackout:
        return None
    zone_of(zone)
    return Windows(
        tuple(parse_hours(hour) for hour in hours),
        zone,
        frozenset(_date(date_text) for date_text in blackout),
    )


def stored_windows(plain: Mapping[str, Any] | None) -> Windows | None:
    """What ``Windows.plain`` gave. Never raises: a zone that this machine does not know, or a form that a newer version
    wrote, gives windows with a ``problem``, and costs only the batch or host that they belong to."""
    if plain is None:
        return None
    try:
        return _stored(json.dumps(plain))
    except InputRefused as error:
        return Windows((), problem=error.problems[0].message)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Windows((), problem=f"not in a form that this version reads: {in_words(error)}")


@lru_cache(maxsize=1024)  # every decision of every host reads the hours of all hosts
def _stored(text: str) -> Windows | None:
    plain = json.loads(text)
    return parse_windows(plain["hours"], plain["zone"], plain.get("blackout", ()))


def parse_hours(text: str) -> Hours:
    """``22:00-06:00``, ``mon-fri 22:00-06:00``, ``sat,sun 00:00-24:00``. Raises InputRefused.

    >>> parse_hours("fri-sun 22:00-06:00").text
    'fri,sat,sun 22:00-06:00'
    """
    *days, hours = text.strip().lower().rsplit(None, 1) or [""]
    match = _HOURS.fullmatch(hours)
    try:
        if match is None:
            raise ValueError
        h1, m1, h2, m2 = (int(part) for part in match.groups())
        end = time() if (h2, m2) == (24, 0) else time(h2, m2)
        return Hours(time(h1, m1), end, _days("".join(days)) if days else _ALL)
    except ValueError as error:
        message = f"--window {text[:60]!r}: expected hours such as 22:00-06:00, or mon-fri 22:00-06:00"
        raise InputRefused([Problem(0, "window", "invalid_value", message)]) from error


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first[:3]), DAYS.index((last or first)[:3])
        days |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(days)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        message = f"--blackout {text[:40]!r}: expected a date such as 2026-12-24"
        raise InputRefused([Problem(0, "blackout", "invalid_value", message)]) from error


def is_open(windows: Windows | None, at: datetime) -> bool:
    """Whether work may begin at ``at``; without windows it always may."""
    if windows is None:
        return True
    if windows.problem:
        return False
    local = at.astimezone(zone_of(windows.zone)).replace(tzinfo=None)
    if local.date() in windows.blackout:
        return False
    return not windows.hours or any(_holds(hours, local) for hours in windows.hours)


def _holds(hours: Hours, local: datetime) -> bool:
    today, before = local.weekday() in hours.days, (local.weekday() - 1) % 7 in hours.days
    now = local.time()
    if hours.start < hours.end:
        return today and hours.start <= now < hours.end
    return (today and now >= hours.start) or (before and now < hours.end)


def next_change(windows: Windows | None, at: datetime) -> datetime | None:
    """The first moment after ``at``, in UTC, at which they open or close; None: not in the next two years."""
    if windows is None or windows.problem:
        return None
    now_open = is_open(windows, at)
    return next((moment for moment in _moments(windows, at) if is_open(windows, moment) != now_open), None)


def opens_at(windows: Windows | None, at: datetime) -> datetime | None:
    """``at`` where they are open, else when they open; None: not in the next two years."""
    return at if is_open(windows, at) else next_change(windows, at)


def closes_at(windows: Windows | None, at: datetime) -> datetime | None:
    """When they close, of windows that are open at ``at``; None: not in the next two years."""
    return next_change(windows, at) if is_open(windows, at) else at


def _moments(windows: Windows, at: datetime) -> Iterator[datetime]:
    """Every moment after ``at`` at which something may change, in order."""
    zone = zone_of(windows.zone)
    boundaries = {time(), *(moment for hours in windows.hours for moment in (hours.start, hours.end))}
    first = at.astimezone(zone).date() - timedelta(days=1)
    for number in range(AHEAD):
        day = first + timedelta(days=number)
        moments = {
            datetime.combine(day, wall, tzinfo=zone).replace(fold=fold).astimezone(UTC)
            for wall in boundaries
            for fold in (0, 1)
        }
        shift = _shift(day, zone)
        if shift is not None:
            moments.add(shift)
        yield from (moment for moment in sorted(moments) if moment > at)


def _shift(day: date, zone: ZoneInfo) -> datetime | None:
    """When the clocks of a day are changed, to the second; None where they are not."""
    low = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    high = low + timedelta(hours=25)
    before = low.astimezone(zone).utcoffset()
    if high.astimezone(zone).utcoffset() == before:
        return None
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)


@record
class Fit:
    """How work of a known length lies in the windows."""

    done_at: datetime | None
    """None: never, as far as one can see."""
    closes_at: datetime | None
    """When the window in which it begins closes."""
    windows: int
    """In how many of them it is worked on."""

    @property
    def is_enough(self) -> bool:
        """It is done before the first window closes."""
        return self.windows == 1


def fit(windows: Windows | None, at: datetime, seconds: float) -> Fit:
    """When work of ``seconds`` that could begin at ``at`` is done, if it stops while they are closed.

    >>> from datetime import UTC
    >>> night = parse_windows(["22:00-06:00"], "UTC")
    >>> fit(night, datetime(2026, 1, 5, 20, tzinfo=UTC), 10 * 3600)  # doctest: +ELLIPSIS
    Fit(done_at=datetime.datetime(2026, 1, 7, 0, 0, ...), closes_at=datetime.datetime(2026, 1, 6, 6, 0, ...), windows=2)
    """
    first_close, left, used = None, timedelta(seconds=seconds), 0
    moment: datetime | None = at
    while moment is not None and used < AHEAD:
        begin = opens_at(windows, moment)
        if begin is None:
            break
        used += 1
        close = closes_at(windows, begin)
        first_close = first_close or close
        if close is None or begin + left <= close:
            return Fit(begin + left, first_close, used)
        left -= close - begin
        moment = close
    return Fit(None, first_close, used)
