import math

import pytest

from api_schemas.durations import MAX_NANOSECONDS, parse_duration
from api_schemas.keep_alive import FOR_EVER, UNLOAD, keep_alive_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("10m", 600),
        ("24h", 86_400),
        ("1h30m", 5_400),
        ("300ms", 0.3),
        (".5s", 0.5),
        ("+5m", 300),
        (3600, 3600),
        (0.5, 0.5),
        (-1, FOR_EVER),
        (-0.5, FOR_EVER),
        ("-1m", FOR_EVER),
        ("-1s", FOR_EVER),
        (0, UNLOAD),
        (0.0, UNLOAD),
        ("0", UNLOAD),
        ("0s", UNLOAD),
        ("-0s", UNLOAD),
    ],
)
def test_each_form_of_keep_alive_has_its_meaning(value: object, seconds: float | None) -> None:
    assert keep_alive_seconds(value) == seconds


@pytest.mark.parametrize("text", ["10", "-1", "300", "1.5"])
def test_a_number_in_quotes_is_refused_with_both_ways_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=f'write {text} \\(a number of seconds\\) or "{text}s"'):
        keep_alive_seconds(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "5 minutes",
        "5m ",
        "m",
        "1e3s",
        True,
        [],
        {},
        math.nan,
        1e12,
        math.inf,
    ],
)
def test_what_a_server_refuses_or_takes_for_zero_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        keep_alive_seconds(value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("-1", 'time: missing unit in duration "-1"'),
        ("300", 'time: missing unit in duration "300"'),
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".", 'time: invalid duration "."'),
        (".s", 'time: invalid duration ".s"'),
        ("5 minutes", 'time: unknown unit " minutes" in duration "5 minutes"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
        ("300000000h", 'time: invalid duration "300000000h"'),
    ],
)
def test_a_bad_duration_is_refused_in_the_words_of_a_server(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_duration(text)

    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (300_000_000_000, "5m0s"),
        (3_600_000_000_000 + 1, "1h0m0.000000001s"),
        (-90_000_000_000, "-1m30s"),
        (MAX_NANOSECONDS, "2562047h47m16.854775807s"),
    ],
)
def test_durations_are_read_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert parse_duration(text) == nanoseconds
