"""Hours in which work may begin."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InputRefused
from worker.policy.windows import (
    Windows,
    closes_at,
    fit,
    is_open,
    next_change,
    opens_at,
    parse_hours,
    parse_windows,
    stored_windows,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def some(*hours: str, zone: str = "UTC", blackout: tuple[str, ...] = ()) -> Windows:
    found = parse_windows(hours, zone, blackout)
    assert found is not None
    return found


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday_nights = some("fri 22:00-06:00")

    assert is_open(friday_nights, utc(2026, 1, 9, 23))  # a Friday
    assert is_open(friday_nights, utc(2026, 1, 10, 5, 59))
    assert not is_open(friday_nights, utc(2026, 1, 10, 6))
    assert not is_open(friday_nights, utc(2026, 1, 9, 5))
    assert not is_open(friday_nights, utc(2026, 1, 10, 23))


def test_on_a_blackout_date_nothing_is_open_from_midnight_to_midnight() -> None:
    nights = some("22:00-06:00", blackout=("2026-12-24",))

    assert closes_at(nights, utc(2026, 12, 23, 23)) == utc(2026, 12, 24)
    assert opens_at(nights, utc(2026, 12, 24, 1)) == utc(2026, 12, 25)


def test_blackout_dates_alone_leave_all_other_hours_open() -> None:
    days = some(blackout=("2026-12-24",))

    assert next_change(days, utc(2026, 12, 1)) == utc(2026, 12, 24)


def test_an_hour_that_is_skipped_is_lost_and_one_that_comes_twice_is_open_twice() -> None:
    early = some("02:00-03:00", zone="Europe/Berlin")

    spring, autumn = utc(2026, 3, 29), utc(2026, 10, 25)

    assert opens_at(early, spring) == utc(2026, 3, 30, 0)
    assert opens_at(early, autumn) == utc(2026, 10, 25, 0)
    assert closes_at(early, utc(2026, 10, 25, 0)) == utc(2026, 10, 25, 2)


def test_a_window_that_begins_in_the_skipped_hour_opens_after_it() -> None:
    early = some("02:30-04:00", zone="Europe/Berlin")

    assert opens_at(early, utc(2026, 3, 29)) == utc(2026, 3, 29, 1)
    assert closes_at(early, utc(2026, 3, 29, 1)) == utc(2026, 3, 29, 2)


@given(
    st.lists(
        st.sampled_from(["22:00-06:00", "mon-fri 02:30-04:00", "sat,sun 00:00-24:00", "02:15-02:45"]),
        min_size=1,
    ),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 30)),
)
def test_the_next_change_is_one_and_there_is_none_before(hours: list[str], zone: str, at: datetime) -> None:
    windows, begin = some(*hours, zone=zone), at.replace(tzinfo=UTC)

    found = next_change(windows, begin)

    if found is not None:
        assert is_open(windows, found) != is_open(windows, begin)
        step = (found - begin) / 50
        assert all(is_open(windows, begin + n * step) == is_open(windows, begin) for n in range(50))
        assert is_open(windows, found - timedelta(seconds=1)) == is_open(
            windows, begin
        ) or found - begin < timedelta(seconds=1)


def test_work_that_does_not_fit_one_window_goes_on_in_the_next() -> None:
    nights = some("22:00-06:00")

    short, long = fit(nights, utc(2026, 1, 5, 20), 3600), fit(nights, utc(2026, 1, 5, 20), 9 * 3600)

    assert (short.done_at, short.is_enough) == (utc(2026, 1, 5, 23), True)
    assert (long.done_at, long.closes_at, long.is_enough) == (utc(2026, 1, 6, 23), utc(2026, 1, 6, 6), False)


def test_without_windows_work_may_always_begin() -> None:
    assert is_open(None, utc(2026, 1, 1))
    assert fit(None, utc(2026, 1, 1), 60).is_enough


@pytest.mark.parametrize("text", ["22-06", "", "25:00-06:00", "someday 22:00-06:00", "22:00", "22:00-06:60"])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="expected hours"):
        parse_hours(text)


def test_windows_are_read_back_as_they_were_stored() -> None:
    windows = some(
        "mon-fri 22:00-06:00", "sat,sun 00:00-24:00", zone="Asia/Shanghai", blackout=("2026-12-24",)
    )

    assert stored_windows(windows.plain) == windows
    assert (
        windows.text
        == "mon,tue,wed,thu,fri 22:00-06:00 and sat,sun 00:00-24:00 (Asia/Shanghai), not on 2026-12-24"
    )
