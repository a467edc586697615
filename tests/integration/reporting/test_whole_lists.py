"""`--json` of a list holds all of it, or standard error says that it was cut."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.acceptance.conftest import write_jobs
from worker.cli.main import app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    return tmp_path


def caravan(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_json_of_jobs_is_all_jobs_also_over_many_pages(home: Path) -> None:
    caravan("submit", str(write_jobs(home / "jobs.jsonl", 2105)))

    everything = caravan("jobs", "@last", "--json")
    waiting = caravan("jobs", "@last", "--json", "--state", "queued")
    nothing = caravan("jobs", "@last", "--json", "--state", "failed")
    cut = caravan("jobs", "@last", "--json", "--limit", "7")
    table = caravan("jobs", "@last")

    assert [job["custom_id"] for job in json.loads(everything.stdout)] == [f"c{n}" for n in range(2105)]
    assert everything.stderr == ""
    assert len(json.loads(waiting.stdout)) == 2105
    assert json.loads(nothing.stdout) == []
    assert len(json.loads(cut.stdout)) == 7
    assert "only the first 7" in cut.stderr
    assert len(table.stdout.splitlines()) == 51
    assert "--json" in table.stderr


def test_json_of_batches_is_all_batches(home: Path) -> None:
    file = write_jobs(home / "jobs.jsonl", 1)
    for _ in range(53):
        caravan("submit", str(file), "--new")

    for command in (("status",),):
        assert len(json.loads(caravan(*command, "--json").stdout)) == 53
        table = caravan(*command)
        assert len(table.stdout.splitlines()) == 51
        assert "more" in table.stderr
    cut = caravan("status", "--json", "--limit", "5")
    assert len(json.loads(cut.stdout)) == 5
    assert "more" in cut.stderr
