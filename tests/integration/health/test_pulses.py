from datetime import timedelta

import pytest

from tests.clocks import FakeClock
from worker.maintenance.heart import Heart
from worker.storage.engine import Database
from worker.storage.pulses import PROBE, probe, read_pulses, record_pulse, take_turn


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_pulse_says_when_and_how_often_and_is_forgotten_at_the_end(
    database: Database, clock: FakeClock
) -> None:
    heart = Heart("tick", every=5)

    heart.beat(database, clock, failing={"prune": "a defect"})
    clock.advance(1)
    heart.beat(database, clock, failing={"prune": "a defect"})
    with database.read() as conn:
        first = read_pulses(conn)["tick"]
    clock.advance(4)
    heart.beat(database, clock, failing={"prune": "a defect"})
    with database.read() as conn:
        second = read_pulses(conn)["tick"]
    heart.stop(database)

    assert first.at == clock.now() - timedelta(seconds=5), "not every call is a write"
    assert second.at == clock.now()
    assert first.detail["every"] == 5
    with database.read() as conn:
        assert read_pulses(conn) == {}


def test_of_two_that_saw_the_same_one_has_its_turn(database: Database, clock: FakeClock) -> None:
    with database.write() as conn:
        turns = [take_turn(conn, "health", last=None, now=clock.now(), detail={"n": n}) for n in (1, 2)]
        seen = read_pulses(conn)["health"]
        clock.advance(60)
        again = [take_turn(conn, "health", last=seen, now=clock.now(), detail={"n": n}) for n in (3, 4)]
        last = read_pulses(conn)["health"]

    assert (turns, again) == ([True, False], [True, False])
    assert (seen.detail, last.detail) == ({"n": 1}, {"n": 3})


def test_the_probe_leaves_nothing_large_behind(database: Database, clock: FakeClock) -> None:
    with database.write() as conn:
        record_pulse(conn, "tick", now=clock.now(), detail={})
        probe(conn, now=clock.now())

    with database.read() as conn:
        found = read_pulses(conn)
    assert set(found) == {"tick", PROBE}
    assert found[PROBE].detail == {}
