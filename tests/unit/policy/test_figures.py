"""What results, loads and watts come to."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.figures import Cell, Load, Power
from worker.policy.figures import By, figures

TWO = datetime(2026, 11, 23, 2, tzinfo=UTC)
LATER = TWO + timedelta(days=1)


def cell(
    batch: int = 1, hour: datetime = TWO, host: str = "gpu-1", seconds: float = 1800.0, **more: int
) -> Cell:
    return Cell(batch, hour, "qwen3:8b", host, results=1, succeeded=1, gpu_seconds=seconds, **more)


def load(host: str = "gpu-1", seconds: float = 60.0) -> Load:
    return Load(host, "qwen3:8b", TWO, seconds, TWO + timedelta(hours=1))


def test_an_hour_is_busy_loading_and_idle() -> None:
    made = figures([cell()], [load()], by=By.HOST, power={}, whole=True, now=LATER)

    [line] = made.lines
    assert (line.busy_seconds, line.loading_seconds, line.idle_seconds) == (1800, 60, 1740)
    assert line.load_share == pytest.approx(60 / 1860)
    assert made.total.idle_share == pytest.approx(1740 / 3600)


def test_the_hour_that_runs_is_idle_only_as_far_as_it_has_passed() -> None:
    made = figures([cell(seconds=100)], [], by=By.HOUR, power={}, whole=True, now=TWO + timedelta(minutes=5))

    assert made.lines[0].idle_seconds == 200


def test_energy_is_work_and_loads_at_full_watts_and_idleness_at_its_own() -> None:
    power = {"gpu-1": Power(360, 36)}

    made = figures([cell()], [load()], by=By.DAY, power=power, whole=True, now=LATER)

    assert made.total.kwh == pytest.approx((1860 * 360 + 1740 * 36) / 3_600_000)
    assert made.lines[0].kwh == made.total.kwh


def test_energy_is_unknown_where_a_host_at_work_has_no_watts() -> None:
    cells = [cell(), cell(host="gpu-2")]

    made = figures(cells, [], by=By.HOST, power={"gpu-1": Power(100)}, whole=False, now=LATER)

    assert [line.kwh for line in made.lines] == [0.05, None]
    assert made.total.kwh is None
    assert made.unknown_power == ("gpu-2",)


def test_batches_that_share_a_runner_share_its_load_by_what_they_took() -> None:
    first, second = cell(1, seconds=900), cell(2, seconds=300)

    both = figures([first, second], [load()], by=By.BATCH, power={}, whole=True, now=LATER)
    alone = figures([second], [load()], by=By.BATCH, power={}, whole=False, now=LATER, beside=[first])

    assert [(line.key, line.loading_seconds, line.loads) for line in both.lines] == [
        ("1", 45, 1),
        ("2", 15, 0),
    ]
    assert both.total.loading_seconds == 60
    assert alone.total.loading_seconds == 15


def test_a_load_that_served_nobody_counts_over_all_and_for_no_batch() -> None:
    useless = load("gpu-2")

    over_all = figures([cell()], [useless], by=By.HOST, power={}, whole=True, now=LATER)
    of_one = figures([cell()], [useless], by=By.HOST, power={}, whole=False, now=LATER)

    assert [(line.key, line.loading_seconds) for line in over_all.lines] == [("gpu-1", 0), ("gpu-2", 60)]
    assert [line.key for line in of_one.lines] == ["gpu-1"]


def test_idleness_is_the_fleets_whatever_the_lines_stand_for() -> None:
    made = {by: figures([cell()], [], by=by, power={}, whole=True, now=LATER) for by in By}

    assert {made[by].total.idle_seconds for by in By} == {1800}
    assert made[By.MODEL].lines[0].idle_seconds is None


def test_batches_stand_in_their_order_with_their_names() -> None:
    cells = [cell(10), cell(2)]

    made = figures(cells, [], by=By.BATCH, power={}, whole=True, now=LATER, names={2: "night", 10: "day"})

    assert [line.key for line in made.lines] == ["2 night", "10 day"]
