"""The slots of a host, without a host."""

import threading
from datetime import UTC, datetime

from tests.waiting import wait_until
from worker.domain.attempts import Cancelled, Failed, Finish, Outcome, Retried
from worker.domain.jobs import ClaimedJob, Priority
from worker.errors import Code, HostError
from worker.ollama.client import Call
from worker.services.attempt import Ending
from worker.services.slots import MOST_FAILURES, Slots

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def job(number: int) -> ClaimedJob:
    return ClaimedJob(number, 1, f"c{number}", "m:1", "m:1", Priority.NORMAL, 1, 0, 3, "t", "x", {})


def ending(job: ClaimedJob, error: HostError | None = None) -> Ending:
    outcome: Outcome = Cancelled() if error is None else Retried(error.code, "", NOW, charged=False)
    return Ending(Finish(job.id, 1, "t", 1, "gpu-1", NOW, NOW, outcome), error, 0.0)


def ended(slots: Slots) -> list[int]:
    return [one.finish.job_id for one in slots.endings(5)]


def test_after_a_fault_of_the_host_no_waiting_job_is_tried_until_the_slots_go_on() -> None:
    tried: list[int] = []

    def refuse(job: ClaimedJob, call: Call) -> Ending:
        tried.append(job.id)
        return ending(job, HostError(Code.HOST_UNREACHABLE, "connection refused"))

    slots = Slots(1, refuse, name="gpu-1")
    slots.hand_over([job(1), job(2), job(3)])

    assert ended(slots) == [1]
    wait_until(lambda: slots.ready == 0, description="the waiting jobs are passed over")
    wait_until(lambda: slots.unfinished == 2, description="they are still nobody's else")
    assert tried == [1]

    slots.resume()
    assert ended(slots) == [2]
    given: list[int] = []

    def taken_back() -> bool:
        given.extend(one.id for one in slots.take_back())
        return bool(given)

    wait_until(taken_back, description="the third is given back")
    assert given == [3]
    assert slots.unfinished == 0
    slots.close()


def test_a_running_job_is_aborted_and_a_waiting_one_given_back() -> None:
    started = threading.Event()

    def hang(job: ClaimedJob, call: Call) -> Ending:
        started.set()
        wait_until(lambda: call.verdict, description="the call is aborted")
        return ending(job)

    slots = Slots(1, hang, name="gpu-1")
    slots.hand_over([job(1), job(2)])
    assert started.wait(5)

    assert [one.id for one in slots.take_back()] == [2]
    slots.abort([1, 99])

    assert ended(slots) == [1]
    assert slots.unfinished == 0
    slots.close()


def test_a_nudge_ends_a_wait_for_endings() -> None:
    slots = Slots(1, lambda job, call: ending(job), name="gpu-1")

    slots.nudge()

    assert slots.endings(60) == []
    slots.close()


def test_jobs_that_fail_one_after_another_halt_the_slots_for_the_brakes_to_be_looked_at() -> None:
    tried: list[int] = []

    def fail(job: ClaimedJob, call: Call) -> Ending:
        tried.append(job.id)
        failed = Failed(Code.INVALID_REQUEST, "no such option")
        return Ending(Finish(job.id, 1, "t", 1, "gpu-1", NOW, NOW, failed), None, 0.0)

    slots = Slots(1, fail, name="gpu-1")
    slots.hand_over([job(number) for number in range(3 * MOST_FAILURES)])
    wait_until(lambda: slots.ready == 0, description="the waiting jobs are passed over")

    assert len(tried) == MOST_FAILURES
    assert len(slots.endings(5)) == MOST_FAILURES
    slots.resume()
    wait_until(lambda: len(tried) == 2 * MOST_FAILURES, description="they go on until the next halt")
    slots.take_back()
    slots.close()


def test_a_job_is_held_until_its_ending_was_taken_or_it_was_given_back() -> None:
    go = threading.Event()

    def answer(job: ClaimedJob, call: Call) -> Ending:
        go.wait(5)
        return ending(job)

    slots = Slots(1, answer, name="gpu-1")
    slots.hand_over([job(1), job(2)])
    wait_until(lambda: slots.ready == 1, description="the first is taken by the slot")

    slots.take_back()
    assert slots.held == {1}
    go.set()
    assert ended(slots) == [1]
    assert slots.held == frozenset()
    slots.close()
