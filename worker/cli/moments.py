"""A moment as people write it on the command line."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str | None, now: datetime, option: str) -> datetime | None:
    """ISO 8601, in local time unless it says otherwise, or how long ago: 90m, 12h, 2d. Raises typer.BadParameter."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago.group(2)]: int(ago.group(1))})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is not a valid time; expected 2026-11-23, 2026-11-23T02:00 or 12h", param_hint=option
        ) from error
