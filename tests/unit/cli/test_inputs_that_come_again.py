"""What ``caravan submit`` makes of inputs that come again, by a pipe or with lines that are left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from worker.cli.main import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    return tmp_path


def caravan(*arguments: str, **more: Any) -> Any:
    return CliRunner().invoke(app, list(arguments), **more)


def batches() -> list[tuple[str, int]]:
    listed = json.loads(caravan("batches", "--json").stdout)
    return [(batch["name"], batch["total"]) for batch in listed]


def test_each_text_that_is_piped_is_a_batch_of_its_own_and_the_same_text_the_same_batch() -> None:
    for prompt in ("one", "two", "one"):
        done = caravan("submit", "-", "--model", "m:1", input=f'{{"prompt": "{prompt}"}}\n')
        assert done.exit_code == 0, done.output

    assert batches() == [("stdin", 1), ("stdin", 1)]


def test_with_a_name_a_piped_text_is_compared_with_the_one_before() -> None:
    command = ("submit", "-", "--model", "m:1", "--name", "ads")
    caravan(*command, input='{"prompt": "one"}\n')

    refused = caravan(*command, input='{"prompt": "two"}\n')
    extended = caravan(*command, "--extend", input='{"prompt": "two"}\n')

    assert (refused.exit_code, extended.exit_code) == (2, 0)
    assert batches() == [("ads", 1)]


def test_a_file_of_rejects_that_a_refused_command_wrote_is_written_again(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"promt": "a"}\n')
    command = ("submit", "in.jsonl", "--model", "m:1", "--on-bad-line", "skip")
    first = caravan(*command)
    (folder / "in.jsonl").write_text('{"promt": "a"}\n{"prompt": "b"}\n')

    again = caravan(*command)

    assert (first.exit_code, again.exit_code) == (2, 0), again.output
    assert len((folder / "in.rejects.jsonl").read_text().splitlines()) == 1
