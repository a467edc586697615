"""A fleet as its users run it: real processes, killed on purpose."""

from collections import Counter
from pathlib import Path

import pytest
import redis

from tests.acceptance.conftest import Fleet, write_jobs
from tests.waiting import wait_until


@pytest.mark.fault(1)
@pytest.mark.fault(8)
def test_a_thousand_jobs_survive_a_killed_worker_and_a_flushed_broker(
    fleet: Fleet, tmp_path: Path, redis_url: str
) -> None:
    started = fleet.start_all()
    file = write_jobs(tmp_path / "jobs.jsonl", 1000, options={"num_predict": 8})
    fleet.run("submit", str(file), "--key", "thousand")

    wait_until(lambda: fleet.status("thousand")["done"] > 100, description="a tenth is done")
    started["gpu-1"].kill()
    with redis.Redis.from_url(redis_url) as broker:
        broker.flushall()
    fleet.start("worker", "--host", "gpu-1")

    assert fleet.wait_finished("thousand")["counts"] == {"succeeded": 1000}
    results = fleet.results("thousand")
    assert [result["custom_id"] for result in results] == [f"c{n}" for n in range(1000)]
    assert all(result["answer"] or result["reasoning"] for result in results)
    assert max(Counter(result["job"] for result in results).values()) == 1


def test_interleaved_models_cost_hardly_more_loads_than_there_are_models(
    fleet: Fleet, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 8})
    fleet.run("submit", str(file))

    fleet.start_all()

    assert fleet.wait_finished()["counts"] == {"succeeded": 300}
    assert sum(host.state()["loads"] for host in fleet.hosts) <= 4
    assert all(host.state()["max_concurrent"] == 2 for host in fleet.hosts)


@pytest.mark.fault(4)
def test_a_worker_that_is_told_to_stop_ends_its_calls_and_gives_the_rest_back(
    fleet: Fleet, tmp_path: Path
) -> None:
    started = fleet.start_all()
    file = write_jobs(tmp_path / "jobs.jsonl", 400, options={"num_predict": 30})
    fleet.run("submit", str(file))
    wait_until(lambda: fleet.status()["done"] > 20, description="the workers work")

    started["gpu-1"].terminate()

    assert started["gpu-1"].wait() == 0
    assert fleet.wait_finished()["counts"] == {"succeeded": 400}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 400, "an answer was generated twice"


def test_a_worker_says_which_hosts_it_serves_and_waits_for_one_that_nobody_has_added(
    fleet: Fleet, tmp_path: Path
) -> None:
    for name in ("control", "beat"):
        fleet.start(name)
    host = fleet.hosts[0]
    for other in fleet.hosts:
        fleet.run("hosts", "remove", other.name, "--yes")
    fleet.run("hosts", "add", "gpu-10", "http://127.0.0.1:1")

    waiting = fleet.start("worker", "--host", "gpu-1")
    told = waiting.wait_for("worker.waiting")
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 3, options={"num_predict": 4})))
    fleet.run("hosts", "add", "gpu-1", host.url)

    assert "did you mean 'gpu-10'?" in told
    assert "caravan hosts add gpu-1 URL" in told
    assert fleet.wait_finished()["counts"] == {"succeeded": 3}
    again = fleet.start("worker", "--host", "gpu-1", "--host", "gpu-1")
    assert f"worker.serving host=gpu-1 url={host.url}" in again.wait_for("worker.serving")
    assert "--uid" not in waiting.output() + again.output()
