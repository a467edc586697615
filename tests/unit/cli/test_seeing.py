"""What people see of hosts, jobs and settings, in the width of their terminal or none."""

import errno
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.unit.cli.test_render import HALFWAY, console, printed
from worker.cli import loaded, watch
from worker.cli.main import app
from worker.cli.progress import batch_progress_bar
from worker.cli.render import error_console, output_console, rates
from worker.cli.settings import common_options, hold_common_options, origins_for, settings_for
from worker.domain.batches import BatchProgress
from worker.domain.hosts import Host, LoadedModel
from worker.domain.jobs import JobState
from worker.errors import Code, HostError
from worker.explain.situation import ModelNow, Situation
from worker.stack import home as home_lock
from worker.stack.home import lock_home
from worker.storage.engine import open_database
from worker.storage.host_rows import HostRow
from worker.storage.migrate import HEAD, upgrade

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
RATES = rates(ended=912, unfinished=88, tokens=91_200, seconds=60)


def a_host(name: str, **fields: Any) -> HostRow:
    plain: dict[str, Any] = {
        "serving": True,
        "resident": "qwen3:8b num_ctx=8192",
        "last_seen_at": NOW,
        "running": 3,
        "tokens_per_second": 42.0,
    }
    host = Host(name, f"http://{name}:11434", 4, draining=fields.pop("draining", False))
    return HostRow(host, NOW, **{**plain, **fields})


def a_situation(hosts: int = 3, progress: BatchProgress = HALFWAY) -> Situation:
    counts = {JobState.SUCCEEDED: 909, JobState.FAILED: 3, JobState.RUNNING: 8, JobState.QUEUED: 80}
    name = "a-registry.example/a-team/a-model-with-a-long-name:70b-instruct-q4_K_M"
    return Situation(
        NOW,
        progress,
        tuple(a_host(f"gpu-{n:02}", resident=name if n == 1 else "qwen3:8b") for n in range(hosts)),
        (ModelNow(name, counts, (name,), 1.5, 1234.0), ModelNow("qwen3:8b", {JobState.QUEUED: 5}, ())),
        failures={"context_overflow": 2},
    )


REASON = "gpu-1 cannot be reached since 14:02:10 (3 min): connection refused"


@pytest.mark.parametrize("width", [80, 120])
def test_beneath_the_bar_stands_what_hosts_do_within_the_width(width: int) -> None:
    on = console(terminal=True, width=width)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, RATES, situation=a_situation(20), reasons=[REASON])

    text = printed(on)
    assert "gpu-00  qwen3:8b" in text
    assert text.count("42 tok/s  3 running") == 8
    assert "… and 12 more" in text and "gpu-08" not in text
    assert "failed: 2 context_overflow, 1 more" in text
    assert "connection refused" in text
    assert "ETA –" in text  # it waits: a time would be a guess
    assert all(len(line) <= width for line in re.sub(r"\x1b\[[\d?]*[A-Za-z]", "\n", text).splitlines())


def test_what_hosts_do_stays_while_only_the_counts_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = console(terminal=True)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, RATES, situation=a_situation())
        show(HALFWAY, RATES)

    assert "gpu-02" in printed(on).split("gpu-00")[-1]


def test_without_a_terminal_a_reason_is_said_once_until_it_changes() -> None:
    on = console(terminal=False)

    with batch_progress_bar(on, HALFWAY) as show:
        for reason in (REASON, REASON.replace("3 min", "4 min"), REASON.replace("gpu-1", "gpu-2")):
            show(HALFWAY, RATES, reasons=[reason])
        show(HALFWAY, RATES)

    assert printed(on).splitlines() == [
        f"waiting: {REASON}",
        f"waiting: {REASON.replace('gpu-1', 'gpu-2')}",
    ]


def test_a_quiet_console_shows_no_progress() -> None:
    on = Console(file=io.StringIO(), force_terminal=True, quiet=True)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, RATES, situation=a_situation(), reasons=[REASON])

    assert printed(on) == ""


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_of_watch_fits_the_width_and_has_every_model_and_host(width: int) -> None:
    on = console(terminal=True, width=width)

    on.print(watch.picture(a_situation(12), RATES, [REASON]))

    lines = printed(on).splitlines()
    assert all(len(line) <= width for line in lines)
    words = [line.split() for line in lines]
    assert ["qwen3:8b", "5", "–", "–", "–", "–", "–", "–"] in words
    assert sum("gpu-" in line for line in lines) == 13
    assert any("80        8" in line and "1.5  1,234" in line for line in lines)


def test_watch_says_speeds_over_the_last_minute() -> None:
    pace = watch._Pace()
    done = 0

    for second in range(0, 121, 10):
        done += 5 if second > 60 else 100
        counts = {JobState.SUCCEEDED: done, JobState.QUEUED: 300}
        model = ModelNow("m:1", counts, ("m:1",))
        found = pace.rates(Situation(NOW + timedelta(seconds=second), None, (), (model,)))

    assert found.jobs_per_second == 0.5
    assert found.eta_seconds == 600


