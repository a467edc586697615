"""When something is wanted, and a quote in words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from api_schemas.output.base import plain
from worker.cli.eta import Eta
from worker.cli.quoting import expected, summary, whether_in_time
from worker.cli.render import Rates
from worker.cli.submissions import deadline_of
from worker.errors import DatabaseUnavailable, InputRefused
from worker.exports.output.quotes import quote_output
from worker.policy.quote import HostQuote, Part, Quote
from worker.policy.windows import parse_windows
from worker.quote.quote import Quoted

pytestmark = pytest.mark.usefixtures("utc")
NOW = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
EAST = timezone(timedelta(hours=8))
NIGHT = HostQuote("gpu-1", (Part("qwen3:8b num_ctx=4096", 1000, 20.0, 7180.0, 7200.0),))


def quoted(low: float = 6000, middle: float = 7200, high: float = 9000, **more: object) -> Quoted:
    unplaced = more.pop("unplaced", ())
    night = Quote(low, middle, high, (NIGHT,), unplaced)  # type: ignore[arg-type]
    return Quoted(NOW, 1000, 0, 0, night, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("22:00", UTC, "2026-11-23T22:00:00+00:00"),
        ("08:00", UTC, "2026-11-24T08:00:00+00:00"),
        ("20:30", UTC, "2026-11-24T20:30:00+00:00"),
        ("8:00", EAST, "2026-11-24T00:00:00+00:00"),
        ("2026-12-01T06:00:00+01:00", EAST, "2026-12-01T05:00:00+00:00"),
        ("2026-12-01 06:00", EAST, "2026-11-30T22:00:00+00:00"),
        ("2026-12-01T06:00Z", EAST, "2026-12-01T06:00:00+00:00"),
    ],
)
def test_a_time_without_a_day_is_the_next_one_and_one_without_an_offset_is_here(
    text: str, zone: timezone, meant: str
) -> None:
    assert deadline_of(text, NOW, zone).isoformat() == meant


@pytest.mark.parametrize(
    "text", ["25:00", "tomorrow", "8", "", "2026-11-23T20:00Z", "0001-01-01T00:00+23:59"]
)
def test_what_is_no_time_or_has_passed_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(InputRefused, match="--by"):
        deadline_of(text, NOW, UTC)


def test_a_quote_says_when_and_between_what() -> None:
    assert expected(quoted()) == "at 22:30:00, in 2 h 0 min (1.7–2.5 h)"


def test_a_range_that_rounds_to_one_figure_is_left_out() -> None:
    assert expected(quoted(low=171, middle=172, high=173)) == "at 20:32:52, in 2 min 52 s"


def test_a_quote_counts_the_hours_in_which_jobs_may_start() -> None:
    night = parse_windows(["22:00-06:00"], "UTC")

    within = quoted(hours=night)

    assert expected(within) == "at 2026-11-24 00:00:00, in 3 h 30 min (3.2–4 h), within 22:00-06:00 (UTC)"
    assert not within.meets(NOW + timedelta(hours=3))


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        (180, "In time for 23:30:00, with 1 h 0 min to spare"),
        (130, "In time for 22:40:00, with 10 min 0 s to spare, if all goes as expected"),
        (115, "The deadline 22:25:00 will be missed, as it looks: 5 min 0 s too late"),
        (90, "The deadline 22:00:00 cannot be met: 30 min 0 s too late"),
    ],
)
def test_a_deadline_is_met_perhaps_met_perhaps_missed_or_missed(minutes: int, told: str) -> None:
    deadline = NOW + timedelta(minutes=minutes)

    assert whether_in_time(quoted(), deadline) == told
    assert quoted().meets(deadline) is (minutes >= 120)


def test_a_guess_is_called_one_with_the_way_to_know_better() -> None:
    told = list(
        summary(
            quoted(guessed=("qwen3:8b num_ctx=4096",)), None, sampling="caravan quote x.jsonl --measure 10"
        )
    )

    assert told[1] == (
        "This is a guess: nobody has seen qwen3:8b at work here; caravan quote x.jsonl --measure 10 runs ten of the "
        "jobs to know better"
    )


def test_work_that_no_host_can_do_is_never_in_time() -> None:
    found = quoted(unplaced=("big:1",))

    told = list(summary(found, NOW + timedelta(days=1)))

    assert told[0].startswith("Never: no host has, or can hold, big:1; ")
    assert told[-1].startswith("Not in time for ")
    assert not found.meets(NOW + timedelta(days=1))


def test_a_script_gets_the_same_in_seconds_and_utc() -> None:
    shown = plain(quote_output(quoted(), NOW + timedelta(hours=1)))

    assert shown["seconds"] == {"low": 6000, "expected": 7200, "high": 9000}
    assert shown["done_at"]["expected"] == "2026-11-23T22:30:00Z"
    assert shown["in_time"] is False
    assert shown["hosts"][0]["runners"][0]["jobs"] == 1000


def test_progress_has_the_estimate_as_a_range() -> None:
    rates = Eta(lambda: quoted()).into(Rates(1.0, 40.0, 50.0))

    assert rates.eta_seconds == pytest.approx(7200, abs=1)
    assert rates.eta_between is not None
    assert rates.eta_between == pytest.approx((6000, 9000), abs=1)


def test_a_pace_that_is_slower_than_what_was_learned_widens_the_range() -> None:
    rates = Eta(lambda: quoted()).into(Rates(1.0, 40.0, 12_000.0))

    assert rates.eta_between == pytest.approx((6000, 12_000), abs=1)


def test_what_was_seen_since_the_start_is_worth_more_than_a_guess() -> None:
    guess = Eta(lambda: quoted(guessed=("m:1",)))

    assert guess.into(Rates(1.0, 40.0, 50.0)) == Rates(1.0, 40.0, 50.0)
    assert guess.into(Rates(0.0, 0.0, None)).eta_seconds == pytest.approx(7200, abs=1)


def test_a_database_that_is_away_leaves_the_rates_as_they_are() -> None:
    def away() -> Quoted:
        raise DatabaseUnavailable("gone")

    assert Eta(away).into(Rates(1.0, 40.0, 50.0)) == Rates(1.0, 40.0, 50.0)
