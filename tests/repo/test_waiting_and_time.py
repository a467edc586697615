"""Waiting for something, and a clock that a test moves."""

from datetime import timedelta

import pytest

from tests.clocks import FakeClock
from tests.waiting import wait_until
from worker.clock import Clock


def test_waiting_gives_back_what_came_true() -> None:
    answers = iter([None, "", "ready"])

    found = wait_until(lambda: next(answers), description="an answer", interval=0)

    assert found == "ready"


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the host is up"):
        wait_until(lambda: False, description="the host is up", timeout=0, interval=0)


def test_a_fake_clock_moves_only_when_told() -> None:
    clock: Clock = (fake := FakeClock())
    then, before = clock.now(), clock.monotonic()

    fake.advance(90)

    assert clock.now() - then == timedelta(seconds=90)
    assert clock.monotonic() - before == 90
    assert clock.now().utcoffset() == timedelta(0)


def test_a_fake_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)
