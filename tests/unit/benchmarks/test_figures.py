"""Figures are made of the window between the first results and the last, and compared within a round."""

import pytest

from benchmarks.figures import Curve, NoWindow, Sample, Spread, curve, figures, ratios


def look(at: float, stored: int, cpu: float) -> Sample:
    return Sample(at, stored, {"worker": cpu})


def test_starting_up_is_no_part_of_the_window() -> None:
    samples = [look(0, 0, 3.0), look(5, 0, 4.0), look(6, 60, 4.5), look(8, 1060, 6.5), look(9, 1060, 9.9)]

    found = figures(samples, jobs=1060, warm=0.05, peak_rss={"worker": 7})

    assert (found.jobs, found.seconds, found.jobs_per_second) == (1000, 2, 500)
    assert found.cpu_ms == {"worker": 2.0}
    assert found.peak_rss == {"worker": 7}


@pytest.mark.parametrize(
    "samples", [[look(0, 0, 1.0), look(1, 50, 2.0)], [look(0, 0, 1.0), look(1, 100, 2.0)], []]
)
def test_a_run_that_was_not_seen_twice_has_no_figures(samples: list[Sample]) -> None:
    with pytest.raises(NoWindow, match="take more jobs"):
        figures(samples, jobs=100, warm=0.05, peak_rss={})


def test_a_spread_is_the_least_the_middle_and_the_most() -> None:
    assert Spread.of([5.0, 1.0, 2.0]) == Spread(1.0, 2.0, 5.0)


def test_ratios_stay_within_their_round() -> None:
    assert ratios([1.0, 10.0, 2.0], [2.0, 20.0, 4.0]) == Spread(0.5, 0.5, 0.5)


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError):
        ratios([1.0, 2.0], [1.0])


def test_growth_is_the_last_third_above_the_middle_one() -> None:
    found = curve([10, 20, 30, 40, 41, 39, 44, 45, 46])

    assert found == Curve(start=10, middle=40, end=45, highest=46)
    assert found.growth == 5


def test_two_sizes_make_no_curve() -> None:
    with pytest.raises(ValueError):
        curve([1, 2])
