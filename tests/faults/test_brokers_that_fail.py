"""What carries the wake-ups goes away, comes back empty, or says everything fifty times."""

import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.soak.servers import RedisServer
from tests.acceptance.conftest import Fleet, write_jobs
from tests.servers.children import free_port
from tests.waiting import wait_until


def completed(fleet: Fleet) -> int:
    return sum(int(host.state()["completed"]) for host in fleet.hosts)


@pytest.mark.fault(6)
@pytest.mark.thorough
def test_a_batch_that_is_submitted_while_redis_is_down_is_stored_soon_and_answered_later(
    fleet: Fleet, tmp_path: Path
) -> None:
    broker = fleet.env["CARAVAN_BROKER_URL"]
    fleet.env["CARAVAN_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    file = write_jobs(tmp_path / "jobs.jsonl", 30, options={"num_predict": 8})

    began = time.monotonic()
    done = fleet.run("submit", str(file))
    took = time.monotonic() - began
    fleet.env["CARAVAN_BROKER_URL"] = broker
    fleet.start_all()

    assert done.returncode == 0
    assert took < 30, "a publish that hangs"
    assert fleet.wait_finished()["counts"] == {"succeeded": 30}


@pytest.mark.fault(6)
@pytest.mark.thorough
def test_a_redis_that_says_nothing_holds_up_a_submit_for_seconds(
    fleet: Fleet, own_redis: RedisServer, tmp_path: Path
) -> None:
    fleet.env["CARAVAN_BROKER_URL"] = own_redis.url
    file = write_jobs(tmp_path / "jobs.jsonl", 30, options={"num_predict": 8})

    own_redis.part.signal(signal.SIGSTOP)
    began = time.monotonic()
    fleet.run("submit", str(file))
    took = time.monotonic() - began
    own_redis.part.signal(signal.SIGCONT)
    fleet.start_all()

    assert took < 30, "seconds, not minutes, with what its process needs to start on a busy machine"
    assert fleet.wait_finished()["counts"] == {"succeeded": 30}


@pytest.mark.fault(7)
@pytest.mark.thorough
def test_a_redis_that_is_killed_while_hosts_generate_costs_nothing(fleet: Fleet, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        fleet.env["CARAVAN_BROKER_URL"] = server.url
        fleet.start_all()
        file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 40})
        fleet.run("submit", str(file))
        wait_until(lambda: completed(fleet) > 20, description="hosts generate")

        server.part.kill()
        wait_until(lambda: completed(fleet) > 60, description="they go on without Redis")
        server.start()

        assert fleet.wait_finished()["counts"] == {"succeeded": 300}
        assert completed(fleet) == 300, "an answer was generated twice"
    finally:
        server.part.kill()


@pytest.mark.fault(9)
@pytest.mark.thorough
def test_fifty_wake_ups_at_once_start_one_pass_and_no_more_jobs_than_slots(
    fleet: Fleet, tmp_path: Path
) -> None:
    from celery import Celery

    file = write_jobs(tmp_path / "jobs.jsonl", 60, options={"num_predict": 40})
    fleet.run("submit", str(file))
    app = Celery("flood", broker=fleet.env["CARAVAN_BROKER_URL"])
    app.conf.broker_transport_options = {"global_keyprefix": "caravan:"}
    for _ in range(50):
        for host in fleet.hosts:
            app.send_task("caravan.serve", args=[host.name], queue=f"host.{host.name}")
    app.close()

    fleet.start_all()

    assert fleet.wait_finished()["counts"] == {"succeeded": 60}
    assert all(host.state()["max_concurrent"] <= 2 for host in fleet.hosts)
    assert completed(fleet) == 60


@pytest.mark.fault(10)
@pytest.mark.thorough
def test_two_beats_and_two_controls_do_each_thing_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start_all()
    for name in ("control", "beat"):
        fleet.start(name)
    file = write_jobs(tmp_path / "jobs.jsonl", 120, options={"num_predict": 8})

    fleet.run("submit", str(file))

    assert fleet.wait_finished()["counts"] == {"succeeded": 120}
    assert completed(fleet) == 120


@pytest.mark.fault(10)
@pytest.mark.thorough
def test_work_goes_on_after_a_beat_that_was_gone(fleet: Fleet, tmp_path: Path) -> None:
    started = fleet.start_all()
    started["beat"].kill()
    file = write_jobs(tmp_path / "jobs.jsonl", 30, options={"num_predict": 8})
    fleet.run("submit", str(file))

    fleet.start("beat")

    assert fleet.wait_finished()["counts"] == {"succeeded": 30}


@pytest.mark.fault(5)
@pytest.mark.thorough
def test_a_worker_whose_whole_group_is_told_to_stop_loses_nothing(fleet: Fleet, tmp_path: Path) -> None:
    started = fleet.start_all()
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 40})
    fleet.run("submit", str(file))
    wait_until(lambda: fleet.status()["done"] > 20, description="the workers work")

    os.killpg(started["gpu-1"].pid, signal.SIGTERM)
    started["gpu-1"].wait()
    fleet.start("worker", "--host", "gpu-1")

    assert fleet.wait_finished()["counts"] == {"succeeded": 300}
