"""Machines whose clocks are an hour off, each another way, or are set while they work."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import Fleet, write_jobs
from tests.processes import CARAVAN
from tests.waiting import wait_until
from worker.storage.pulses import read_pulses

SKEWED = Path(__file__).parent / "skewed"
HOUR = 3600


def start_off(fleet: Fleet, skew: Path, *arguments: str) -> None:
    """A process whose clock is off by the seconds that stand in ``skew``."""
    env = {**fleet.env, "PYTHONPATH": str(SKEWED), "SKEW": str(skew)}
    fleet.processes.start([*CARAVAN, *arguments], name=arguments[0], env=env)


def off(tmp_path: Path, seconds: int) -> Path:
    file = tmp_path / f"skew{seconds}"
    file.write_text(str(seconds))
    return file


@pytest.mark.thorough
@pytest.mark.fault(29)
@pytest.mark.parametrize("beat", [HOUR, -HOUR], ids=["beat-ahead", "beat-behind"])
def test_machines_whose_clocks_are_an_hour_off_work_together(fleet: Fleet, tmp_path: Path, beat: int) -> None:
    ahead, behind = off(tmp_path, HOUR), off(tmp_path, -HOUR)
    start_off(fleet, off(tmp_path, beat), "beat")
    start_off(fleet, off(tmp_path, 0), "control")
    start_off(fleet, ahead, "worker", "--host", "gpu-1")
    start_off(fleet, behind, "worker", "--host", "gpu-2")
    began = datetime.now(UTC)
    file = write_jobs(tmp_path / "jobs.jsonl", 200, options={"num_predict": 100})

    fleet.run("submit", str(file))

    assert fleet.wait_finished()["counts"] == {"succeeded": 200}
    assert sum(host.state()["completed"] for host in fleet.hosts) == 200
    lines = fleet.results()
    assert {line["host"] for line in lines} == {"gpu-1", "gpu-2"}
    times = [datetime.fromisoformat(line["finished_at"]) for line in lines]
    assert all(timedelta(0) <= at - began < timedelta(minutes=5) for at in times)


@pytest.mark.thorough
@pytest.mark.fault(29)
def test_a_clock_that_is_set_back_an_hour_stops_neither_beat_nor_control(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", 1)))  # without work they rest for minutes
    skew = off(tmp_path, 0)
    for name in ("beat", "control"):
        start_off(fleet, skew, name)

    def ticked_after(moment: datetime) -> bool:
        with fleet.database.read() as conn:
            seen = read_pulses(conn)
        return all(name in seen and seen[name].at > moment for name in ("tick", "chores", "beat"))

    now = fleet.database.clock().now
    wait_until(lambda: ticked_after(now() - timedelta(minutes=1)), description="it ticks")
    skew.write_text(str(-HOUR))
    set_back = now()

    wait_until(lambda: ticked_after(set_back + timedelta(seconds=3)), description="it ticks on", timeout=15)
