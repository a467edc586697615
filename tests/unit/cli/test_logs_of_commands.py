"""What a command that a person looks at logs."""

import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.main import app


def test_a_command_logs_warnings_as_lines_with_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    logging.getLogger("caravan").handlers.clear()

    assert CliRunner().invoke(app, ["status"]).exit_code == 0

    (handler,) = logging.getLogger("caravan").handlers
    record = logging.LogRecord("caravan", logging.WARNING, "", 0, "database.unavailable", None, None)
    assert " WARNING database.unavailable" in handler.format(record)
    assert logging.getLogger("caravan").level == logging.WARNING
