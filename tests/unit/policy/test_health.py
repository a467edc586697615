"""In which state a host is shown, and when it is called slow."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.hosts import Health
from worker.policy.health import ENOUGH, SLOW_SHARE, WELL_SHARE, Speeds, health_of

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("draining", "quarantined", "unreachable", "slow", "health"),
    [
        (False, None, None, None, Health.READY),
        (False, None, None, -5, Health.SLOW),
        (False, None, -5, -5, Health.UNREACHABLE),
        (False, 5, -5, -5, Health.QUARANTINED),
        (False, -5, None, None, Health.READY),
        (True, 5, -5, -5, Health.DRAINING),
    ],
)
def test_a_host_is_shown_in_its_gravest_state(
    draining: bool, quarantined: int | None, unreachable: int | None, slow: int | None, health: Health
) -> None:
    def at(minutes: int | None) -> datetime | None:
        return None if minutes is None else NOW + timedelta(minutes=minutes)

    found = health_of(
        now=NOW,
        draining=draining,
        quarantined_until=at(quarantined),
        unreachable_since=at(unreachable),
        slow_since=at(slow),
    )

    assert found is health


def test_a_host_that_falls_far_below_its_own_pace_is_slow_until_it_has_recovered() -> None:
    speeds = Speeds()
    for _ in range(3 * ENOUGH):
        assert speeds.answered("qwen3:8b", 40.0) is None

    told = [speeds.answered("qwen3:8b", 40 / SLOW_SHARE / 2) for _ in range(20)]
    below = speeds.answered("qwen3:8b", 40 / SLOW_SHARE)
    for _ in range(20):
        recovered = speeds.answered("qwen3:8b", 40 / WELL_SHARE * 1.5)

    assert told[0] is None
    assert told[-1] is not None
    assert "qwen3:8b: 5." in told[-1]
    assert below is not None
    assert recovered is None
    assert speeds.slow is None


def test_more_slots_in_use_make_no_host_slow() -> None:
    speeds = Speeds()
    for _ in range(3 * ENOUGH):
        speeds.answered("qwen3:8b", 40.0)

    assert all(speeds.answered("qwen3:8b", 16.0) is None for _ in range(50))


def test_a_slow_model_beside_a_fast_one_is_its_own_measure() -> None:
    speeds = Speeds()

    for _ in range(3 * ENOUGH):
        assert speeds.answered("qwen3:8b", 40.0) is None
        assert speeds.answered("llama3.1:70b", 2.0) is None
