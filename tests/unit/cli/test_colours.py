"""States have colours on a terminal, and nowhere else."""

import sys

import pytest

from worker.cli import colours
from worker.cli.plain import lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Standard output as a terminal with colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    return monkeypatch


def test_a_state_is_painted_and_the_columns_stay_aligned(terminal: pytest.MonkeyPatch) -> None:
    table = [["ads", "paused", "3"], ["nightly", "finished", "0"]]
    paint = {"state": colours.paint_state, "failed": colours.paint_failures}

    painted = lines(["name", "state", "failed"], table, right=["failed"], paint=paint)

    assert painted == [
        "name     state     failed",
        "ads      \x1b[33mpaused  \x1b[0m  \x1b[31m     3\x1b[0m",
        "nightly  \x1b[32mfinished\x1b[0m       0",
    ]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_whoever_wants_no_colours_gets_none(terminal: pytest.MonkeyPatch, name: str, value: str) -> None:
    terminal.setenv(name, value)

    assert colours.paint_state("failed") == "failed"


def test_a_file_or_a_pipe_gets_no_colours(terminal: pytest.MonkeyPatch) -> None:
    terminal.setattr(sys.stdout, "isatty", lambda: False)

    assert colours.paint_state("failed: 3 jobs") == "failed: 3 jobs"
