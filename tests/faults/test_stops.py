"""A worker that is told to stop, in a hurry or not, while a host is silent."""

import os
import signal
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, Fleet
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
