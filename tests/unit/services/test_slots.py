"""The slots of a host, without a host."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tests.echo import JOBS_A_CALL
from tests.waiting import wait_until
from worker.clock import SystemClock
from worker.domain.attempts import Cancelled, Failed, Finish, Outcome, Retried
from worker.domain.jobs import ClaimedJob, Priority
from worker.errors import Code, HostError
from worker.ollama.client import Call
from worker.serving.attempt import Ending
from worker.serving.slots import MOST_FAILURES, Attempt, Slots

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def job(number: int) -> ClaimedJob:
    return ClaimedJob(number, 1, f"c{number}", "m:1", "m:1", Priority.NORMAL, 1, 0, 3, "t", "x", {})


def ending(job: ClaimedJob, error: HostError | None = None) -> Ending:
    outcome: Outcome = Cancelled() if error is None else Retried(error.code, "", NOW, charged=False)
    return Ending(Finish(job.id, 1, "t", 1, "gpu-1", NOW, NOW, outcome), error, 0.0)


def singly(attempt: Callable[[ClaimedJob, str, Call], Ending]) -> Attempt:
    """Calls that carry one job each."""

    def each(jobs: Sequence[ClaimedJob], runner_key: str, call: Call) -> list[Ending]:
        (one,) = jobs
        return [attempt(one, runner_key, call)]

    return each


def ended(slots: Slots) -> list[int]:
    return [ending.finish.job_id for one in slots.completions(5) for ending in one.endings]


def test_after_a_fault_of_the_host_no_waiting_job_is_tried_until_the_slots_go_on() -> None:
    tried: list[int] = []

    def refuse(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        tried.append(job.id)
        return ending(job, HostError(Code.HOST_UNREACHABLE, "connection refused"))

    slots = Slots(1, singly(refuse), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(1), job(2), job(3)], "m:1")

    assert ended(slots) == [1]
    assert slots.unfinished == slots.ready == 2
    assert tried == [1]

    slots.resume()
    assert ended(slots) == [2]
    assert [one.id for one in slots.take_back()] == [3]
    assert slots.unfinished == 0
    slots.close()


def test_a_running_job_is_aborted_and_a_waiting_one_given_back() -> None:
    started = threading.Event()

    def hang(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        started.set()
        wait_until(lambda: call.verdict, description="the call is aborted")
        return ending(job)

    slots = Slots(1, singly(hang), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(1), job(2)], "m:1")
    assert started.wait(5)

    assert [one.id for one in slots.take_back()] == [2]
    slots.abort([1, 99])

    assert ended(slots) == [1]
    assert slots.unfinished == 0
    slots.close()


def test_a_nudge_ends_a_wait_for_endings() -> None:
    slots = Slots(1, singly(lambda job, key, call: ending(job)), name="gpu-1", clock=SystemClock())

    slots.nudge()

    assert slots.completions(60) == []
    slots.close()


def test_jobs_that_fail_one_after_another_halt_the_slots_for_the_brakes_to_be_looked_at() -> None:
    tried: list[int] = []

    def fail(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        tried.append(job.id)
        failed = Failed(Code.INVALID_REQUEST, "no such option")
        return Ending(Finish(job.id, 1, "t", 1, "gpu-1", NOW, NOW, failed), None, 0.0)

    slots = Slots(1, singly(fail), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(number) for number in range(3 * MOST_FAILURES)], "m:1")
    found: list[int] = []

    def all_ended() -> bool:
        found.extend(ended(slots))
        return len(found) == MOST_FAILURES

    wait_until(all_ended, description="the slots halt")
    assert len(tried) == MOST_FAILURES
    assert slots.ready == 2 * MOST_FAILURES
    slots.resume()
    wait_until(lambda: len(tried) == 2 * MOST_FAILURES, description="they go on until the next halt")
    slots.take_back()
    slots.close()


def test_a_job_is_held_until_its_ending_was_taken_or_it_was_given_back() -> None:
    go = threading.Event()

    def answer(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        go.wait(5)
        return ending(job)

    slots = Slots(1, singly(answer), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(1), job(2)], "m:1")
    wait_until(lambda: slots.ready == 1, description="the first is taken by the slot")

    slots.take_back()
    assert slots.held == {1}
    go.set()
    assert ended(slots) == [1]
    assert slots.held == frozenset()
    slots.close()


def test_a_slot_goes_on_with_the_prefix_it_ran_and_two_slots_run_two_prefixes() -> None:
    order: list[tuple[str, int]] = []
    both = threading.Barrier(2, timeout=5)

    def answer(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        order.append((threading.current_thread().name, job.prefix_group))
        if len(order) <= 2:
            both.wait()
        return ending(job)

    slots = Slots(2, singly(answer), name="gpu-1", clock=SystemClock())
    slots.hand_over([replace(job(n), prefix_group=1 + n // 3) for n in range(6)], "m:1")
    found: list[int] = []

    def all_ended() -> bool:
        found.extend(ended(slots))
        return len(found) == 6

    wait_until(all_ended, description="all are answered")
    slots.close()

    assert {group for _, group in order[:2]} == {1, 2}


def test_an_interactive_job_is_asked_beside_full_slots_and_no_other_is() -> None:
    go = threading.Event()
    asked: list[int] = []

    def answer(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        asked.append(job.id)
        go.wait(5)
        return ending(job)

    slots = Slots(1, singly(answer), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(1), job(2)], "m:1")
    wait_until(lambda: asked == [1], description="the slot is full")
    slots.hand_over([replace(job(3), priority=Priority.INTERACTIVE)], "m:1")
    wait_until(lambda: asked == [1, 3], description="the interactive job is asked")

    assert slots.ready == 1
    go.set()
    slots.close()


class Stopped:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.at


def test_a_process_that_slept_through_its_leases_asks_nothing_before_it_knows_what_is_still_its_own() -> None:
    clock, asked = Stopped(), list[int]()

    def answer(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        asked.append(job.id)
        return ending(job)

    slots = Slots(1, singly(answer), name="gpu-1", clock=clock, leased_until=90.0)
    clock.at = 100.0
    slots.hand_over([job(1), job(2), job(3)], "m:1")
    assert slots.completions(0.05) == []
    assert asked == []

    slots.renew({1, 3}, 190.0)

    assert wait_until(lambda: ended(slots), description="what is still its own is asked") == [2]
    assert asked == [2]
    assert slots.unfinished == 0
    slots.close()


def test_a_defect_in_a_slot_halts_the_slots_and_is_there_for_the_serving_thread() -> None:
    def break_at_the_first(job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        if job.id == 1:
            raise ZeroDivisionError
        return ending(job)

    slots = Slots(1, singly(break_at_the_first), name="gpu-1", clock=SystemClock())
    slots.hand_over([job(1), job(2)], "m:1")

    assert slots.completions(5) == []
    assert isinstance(slots.failure, ZeroDivisionError)
    assert (set(slots.held), slots.ready) == ({2}, 1)
    slots.close()


def test_a_call_carries_jobs_of_one_kind_and_runner_and_each_has_its_own_ending(echoes: None) -> None:
    carried: list[list[int]] = []

    def answer(jobs: Sequence[ClaimedJob], runner_key: str, call: Call) -> list[Ending]:
        carried.append([one.id for one in jobs])
        return [ending(one) for one in jobs]

    slots = Slots(1, answer, name="gpu-1", clock=SystemClock())
    waiting = [replace(job(n), kind="echo") for n in range(1, JOBS_A_CALL + 2)]
    slots.hand_over([*waiting, job(99)], "m:1")
    found: list[int] = []

    def all_ended() -> bool:
        found.extend(ended(slots))
        return len(found) == JOBS_A_CALL + 2

    wait_until(all_ended, description="all are answered")
    slots.close()

    assert carried == [[*range(1, JOBS_A_CALL + 1)], [JOBS_A_CALL + 1], [99]]


def test_jobs_that_died_with_a_host_are_called_alone(echoes: None) -> None:
    carried: list[int] = []

    def answer(jobs: Sequence[ClaimedJob], runner_key: str, call: Call) -> list[Ending]:
        carried.append(len(jobs))
        return [ending(one) for one in jobs]

    slots = Slots(1, answer, name="gpu-1", clock=SystemClock())
    slots.hand_over([replace(job(n), kind="echo", losses=1) for n in (1, 2)], "m:1")
    wait_until(lambda: carried == [1, 1], description="both were called")
    slots.close()


def test_a_call_goes_on_while_one_of_its_jobs_is_wanted(echoes: None) -> None:
    calls: list[Call] = []
    go = threading.Event()

    def hang(jobs: Sequence[ClaimedJob], runner_key: str, call: Call) -> list[Ending]:
        calls.append(call)
        go.wait(5)
        return [ending(one) for one in jobs]

    slots = Slots(1, hang, name="gpu-1", clock=SystemClock())
    slots.hand_over([replace(job(n), kind="echo") for n in (1, 2)], "m:1")
    wait_until(lambda: calls, description="the call runs")

    slots.abort([1])
    assert calls[0].verdict is None
    slots.abort([2])
    assert calls[0].verdict is not None
    go.set()
    slots.close()
