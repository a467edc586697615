"""A worker that is told to stop, in a hurry or not, while a host is silent."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url, text

import simulator
from tests.acceptance.conftest import MODELS, Fleet, write_jobs
from tests.waiting import wait_until
from worker.storage.ids import job_id
from worker.storage.results import list_attempts


@pytest.mark.fault(4)
@pytest.mark.thorough
def test_a_fast_stop_gives_up_a_call_that_lasts_and_its_job_goes_back_uncharged(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.env["CARAVAN_STOP_GRACE_SECONDS"] = "1"
    started = fleet.start_all()
    for host in fleet.hosts:
        host.set_faults(simulator.Fault("hang", prompt="silent", times=0))
    file = tmp_path / "jobs.jsonl"
    file.write_text(f'{{"model": "{MODELS[0]}", "prompt": "silent"}}\n')
    fleet.run("submit", str(file))
    wait_until(lambda: any(host.state()["concurrent"] for host in fleet.hosts), description="it is asked")

    for name in ("gpu-1", "gpu-2"):
        os.kill(started[name].pid, signal.SIGQUIT)

    assert [started[name].wait(timeout=30) for name in ("gpu-1", "gpu-2")] == [0, 0]
    assert "running" not in fleet.status()["counts"]
    with fleet.database.read() as conn:
        [attempt] = [row for row in list_attempts(conn, job_id(1, 1)) if row.outcome == "retried"]
    assert (attempt.error_code, attempt.charged) == ("worker_lost", False)


@pytest.mark.fault(4)
@pytest.mark.thorough
def test_a_worker_that_is_told_to_stop_again_and_again_still_stores_what_it_is_told(
    fleet: Fleet, tmp_path: Path
) -> None:
    started = fleet.start_all()
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 200, options={"num_predict": 100})))
    wait_until(lambda: fleet.status()["done"] > 10, description="the workers work")

    for _ in range(3):
        started["gpu-1"].terminate()
    assert started["gpu-1"].wait(timeout=30) == 0
    fleet.start("worker", "--host", "gpu-1")

    assert fleet.wait_finished()["counts"] == {"succeeded": 200}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 200, "an answer was generated twice"


@pytest.mark.fault(4)
@pytest.mark.thorough
def test_a_worker_that_is_told_to_stop_while_its_host_loads_claims_nothing_after_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    started = fleet.start_all()
    for host in fleet.hosts:
        host.set_faults(simulator.Fault("slow_load", times=1, seconds=4))
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 6)))
    wait_until(lambda: any(host.state()["runner_starts"] for host in fleet.hosts), description="one loads")

    for name in ("gpu-1", "gpu-2"):
        started[name].terminate()

    assert [started[name].wait(timeout=30) for name in ("gpu-1", "gpu-2")] == [0, 0]
    assert fleet.status()["counts"] == {"queued": 6}
    with fleet.database.read() as conn:
        assert conn.scalar(text("SELECT max(attempt) FROM jobs")) == 0


@pytest.mark.fault(33)
@pytest.mark.thorough
def test_each_child_of_a_worker_has_connections_of_its_own(fleet: Fleet, tmp_path: Path) -> None:
    for name in ("control", "beat"):
        fleet.start(name)
    worker = fleet.start("worker", "--host", "gpu-1", "--host", "gpu-2")
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 50})))
    wait_until(lambda: fleet.status()["done"] > 30, description="both hosts work")

    children = psutil.Process(worker.pid).children()
    ports = [
        {
            link.laddr.port
            for link in child.net_connections()
            if link.raddr and link.raddr.port == port_of(fleet)
        }
        for child in children
    ]

    assert len(ports) == 2
    assert all(ports)
    assert not ports[0] & ports[1]
    assert fleet.wait_finished()["counts"] == {"succeeded": 300}


def port_of(fleet: Fleet) -> int:
    """Of the database server."""
    return make_url(fleet.env["CARAVAN_DATABASE_URL"]).port or 5432
