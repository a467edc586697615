"""How long a batch is kept after its end."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from worker.records import record

_UNITS: Mapping[str, timedelta] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_TIME = re.compile(r"(\d{1,6})([smhdw])")
FOREVER = "forever"


def parse_keep(text: str) -> timedelta:
    """``30d``, ``12h``, ``6w`` or ``forever``, which is no time at all. Raises ValueError.

    >>> parse_keep("2w").days, parse_keep("forever")
    (14, datetime.timedelta(0))
    """
    if text.strip().lower() == FOREVER:
        return timedelta(0)
    match = _TIME.fullmatch(text.strip().lower())
    if match is None or not int(match.group(1)):
        raise ValueError(f"{text[:40]!r}: expected a time such as 30d, 12h or 6w, or {FOREVER}")
    return int(match.group(1)) * _UNITS[match.group(2)]


@record
class Ended:
    """A batch that is over, and what was said of keeping it."""

    batch_id: int
    name: str
    ended_at: datetime
    keep: timedelta | None
    """None: as is set for all; zero: for ever."""


def keep_period(
    keep: timedelta | None, *, default: timedelta | None, older_than: timedelta | None
) -> timedelta | None:
    """How long after its end a batch is kept that says ``keep``: as it says, else ``default``, or ``older_than`` where
    somebody gives that. None: for ever.

    >>> week, day = timedelta(days=7), timedelta(days=1)
    >>> keep_period(None, default=week, older_than=None).days, keep_period(day, default=week, older_than=None).days
    (7, 1)
    >>> keep_period(timedelta(0), default=week, older_than=day), keep_period(None, default=None, older_than=None)
    (None, None)
    """
    if keep is not None and not keep:
        return None
    return older_than or keep or default or None
