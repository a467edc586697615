"""What is printed where the locale is not UTF-8: no command ends with an encoding error, and data stays whole."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS
from tests.processes import CARAVAN

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]
WORDS = "请列出长江 → ﷽ 😀 é"


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["cp1252", "C"],
)
def test_no_character_ends_a_command_and_data_is_utf_8(
    environment: Environment, hosts: Hosts, tmp_path: Path, encoding: Environment
) -> None:
    env = {**environment, **encoding}
    file = tmp_path / "jobs.jsonl"
    job = {"custom_id": WORDS, "prompt": WORDS, "model": MODELS[0], "metadata": {"note": WORDS}}
    file.write_text(json.dumps(job) + "\n", encoding="utf-8")
    addresses = [argument for host in hosts for argument in ("--host", host.url)]

    def run(*arguments: str) -> bytes:
        done = subprocess.run([*CARAVAN, *arguments], env=env, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        return done.stdout

    run("run", str(file), *addresses, "--name", WORDS, "-o", "answers.csv")
    [line] = run("results", "@last").decode("utf-8").splitlines()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_text(encoding="utf-8"))))
    shown = run("jobs", "@last").decode("utf-8")

    assert json.loads(line)["custom_id"] == WORDS
    assert rows[0]["custom_id"] == WORDS
    assert "长江" in shown
    assert run("status").decode("utf-8")
