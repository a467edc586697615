import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from tests.clocks import FakeClock
from worker.serving.watchdog import HUNG, StopSignal, Watchdog


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def dog(clock: FakeClock, ended: list[str]) -> Iterator[Watchdog]:
    watchdog = Watchdog(seconds=600, clock=clock, end=ended.append)
    yield watchdog
    watchdog.close()


def test_a_loop_that_turns_is_left_alone(dog: Watchdog, clock: FakeClock, ended: list[str]) -> None:
    with dog.watching("serve-gpu-1") as turned:
        for _ in range(5):
            clock.advance(599)
            dog.look()
            turned()

    assert ended == []


def test_a_loop_that_no_longer_turns_ends_the_process(
    dog: Watchdog, clock: FakeClock, ended: list[str]
) -> None:
    with dog.watching("serve-gpu-1"), dog.watching("tick") as ticked:
        clock.advance(601)
        ticked()
        dog.look()

    assert ended == ["serve-gpu-1"]


def test_a_load_may_last_as_long_as_it_was_said_to(dog: Watchdog, clock: FakeClock, ended: list[str]) -> None:
    with dog.watching("serve-gpu-1") as turned:
        turned(allowing=690)
        clock.advance(1289)
        dog.look()
        before = list(ended)
        clock.advance(2)
        dog.look()

    assert (before, ended) == ([], ["serve-gpu-1"])


def test_a_loop_that_has_ended_is_not_missed(dog: Watchdog, clock: FakeClock, ended: list[str]) -> None:
    with pytest.raises(ValueError), dog.watching("serve-gpu-1"):
        raise ValueError
    clock.advance(10_000)
    dog.look()

    assert ended == []


def test_only_the_loop_itself_tells_by_asking_that_it_turns() -> None:
    stop, told = StopSignal(), list[bool]()

    with stop.read_here(told.append):
        other = threading.Thread(target=stop.is_set)
        other.start()
        other.join()
        stop.is_set()
        stop.set()
        stop.is_set()
    stop.is_set()

    assert told == [False, True]


@pytest.mark.fault(34)
def test_a_process_whose_serving_loop_hangs_writes_what_its_threads_do_and_ends_itself() -> None:
    program = """
        import threading
        from worker.clock import SystemClock
        from worker.serving.watchdog import Watchdog

        def wait_for_what_never_comes():
            threading.Lock().acquire() and threading.Event().wait()

        with Watchdog(seconds=0.3, clock=SystemClock()).watching("serve-gpu-1"):
            wait_for_what_never_comes()
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == HUNG
    assert "serve-gpu-1 hangs" in done.stderr
    assert "wait_for_what_never_comes" in done.stderr
