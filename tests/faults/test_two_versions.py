"""The worker of an earlier version and one of this version on one database, at work at the same time."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

import simulator
from tests.acceptance.conftest import Fleet, caravan, keeps_its_promises, write_jobs
from tests.processes import CARAVAN, Processes
from tests.waiting import wait_until
from worker.storage.engine import open_database

ROOT = Path(__file__).resolve().parents[2]
EARLIER = "feaf138"
"""Three revisions of the schema ago."""
JOBS = 300

pytestmark = [pytest.mark.thorough, pytest.mark.fault(32)]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The code of an earlier version."""
    file, folder = tmp_path / "earlier.tar", tmp_path / "earlier"
    got = subprocess.run(
        ["git", "-C", ROOT, "archive", "-o", file, EARLIER], capture_output=True, check=False
    )
    if got.returncode:
        pytest.skip("this checkout has no history")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def hosts() -> Iterator[tuple[simulator.RunningHost, ...]]:
    """Two hosts that take their time."""
    settings = [
        simulator.HostSettings(
            name=name, models=simulator.demo_models(), max_loaded_models=1, num_parallel=2, time_scale=0.5
        )
        for name in ("gpu-1", "gpu-2")
    ]
    with simulator.running(*settings) as running:
        yield running


def test_an_earlier_versions_worker_and_ours_answer_at_the_same_time_each_job_once(
    earlier: Path,
    environment: dict[str, str],
    processes: Processes,
    hosts: tuple[simulator.RunningHost, ...],
    redis_url: str,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    env = {**environment, "CARAVAN_BROKER_URL": redis_url, "CARAVAN_DATABASE_URL": postgres_url}
    then = ["env", "-C", str(earlier), *CARAVAN]

    def at_first(*arguments: str) -> None:
        subprocess.run([*then, *arguments], env=env, check=True, capture_output=True)

    at_first("db", "upgrade")
    for host in hosts:
        at_first("hosts", "add", host.name, host.url, "--slots", "2")
    started = {
        name: processes.start([*then, *name.split()], name=f"earlier-{name}", env=env)
        for name in ("control", "beat", "worker --host gpu-1")
    }
    jobs = write_jobs(tmp_path / "jobs.jsonl", JOBS, options={"num_predict": 40})
    at_first("submit", str(jobs))
    wait_until(lambda: hosts[0].state()["completed"] > 5, description="the earlier version works")

    caravan("db", "upgrade", env=env)
    processes.start([*CARAVAN, "worker", "--host", "gpu-2"], name="worker", env=env)
    wait_until(lambda: hosts[1].state()["completed"] > 5, description="this version works beside it")
    before = hosts[0].state()["completed"]
    wait_until(lambda: hosts[0].state()["completed"] > before + 5, description="both work")
    for name in ("control", "beat"):
        started[name].terminate()
        processes.start([*CARAVAN, name], name=name, env=env)

    database = open_database(postgres_url)
    fleet = Fleet(env, processes, hosts, database)
    assert fleet.wait_finished(timeout=150)["counts"] == {"succeeded": JOBS}
    assert sum(host.state()["completed"] for host in hosts) == JOBS, "an answer was generated twice"
    assert {line["host"] for line in fleet.results()} == {"gpu-1", "gpu-2"}

    def numbered() -> bool:
        with database.read() as conn:
            return bool(conn.scalar(text("SELECT count(*) FROM numbered_results")) == JOBS)

    wait_until(numbered, description="the earlier version's results have their numbers too")
    keeps_its_promises(database)
    database.close()
