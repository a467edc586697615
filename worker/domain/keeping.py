"""How long is a batch kept once it has ended?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    found = _TIME.fullmatch(text.strip().lower())
    if found is None or not int(found.group(1)):
        raise ValueError(f"{text[:40]!r}: expected a time such as 30d, 12h or 6w, or {FOREVER}")
    return int(found.group(1)) * _UNITS[found.group(2)]


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch that is over, and what was said of keeping it."""

    batch_id: int
    name: str
    ended_at: datetime
    keep: timedelta | None
    """None: as is set for all; zero: for ever."""


def is_due(batch: Ended, now: datetime, *, default: timedelta | None, older_than: timedelta | None) -> bool:
    """Whether its texts have to go: those of ``default`` and of its own, or older than somebody says. One that is kept
    for ever is not."""
    if batch.keep is not None and not batch.keep:
        return False
    limit = older_than or batch.keep or default
    return limit is not None and limit > timedelta(0) and now - batch.ended_at > limit
