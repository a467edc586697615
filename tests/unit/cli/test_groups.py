"""Options that are declared once, in groups that commands share; and the clock by which times are meant."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from worker.cli.groups import with_groups
from worker.cli.hours import HoursOptions, windows_of
from worker.cli.options import (
    DeadlineOptions,
    ModelOptions,
    PromptOptions,
    RequestOptions,
    RowOptions,
    RowsOptions,
)
from worker.cli.submissions import submission_of_rows
from worker.clock import local_zone


@dataclass(frozen=True, slots=True)
class Inner:
    depth: Annotated[int, typer.Option("--depth")] = 1


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    width: Annotated[int, typer.Option("--width")] = 2


def test_a_group_and_the_groups_in_it_are_options_of_the_command() -> None:
    seen: list[tuple[str, Outer]] = []

    def measure(shape: Outer, name: Annotated[str, typer.Argument()]) -> None:
        """Measure it."""
        seen.append((name, shape))

    app = typer.Typer()
    app.command()(with_groups(measure))

    done = CliRunner().invoke(app, ["box", "--depth", "5"])

    assert done.exit_code == 0, done.output
    assert seen == [("box", Outer(Inner(5), 2))]


def test_two_groups_with_one_option_are_a_defect() -> None:
    def twice(one: Inner, other: Outer) -> None:
        """Twice."""

    with pytest.raises(TypeError, match="several groups have an option depth"):
        with_groups(twice)


@pytest.mark.parametrize(
    ("zone", "wanted_at"),
    [
        (None, datetime(2036, 6, 30, 23, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2036, 7, 1, 12, 0, tzinfo=UTC)),
    ],
)
def test_a_deadline_and_hours_go_by_one_clock(
    zone: str | None, wanted_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        hours = HoursOptions(window=["22:00-06:00"], tz=zone)
        deadline = DeadlineOptions(by="2036-07-01T08:00")
        rows = RowsOptions(PromptOptions(), RowOptions(), ModelOptions(), RequestOptions(), deadline)
        windows, submission = windows_of(hours), submission_of_rows(rows, hours)
    time.tzset()

    assert windows is not None
    assert windows.zone == (zone or "Asia/Tokyo")
    assert submission.deadline == wanted_at


def test_a_machine_whose_zone_has_no_name_goes_by_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "no/such/zone")
    monkeypatch.setattr("worker.clock.os.path.realpath", lambda path: path)
    monkeypatch.setattr("worker.clock._etc_timezone", lambda: "")

    assert local_zone() == "UTC"
