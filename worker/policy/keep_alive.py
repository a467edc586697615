"""How long a runner stays loaded after its run: the strongest of what the run's jobs asked for."""

from collections.abc import Iterable
from typing import Any

PRELOAD_SECONDS = 600
"""keep_alive of a preload: outlasts the gaps of a run. A job of a run sends none of its own."""

FOR_EVER = -1

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def keep_alive_seconds(value: Any) -> float | None:
    """``value`` in seconds, −1 for ever, None where nothing was said (``api/types.go Duration``).

    >>> [keep_alive_seconds(v) for v in (None, 0, 90, -1, "1m30s", "-1s", "1.5h")]
    [None, 0.0, 90.0, -1.0, 90.0, -1.0, 5400.0]
    """
    if value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if value >= 0 else float(FOR_EVER)
    text = str(value)
    if text.startswith("-"):
        return float(FOR_EVER)
    seconds, number = 0.0, ""
    unit = ""
    for sign in [*text, "0"]:
        if sign.isdigit() or sign == ".":
            if unit:
                seconds += float(number or 0) * _UNITS[unit]
                number, unit = "", ""
            number += sign
        else:
            unit += sign
    return seconds


def strongest(hints: Iterable[float]) -> float | None:
    """The hint that wins a run: for ever, else the longest; None where no job gave one.

    >>> strongest([0, 60]), strongest([60, -1]), strongest([])
    (60, -1, None)
    """
    best: float | None = None
    for hint in hints:
        if hint < 0:
            return FOR_EVER
        best = hint if best is None else max(best, hint)
    return best
