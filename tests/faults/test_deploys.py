"""A fleet that is changed while it works: a worker that serves another host than before, a host that is drained."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.acceptance.conftest import MODELS, Fleet, write_jobs
from tests.integration.storage.conftest import ending
from tests.waiting import wait_until
from worker.serving.spool import Spool, spool_path
from worker.storage.claims import claim_jobs
from worker.storage.hosts import drain_host, resume_host


@pytest.mark.fault(11)
@pytest.mark.thorough
def test_a_worker_that_serves_another_host_now_stores_what_was_generated_here_before(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 3, model=MODELS[0])))
    control = [fleet.start(name) for name in ("control", "beat")]
    wait_until(lambda: fleet.status()["counts"].get("queued") == 3, description="the jobs are queued")
    for process in control:
        process.kill()
    now = fleet.database.clock().now()
    with fleet.database.write() as conn:
        [key] = conn.scalars(text("SELECT DISTINCT runner_key FROM jobs"))
        wanted: dict[str, Any] = {"host": "gpu-1", "runner_keys": [key], "limit": 3, "token": "gone"}
        jobs = claim_jobs(conn, **wanted, now=now, lease_until=now + timedelta(hours=1))
    path = spool_path(Path(fleet.env["CARAVAN_HOME"]), "gpu-1")
    Spool(path).write([ending(job) for job in jobs])

    fleet.start("worker", "--host", "gpu-2")

    wait_until(lambda: fleet.status()["counts"] == {"succeeded": 3}, description="all are stored")
    wait_until(lambda: not path.exists(), description="the spool is empty")
    assert {line["answer"] for line in fleet.results()} == {"天空 is blue"}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 0, "an answer was generated twice"


@pytest.mark.thorough
def test_a_host_that_is_drained_starts_nothing_while_another_goes_on_and_works_again_when_resumed(
    fleet: Fleet, tmp_path: Path
) -> None:
    drained, other = fleet.hosts
    started = fleet.start_all()
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 900, options={"num_predict": 100})))
    wait_until(lambda: drained.state()["completed"] > 5, description="gpu-1 works")

    with fleet.database.write() as conn:
        drain_host(conn, drained.name, now=fleet.database.clock().now())
    started[drained.name].wait_for("host.left")
    asked, elsewhere = drained.state()["requests"], other.state()["completed"]
    wait_until(lambda: other.state()["completed"] > elsewhere + 20, description="gpu-2 goes on")
    assert drained.state()["requests"] == asked, "a drained host was asked anew"

    with fleet.database.write() as conn:
        resume_host(conn, drained.name)
    before = drained.state()["completed"]
    wait_until(lambda: drained.state()["completed"] > before, description="gpu-1 works again")
    assert fleet.wait_finished()["counts"] == {"succeeded": 900}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 900, "an answer was generated twice"
