"""The units for systemd are well formed, and start commands that are there."""

import configparser
from pathlib import Path

import pytest

from tests.repo.docs.pages import DOCS
from worker.cli.commands import COMMANDS

UNITS = sorted((DOCS / "systemd").iterdir())


def unit(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=True, comment_prefixes=("#", ";"))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(path, encoding="utf-8")
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_its_sections_and_starts_a_command_that_exists(path: Path) -> None:
    found = unit(path)

    assert found.has_section("Unit")
    if path.suffix == ".timer":
        assert (path.with_suffix(".service")).is_file()
        return
    program, command, *_ = found["Service"]["ExecStart"].split()
    assert program == "/opt/caravan/bin/caravan"
    assert command in COMMANDS


@pytest.mark.parametrize(
    "path", [path for path in UNITS if "health" not in path.name], ids=lambda path: path.name
)
def test_a_service_is_told_to_stop_by_its_main_process_and_comes_back(path: Path) -> None:
    service = unit(path)["Service"]

    assert service["KillMode"] == "mixed"
    assert service["Restart"] == "always"
    assert int(service["TimeoutStopSec"]) >= 60
