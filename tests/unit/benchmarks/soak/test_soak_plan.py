"""What a plan of trouble holds."""

import pytest

from benchmarks.soak.plan import REST_SECONDS, kinds, plan
from benchmarks.soak.stage import LEASE_SECONDS
from simulator import Fault

PARTS = {
    "worker": ["gpu-1", "gpu-2", "gpu-3"],
    "host": ["gpu-1", "gpu-2", "gpu-3"],
    "control": ["control-1", "control-2"],
    "beat": ["beat-1", "beat-2"],
    "redis": ["redis"],
    "postgres": ["postgres"],
}
MINUTES = 240.0
SEEDS = range(1, 9)


def test_a_seed_gives_the_same_plan_again_and_another_seed_another() -> None:
    assert plan(3, MINUTES, PARTS, LEASE_SECONDS) == plan(3, MINUTES, PARTS, LEASE_SECONDS)
    assert plan(3, MINUTES, PARTS, LEASE_SECONDS) != plan(4, MINUTES, PARTS, LEASE_SECONDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_broken_is_mended_and_then_left_alone_for_a_while(seed: int) -> None:
    broken_until: dict[str, float] = {}

    steps = plan(seed, MINUTES, PARTS, LEASE_SECONDS)

    for step in steps:
        key = f"{step.kind.part} {step.target}"
        if step.mends:
            broken_until[key] = step.at + REST_SECONDS
        else:
            assert step.at >= broken_until.get(key, 0.0)
            lasts = step.kind.seconds != (0.0, 0.0)
            broken_until[key] = float("inf") if lasts else step.at + REST_SECONDS
    assert float("inf") not in broken_until.values()


@pytest.mark.parametrize("seed", SEEDS)
def test_nearly_every_kind_of_trouble_comes_in_four_minutes(seed: int) -> None:
    steps = plan(seed, MINUTES, PARTS, LEASE_SECONDS)

    known = {(kind.part, kind.name) for kind in kinds(LEASE_SECONDS)}
    assert len(known - {(step.kind.part, step.kind.name) for step in steps}) <= 4


def test_what_is_paused_sleeps_through_its_lease_and_hosts_know_their_faults() -> None:
    for kind in kinds(LEASE_SECONDS):
        if kind.name == "paused" and kind.part == "worker":
            assert kind.seconds[0] > LEASE_SECONDS
        if kind.fault:
            Fault.from_json(kind.fault)
