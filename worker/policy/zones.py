"""Time zones by their names."""

from functools import lru_cache
from zoneinfo import ZoneInfo

from worker.errors import InputRefused, Problem


@lru_cache(maxsize=100)
def zone_of(name: str) -> ZoneInfo:
    """A zone by its name. Raises InputRefused."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        message = f"--tz {name[:60]!r}: no such time zone; expected a name such as Europe/Berlin, Asia/Shanghai or UTC"
        raise InputRefused([Problem(0, "tz", "invalid_value", message)]) from error