# -- options before the command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "level", "quiet"),
    [
        ({}, "info", False),
        ({"verbose": 1}, "info", False),
        ({"verbose": 2}, "debug", False),
        ({"quiet": True}, "error", True),
        ({"quiet": True, "verbose": 2}, "error", True),
    ],
)
def test_options_before_the_command_hold_for_it_alone(
    given: dict[str, object], level: str, quiet: bool
) -> None:
    with hold_common_options(**given):  # type: ignore[arg-type]
        settings = settings_for()
        assert (settings.log_level, common_options().quiet, error_console().quiet) == (level, quiet, quiet)
        assert ("log_level" in settings.model_fields_set) == bool(given)
        assert not output_console().quiet

    assert not common_options().quiet and not common_options().overrides


def test_each_setting_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "caravan.toml").write_text("tick_seconds = 3\n", encoding="utf-8")
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path))

    with hold_common_options(log_format="json"):
        _, origins = origins_for(fail_on_cut=True)

    assert origins["home"] == "CARAVAN_HOME"
    assert origins["tick_seconds"] == "tick_seconds in the settings file"
    assert origins["fail_on_cut"] == "--fail-on-cut"
    assert origins["log_style"] == "--log-format"
    assert origins["lease_seconds"] == "default"


# -- ps ---------------------------------------------------------------------------------------------------


def a_report(name: str) -> HostRow:
    return HostRow(Host(name, f"http://{name}:1"), NOW, serving=True, version="0.30.1", resident="qwen3:8b")


class Gpu:
    """A host that answers, refuses or hangs."""

    def __init__(self, name: str, ends: threading.Event) -> None:
        self.name, self.ends = name, ends

    def loaded(self) -> list[LoadedModel]:
        if self.name == "hangs":
            self.ends.wait(60)
        if self.name == "refuses":
            raise HostError(Code.HOST_UNREACHABLE, "connection refused")
        return [LoadedModel("qwen3:8b", "d", 8192, 10, 5, NOW)]

    def close(self) -> None:
        pass


@pytest.fixture
def ends() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_host_that_hangs_does_not_keep_ps_waiting(ends: threading.Event) -> None:
    reports = [a_report(name) for name in ("answers", "refuses", "hangs")]

    asked = loaded.ask_hosts(reports, lambda host: Gpu(host.name, ends), seconds=0.2)

    assert [(one.loaded is not None, one.error) for one in asked] == [
        (True, None),
        (False, "connection refused"),
        (False, "no answer in time"),
    ]


# -- the commands -----------------------------------------------------------------------------------------


def said_by(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_database_without_hosts_says_how_to_add_one() -> None:
    assert said_by("hosts", "ps") == "no hosts yet: caravan hosts add NAME URL\n"
    assert said_by("hosts", "ps", "--json") == "[]\n"


def test_info_makes_nothing_and_shows_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARAVAN_BROKER_URL", "redis://me:secret@127.0.0.1:1/0")

    text = said_by("info")
    found = json.loads(said_by("info", "--json"))

    assert "secret" not in text and "secret" not in json.dumps(found)
    assert found["broker"] == "redis://me:***@127.0.0.1:1/0"
    assert found["settings"]["broker_url"]["origin"] == "CARAVAN_BROKER_URL"
    assert found["database_schema"] == "not made yet"
    assert not (tmp_path / "home").exists()


def test_info_names_the_schema_and_the_process_that_holds_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with lock_home(home):
        upgrade(f"sqlite:///{home / 'caravan.db'}")

        found = json.loads(said_by("info", "--json"))

    assert (found["database_schema"], found["home_held_by_process"], found["serving"]) == (
        HEAD,
        os.getpid(),
        [],
    )
    assert home_lock.holder(home) is None


def test_info_names_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/caravan")

    found = json.loads(said_by("info", "--json"))

    assert found["database_schema"].startswith("cannot be reached: ")
    assert "secret" not in json.dumps(found)


def test_lists_are_not_folded_off_a_terminal(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'home' / 'caravan.db'}")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'caravan.db'}")
    from tests.integration.storage.conftest import Store, new_job

    store = Store(database)
    store.submit(new_job(1, custom_id="a" * 150), new_job(2))
    database.close()

    header, first, second = said_by("jobs", "@last").splitlines()

    assert header.split() == ["job", "custom_id", "model", "state", "host", "tries", "why"]
    assert second.split() == ["16777218", "c2", "qwen3:8b", "queued", "–", "0"]
    assert "a" * 150 in first
    assert [job["custom_id"] for job in json.loads(said_by("jobs", "@last", "--json"))][1] == "c2"
    assert "batch 1 (b) has no jobs of that kind" in said_by("jobs", "@last", "--state", "failed")
    assert json.loads(said_by("explain", "@last:c2", "--json"))["state"] == "queued"


def test_a_home_on_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("worker.stack.home.os.write", full)
    with pytest.raises(OSError, match="No space left") as failure, lock_home(tmp_path):
        pass

    assert failure.value.filename == str(tmp_path / "lock")
