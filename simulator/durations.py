"""What a Go duration or a ``keep_alive`` says, in seconds; and how Go words what it cannot read.

Source: Go ``time.ParseDuration``, ``api/types.go Duration.UnmarshalJSON``.
"""

import re

from simulator.gojson import quoted

FOREVER = (2**63 - 1) / 1e9
"""Go's longest duration, 292 years: what a negative ``keep_alive`` means."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)")


class BadDuration(ValueError):
    """A text or value that is no duration; the message is Go's."""


def parse_duration(text: str) -> float:
    """Read a Go duration.

    >>> parse_duration("1h30m"), parse_duration("-1s"), parse_duration("0")
    (5400.0, -1.0, 0.0)

    Raises:
        BadDuration: with the text of Go's error.
    """
    rest = text
    sign = 1.0
    if rest[:1] in ("-", "+"):
        sign = -1.0 if rest[0] == "-" else 1.0
        rest = rest[1:]
    if rest == "0":
        return 0.0
    if not rest:
        raise BadDuration(f"time: invalid duration {quoted(text)}")
    total = 0.0
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise BadDuration(f"time: invalid duration {quoted(text)}")
        number, unit = part.groups()
        if not unit:
            raise BadDuration(f"time: missing unit in duration {quoted(text)}")
        if unit not in _UNITS:
            raise BadDuration(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}")
        total += float(number) * _UNITS[unit]
        rest = rest[part.end() :]
    return sign * total


def keep_alive_seconds(value: object) -> float | None:
    """Read a request's ``keep_alive``: None is unset, any negative value is for ever.

    >>> keep_alive_seconds("5m"), keep_alive_seconds(0.5), keep_alive_seconds(-1) == FOREVER
    (300.0, 0.5, True)

    Raises:
        BadDuration: with the text of Ollama's error.
    """
    match value:
        case None:
            return None
        case bool():
            raise BadDuration("Unsupported type: 'bool'")
        case int() | float():
            seconds = float(value)
        case str():
            seconds = parse_duration(value)
        case list():
            raise BadDuration("Unsupported type: '[]interface {}'")
        case _:
            raise BadDuration("Unsupported type: 'map[string]interface {}'")
    if seconds < 0:
        return FOREVER
    if seconds > FOREVER:  # int64 nanoseconds wrap around to a negative number: unload when idle
        return 0.0
    return seconds
