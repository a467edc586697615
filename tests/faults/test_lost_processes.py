"""Processes that are gone at once, or sleep and come back."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

import simulator
from tests.acceptance.conftest import Fleet, write_jobs
from tests.waiting import wait_until
from worker.storage.results import list_attempts

pytestmark = pytest.mark.thorough


def submit_a_slow_one(fleet: Fleet, tmp_path: Path, jobs: int) -> None:
    """Jobs whose first drips for seconds on gpu-1, the first time it is asked there; it is under way when this returns."""
    fleet.hosts[0].set_faults(simulator.Fault("drip", prompt="Say 0.", seconds=0.3))
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", jobs, options={"num_predict": 20})))

    def drips() -> bool:
        return bool(fleet.hosts[0].state()["faults"][0]["struck"])

    wait_until(drips, description="gpu-1 answers the slow one")


def outcomes(fleet: Fleet, custom_id: str) -> Sequence[tuple[str, str | None, bool]]:
    """How its attempts ended: outcome, code, charged."""
    [job] = [line["job"] for line in fleet.results() if line["custom_id"] == custom_id]
    with fleet.database.read() as conn:
        return [(row.outcome, row.error_code, row.charged) for row in list_attempts(conn, job)]


LOST_ONCE = [("rescued", "worker_lost", False), ("succeeded", None, False)]


@pytest.mark.fault(1)
def test_a_serving_process_that_is_killed_alone_is_replaced_and_its_jobs_are_asked_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    started = {name: fleet.start(name) for name in ("control", "beat")}
    worker = fleet.start("worker", "--host", "gpu-1")
    submit_a_slow_one(fleet, tmp_path, 30)

    for child in psutil.Process(worker.pid).children(recursive=True):
        child.kill()

    assert fleet.wait_finished()["counts"] == {"succeeded": 30}
    assert all(process.running for process in (worker, *started.values()))
    assert outcomes(fleet, "c0") == LOST_ONCE
    assert {line["host"] for line in fleet.results()} == {"gpu-1"}


@pytest.mark.fault(2)
def test_a_machine_that_is_gone_with_worker_control_and_beat_is_taken_over_by_another(
    fleet: Fleet, tmp_path: Path
) -> None:
    machine = [fleet.start(name) for name in ("control", "beat")]
    machine.append(fleet.start("worker", "--host", "gpu-1"))
    submit_a_slow_one(fleet, tmp_path, 30)

    for process in machine:
        process.kill()
    for name in ("control", "beat"):
        fleet.start(name)
    fleet.start("worker", "--host", "gpu-2")

    assert fleet.wait_finished()["counts"] == {"succeeded": 30}
    assert outcomes(fleet, "c0") == LOST_ONCE
    assert {line["host"] for line in fleet.results() if line["custom_id"] == "c0"} == {"gpu-2"}


@pytest.mark.fault(2)
def test_a_pool_of_control_that_is_killed_is_started_anew_and_batches_finish(
    fleet: Fleet, tmp_path: Path
) -> None:
    started = fleet.start_all()
    control = psutil.Process(started["control"].pid)

    def chores() -> list[psutil.Process]:
        return [one for one in control.children() if "chores" in one.cmdline()]

    for process in wait_until(chores, description="the chores have a process"):
        process.kill()
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 10)))

    assert fleet.wait_finished()["counts"] == {"succeeded": 10}
    assert "process.ended" in started["control"].output()
    started["control"].terminate()
    assert started["control"].wait() == 0
    assert not control.is_running()


@pytest.mark.fault(3)
def test_a_worker_that_slept_through_its_lease_is_refused_what_another_has_answered(
    fleet: Fleet, tmp_path: Path
) -> None:
    for name in ("control", "beat"):
        fleet.start(name)
    zombie = fleet.start("worker", "--host", "gpu-1")
    submit_a_slow_one(fleet, tmp_path, 4)

    os.killpg(zombie.pid, signal.SIGSTOP)
    fleet.start("worker", "--host", "gpu-2")
    assert fleet.wait_finished()["counts"] == {"succeeded": 4}
    answered = fleet.results()
    os.killpg(zombie.pid, signal.SIGCONT)

    zombie.wait_for("lease.lost")
    assert fleet.results() == answered
    assert {line["host"] for line in answered if line["custom_id"] == "c0"} == {"gpu-2"}
    assert outcomes(fleet, "c0") == [("late", None, False), LOST_ONCE[1]], (
        "refused, and noted where it belongs"
    )
    more = write_jobs(tmp_path / "more.jsonl", 20, options={"num_predict": 5})
    fleet.run("submit", str(more), "--key", "more")
    assert fleet.wait_finished("more")["counts"] == {"succeeded": 20}
    assert zombie.running
