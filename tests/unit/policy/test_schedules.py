"""When a schedule fires, and what of its documents is asked."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InputRefused
from worker.policy.schedules import (
    LATE,
    Change,
    DocumentHistory,
    Due,
    change,
    check_cron,
    due,
    fate,
    fingerprint,
    fire_times,
    next_fire,
)

BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def test_a_time_that_the_change_of_clocks_skips_fires_at_the_next_one() -> None:
    found = list(islice(fire_times("30 2 * * *", BERLIN, after=utc(2026, 3, 28, 12)), 2))

    assert found == [utc(2026, 3, 29, 1, 0), utc(2026, 3, 30, 0, 30)]


def test_a_time_that_comes_twice_fires_once() -> None:
    found = list(islice(fire_times("30 2 * * *", BERLIN, after=utc(2026, 10, 24, 12)), 2))

    assert found == [utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30)]


def test_between_the_two_the_first_does_not_fire_again() -> None:
    assert next_fire("30 2 * * *", BERLIN, after=utc(2026, 10, 25, 0, 45)) == utc(2026, 10, 26, 1, 30)


def test_several_skipped_times_fire_together() -> None:
    found = list(islice(fire_times("15,45 2 * * *", BERLIN, after=utc(2026, 3, 28, 12)), 2))

    assert found == [utc(2026, 3, 29, 1, 0), utc(2026, 3, 30, 0, 15)]


def test_what_runs_every_hour_keeps_its_pace_through_the_change() -> None:
    found = list(islice(fire_times("0 * * * *", BERLIN, after=utc(2026, 10, 24, 22, 30)), 5))

    assert [at - found[0] for at in found] == [timedelta(hours=n) for n in range(5)]


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 2,3 * * 0", "15,45 1-3 * 3,10 *", "0 0 29 2 *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "UTC"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)),
)
def test_times_follow_each_other_and_none_lies_before(cron: str, zone: str, after: datetime) -> None:
    begin = after.replace(tzinfo=UTC)

    found = list(islice(fire_times(cron, ZoneInfo(zone), after=begin), 5))

    assert all(one < other for one, other in pairwise([begin, *found]))


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("0 2 * *", "UTC"),
        ("61 2 * * *", "UTC"),
        ("0 0 30 2 *", "UTC"),
        ("0 2 * * *", "Mars/North"),
        ("0 0 2 * * *", "UTC"),
    ],
)
def test_what_is_no_cron_expression_or_zone_is_refused(cron: str, zone: str) -> None:
    with pytest.raises(InputRefused, match=r"expected"):
        check_cron(cron, zone)


def test_nothing_is_due_before_its_time() -> None:
    at = utc(2026, 1, 6, 2)

    assert due("0 2 * * *", ZoneInfo("UTC"), next_at=at, now=utc(2026, 1, 6, 1, 59), misfire="run") == Due(
        None, 0, None, at
    )


def test_firings_that_were_missed_run_once() -> None:
    found = due(
        "0 2 * * *", ZoneInfo("UTC"), next_at=utc(2026, 1, 3, 2), now=utc(2026, 1, 6, 9), misfire="run"
    )

    assert found == Due(utc(2026, 1, 6, 2), 3, None, utc(2026, 1, 7, 2))


def test_or_are_passed_over() -> None:
    found = due(
        "0 2 * * *", ZoneInfo("UTC"), next_at=utc(2026, 1, 3, 2), now=utc(2026, 1, 6, 9), misfire="skip"
    )

    assert found == Due(None, 4, utc(2026, 1, 6, 2), utc(2026, 1, 7, 2))


def test_a_firing_within_the_grace_was_not_missed() -> None:
    at = utc(2026, 1, 6, 2)

    assert due("0 2 * * *", ZoneInfo("UTC"), next_at=at, now=at + LATE, misfire="skip").fire_at == at


def test_a_year_of_missed_minutes_costs_little() -> None:
    found = due(
        "* * * * *", ZoneInfo("UTC"), next_at=utc(2025, 1, 1), now=utc(2026, 1, 1, 0, 0, 30), misfire="run"
    )

    assert (found.fire_at, found.next_at) == (utc(2026, 1, 1), utc(2026, 1, 1, 0, 1))


@pytest.mark.parametrize(
    ("overlap", "unfinished", "queued", "expected"),
    [
        ("refuse", 0, 0, "begin"),
        ("refuse", 1, 0, "refuse"),
        ("queue", 1, 0, "queue"),
        ("queue", 2, 1, "refuse"),
        ("allow", 2, 0, "begin"),
    ],
)
def test_what_becomes_of_a_firing_beside_an_unfinished_one(
    overlap: str, unfinished: int, queued: int, expected: str
) -> None:
    assert fate(overlap, unfinished=unfinished, queued=queued) == expected  # type: ignore[arg-type]


ONE, OTHER = fingerprint("aa", "m", {"prompt": "x"}), fingerprint("aa", "m", {"prompt": "y"})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Change.NEW),
        (DocumentHistory(None), Change.NEW),
        (DocumentHistory(ONE, ONE), Change.REUSED),
        (DocumentHistory(OTHER, OTHER), Change.CHANGED),
        (DocumentHistory(ONE, None), Change.RETRIED),
        (DocumentHistory(ONE, OTHER), Change.RETRIED),
        (DocumentHistory(ONE, None, pending=True), Change.PENDING),
        (DocumentHistory(OTHER, ONE), Change.REUSED),
    ],
)
def test_what_is_asked_of_a_document(known: DocumentHistory | None, expected: Change) -> None:
    assert change(known, ONE) is expected


def test_other_weights_under_the_same_name_are_asked_again_only_where_that_is_wanted() -> None:
    known, now = DocumentHistory(ONE, ONE, "sha256:old"), frozenset({"sha256:new"})

    assert change(known, ONE, digests=now) is Change.REUSED
    assert change(known, ONE, digests=now, on_model_change="rerun") is Change.CHANGED
    assert change(known, ONE, digests=now | {"sha256:old"}, on_model_change="rerun") is Change.REUSED


def test_a_flawed_answer_is_asked_again_only_where_that_is_wanted() -> None:
    flawed = DocumentHistory(ONE, ONE, flawed=True)

    assert change(flawed, ONE) is Change.REUSED
    assert change(flawed, ONE, ask_cut_again=True) is Change.RETRIED
    assert (
        change(DocumentHistory(ONE, ONE, flawed=True, pending=True), ONE, ask_cut_again=True)
        is Change.PENDING
    )
    assert change(DocumentHistory(ONE, ONE), ONE, ask_cut_again=True) is Change.REUSED


def test_a_fingerprint_tells_documents_models_and_what_is_asked_apart() -> None:
    assert (
        len({ONE, OTHER, fingerprint("ab", "m", {"prompt": "x"}), fingerprint("aa", "n", {"prompt": "x"})})
        == 4
    )
    assert fingerprint("aa", "m", {"a": 1, "b": 2}) == fingerprint("aa", "m", {"b": 2, "a": 1})
