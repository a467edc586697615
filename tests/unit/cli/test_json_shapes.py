"""What --json prints: one shape each, one vocabulary, times in UTC with a Z."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api_schemas.output.batches import BatchOutput
from api_schemas.output.hosts import HostOutput
from api_schemas.output.jobs import ExplainedOutput, JobOutput
from api_schemas.output.reports import ReportOutput
from worker.cli.main import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    done = CliRunner().invoke(app, ["submit", "in.jsonl", "--model", "m:1"])
    assert done.exit_code == 0, done.output
    return tmp_path


def shown(*command: str) -> Any:
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_batches_and_jobs_have_one_shape_and_one_name_for_each_number() -> None:
    (batch,) = shown("status")
    jobs = shown("jobs", "@last")

    assert set(batch) == set(BatchOutput.model_fields)
    assert {name: shown("status", "@last")[name] for name in batch} == batch
    assert [set(job) for job in jobs] == [set(JobOutput.model_fields)] * 2
    assert [(job["batch"], job["job"]) for job in jobs] == [(1, (1 << 24) + 1), (1, (1 << 24) + 2)]
    assert (shown("explain", "1")["batch"], shown("explain", "1:line-2")["job"]) == (1, (1 << 24) + 2)


@pytest.mark.parametrize(
    "command",
    [
        *("status", "status @last", "jobs @last", "explain @last", "hosts list", "schedule list", "models"),
        *(
            "report",
            "submit in.jsonl --model m:1",
            "hosts add gpu http://127.0.0.1:9",
        ),
    ],
)
def test_times_are_in_utc_with_a_z(command: str) -> None:
    text = json.dumps(shown(*command.split()))

    assert "batch_id" not in text and "job_id" not in text
    assert re.findall(r"\d\dT\d\d:\d\d[^\"]*(?<!Z)\"", text) == []


def test_each_list_and_each_answer_holds_the_shape_of_its_thing() -> None:
    added = shown("hosts", "add", "gpu", "http://127.0.0.1:9")
    again = shown("submit", "in.jsonl", "--model", "m:1")
    (loaded,) = shown("hosts", "ps")

    assert {name: again[name] for name in BatchOutput.model_fields} == shown("status")[0]
    assert (again["created"], again["served"]) == (False, False)
    assert set(added) - set(HostOutput.model_fields) == {"added", "start"}
    assert set(loaded) - set(HostOutput.model_fields) == {"reached", "loaded"}
    assert (loaded["name"], loaded["reached"], loaded["loaded"]) == ("gpu", False, [])
    assert set(shown("explain", "1:line-2")) == set(ExplainedOutput.model_fields)
    assert set(shown("report")) == set(ReportOutput.model_fields)


def test_watch_prints_a_line_for_each_look() -> None:
    CliRunner().invoke(app, ["cancel", "@last", "--yes"])

    done = CliRunner().invoke(app, ["watch", "1", "--json"])

    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["batch"]["batch"], line["counts"]) == (1, {"cancelled": 2})
    assert line["at"].endswith("Z")
