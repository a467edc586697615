"""What is printed where nothing serves a batch yet."""

from pathlib import Path

from worker.cli.wake import not_served
from worker.settings import load_settings


def test_on_one_machine_nothing_serves_until_it_is_started(tmp_path: Path) -> None:
    assert not_served(load_settings({}, home=tmp_path)) == "Nothing serves it now: start caravan up"


def test_on_a_fleet_an_idle_worker_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    text = not_served(load_settings({}, home=tmp_path, broker_url="redis://127.0.0.1:1/0"))

    assert text == (
        "No worker is at work now. An idle one begins within seconds; if none runs, "
        "start caravan worker --host NAME, with control and beat"
    )
