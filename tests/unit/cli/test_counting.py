"""A bar tells a person how far a file is; what is no terminal sees nothing of it."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from worker.cli import counting, render


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=100)
    monkeypatch.setattr(render, "error_console", lambda: console)

    with counting.telling(Path("night.parquet"), 1000) as progress:
        progress(500)

    assert ("night.parquet" in shown.getvalue()) is terminal
    assert ("500/1000" in shown.getvalue()) is terminal
