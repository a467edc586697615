"""Machines whose clocks are an hour off, each another way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import Fleet, write_jobs
from tests.processes import CARAVAN

SKEWED = Path(__file__).parent / "skewed"
HOUR = 3600


def start_off(fleet: Fleet, seconds: float, *arguments: str) -> None:
    """A process that takes it to be so much later."""
    env = {**fleet.env, "PYTHONPATH": str(SKEWED), "SKEW": str(seconds)}
    fleet.processes.start([*CARAVAN, *arguments], name=arguments[0], env=env)


@pytest.mark.thorough
@pytest.mark.fault(29)
@pytest.mark.parametrize("beat", [HOUR, -HOUR], ids=["beat-ahead", "beat-behind"])
def test_machines_whose_clocks_are_an_hour_off_work_together(fleet: Fleet, tmp_path: Path, beat: int) -> None:
    start_off(fleet, beat, "beat")
    start_off(fleet, 0, "control")
    start_off(fleet, HOUR, "worker", "--host", "gpu-1")
    start_off(fleet, -HOUR, "worker", "--host", "gpu-2")
    began = datetime.now(UTC)
    file = write_jobs(tmp_path / "jobs.jsonl", 100, options={"num_predict": 20})

    fleet.run("submit", str(file))

    assert fleet.wait_finished()["counts"] == {"succeeded": 100}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 100
    lines = fleet.results()
    assert {line["host"] for line in lines} == {"gpu-1", "gpu-2"}
    times = [datetime.fromisoformat(line["finished_at"]) for line in lines]
    assert all(timedelta(0) <= at - began < timedelta(minutes=5) for at in times)
