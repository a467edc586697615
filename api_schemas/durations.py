"""How Go reads a span of time (``time.ParseDuration``), in nanoseconds."""

import re

MAX_NANOSECONDS = 2**63 - 1
"""The longest Go duration, about 292 years; Ollama's "for ever"."""

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC: Go takes both letters
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """``text`` in nanoseconds. Raises ``ValueError`` with the very words of Go's ``time.ParseDuration``.

    >>> parse_duration("1h30m"), parse_duration("-1.5s"), parse_duration("0")
    (5400000000000, -1500000000, 0)
    >>> parse_duration("10")
    Traceback (most recent call last):
    ValueError: time: missing unit in duration "10"
    """
    invalid = f'time: invalid duration "{text}"'
    rest = text
    negative = rest[:1] == "-"
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(invalid)
    total = 0
    while rest:
        term = _TERM.match(rest)
        if term is None:
            raise ValueError(invalid)
        whole, fraction, unit = term.groups()
        if not whole and not fraction:
            raise ValueError(invalid)
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        if len(whole) > 19:
            raise ValueError(invalid)
        scale = _UNITS[unit]
        total += int(whole or 0) * scale
        if fraction:
            digits = fraction[:18]
            total += int(digits) * scale // 10 ** len(digits)
        if total > MAX_NANOSECONDS:
            raise ValueError(invalid)
        rest = rest[term.end() :]
    return -total if negative else total
