"""The first tutorial: what a new user types works, in its order, on a simulated host."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import simulator
from tests.repo.docs.commands import shell_lines
from tests.repo.docs.pages import DOCS, blocks
from worker.cli.main import app

PAGE = DOCS / "tutorials/first_answers.md"
ELSEWHERE = ("uv", "caravan demo", "caravan simulate")
"""What installs, goes on until it is stopped, or has a test of its own."""


def test_every_command_of_the_first_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_TICK_SECONDS", "0.1")
    for block in blocks(PAGE, "python"):
        exec(block.text, {})
    host = simulator.HostSettings(
        name="gpu-1", models=(simulator.SimulatedModel("llama3.2:3b"),), time_scale=0.0
    )
    ran = 0
    with simulator.running(host) as (running,):
        monkeypatch.setenv("OLLAMA_HOST", running.url)
        for block in blocks(PAGE, "console"):
            for line in shell_lines(block):
                if line.startswith(ELSEWHERE):
                    continue
                done = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
                assert done.exit_code == 0, f"{line}: {done.stderr}"
                shown = [text for text in block.text.splitlines() if not text.startswith("$ ")]
                assert all(text in done.output for text in shown), (line, done.output)
                ran += 1

    assert ran == 5
    assert len((tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()) == 4
