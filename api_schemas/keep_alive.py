"""How long a model stays loaded after a request: the four forms of ``keep_alive`` and what each means.

| form | example | means |
|---|---|---|
| duration string | ``"10m"``, ``"1h30m"`` | that long; a negative one (``"-1m"``) for ever |
| number of seconds | ``3600``, ``0.5`` | that many seconds; a negative one (``-1``) for ever |
| zero | ``0``, ``"0"``, ``"0s"`` | unload as soon as nobody uses it |
| absent, null | – | as it is: the runner keeps its value, a fresh load takes the server's default (5 m) |

A number in a string (``"10"``, ``"-1"``) is refused by the server (``api/types.go Duration.UnmarshalJSON``),
and here.
"""

import math

from api_schemas.durations import MAX_NANOSECONDS, parse_duration

FOR_EVER = math.inf
UNLOAD = 0.0


def keep_alive_seconds(value: object) -> float | None:
    """``value`` in seconds: ``FOR_EVER`` for a negative one, ``UNLOAD`` for zero, None for nothing said.

    Raises ``ValueError`` saying what to write instead.

    >>> [keep_alive_seconds(v) for v in ("10m", 3600, -1, "-1m", 0, "0s", None)]
    [600.0, 3600.0, inf, inf, 0.0, 0.0, None]
    >>> keep_alive_seconds("10")
    Traceback (most recent call last):
    ValueError: "10" has no unit: write 10 (a number of seconds) or "10s"
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(  # noqa: TRY004 (one kind of error for every value that is wrong)
            'expected a number of seconds or a duration such as "10m"; a negative one is for ever, 0 unloads'
        )
    if isinstance(value, str):
        nanoseconds = _parse(value)
        if nanoseconds < 0:
            return FOR_EVER
        return nanoseconds / 1e9
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("NaN is not a time")
    if value < 0:
        return FOR_EVER
    if value > MAX_NANOSECONDS // 10**9:  # not value * 1e9: an int may be longer than any float
        raise ValueError(
            f"{str(value)[:20]} seconds is more than 292 years, which the server takes for 0; -1 is for ever"
        )
    return float(value)


_LONGEST = 100


def _parse(text: str) -> int:
    try:
        if len(text) > _LONGEST:
            raise ValueError

        return parse_duration(text)
    except ValueError as error:
        shown = text if len(text) <= 40 else text[:40] + "…"
        if _is_number(text):
            raise ValueError(
                f'"{shown}" has no unit: write {shown} (a number of seconds) or "{shown}s"'
            ) from error
        raise ValueError(
            f'"{shown}" is not a duration: write one such as "90s", "10m" or "1h30m" '
            "(units ns, us, ms, s, m, h), or a number of seconds"
        ) from error


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.strip() == text and "_" not in text
    except ValueError:
        return False
