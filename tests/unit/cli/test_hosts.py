"""``caravan hosts`` as a person types it, on an embedded database and simulated hosts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator import HostSettings, RunningHost, demo_models, running
from tests.servers.proxy import proxying
from worker.cli.main import app
from worker.domain.hosts import Host
from worker.settings import load_settings
from worker.storage.engine import open_database
from worker.storage.hosts import add_host, get_host, record_resident
from worker.storage.runs import close_run, loaded_run, open_run
from worker.storage.tables import hosts

SECRET = "correct-horse"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GPU_AUTH", f"me:{SECRET}")
    return tmp_path


@pytest.fixture
def host() -> Iterator[RunningHost]:
    with running(HostSettings("gpu-1", demo_models(), time_scale=0)) as (one,):
        yield one


def caravan(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def listed() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(caravan("hosts", "list", "--json").stdout)
    return found


def test_a_host_that_only_a_run_used_is_marked_in_the_list(home: Path, host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)
    with closing(open_database(load_settings({}, home=home / "home").database)) as database:
        passing = Host("127.0.0.1:1", "http://127.0.0.1:1")
        database.transact(lambda conn: add_host(conn, passing, now=datetime.now(UTC), permanent=False))

    shown = CliRunner().invoke(app, ["hosts", "list"])

    assert [(one["name"], one["permanent"]) for one in listed()] == [("127.0.0.1:1", False), ("gpu-1", True)]
    assert [", not added" in line for line in shown.stdout.splitlines()[1:3]] == [True, False]
    assert "caravan hosts add 127.0.0.1:1 http://127.0.0.1:1 keeps it" in shown.stderr


def test_a_host_is_added_in_any_form_and_looked_at(host: RunningHost) -> None:
    address = host.url.removeprefix("http://")

    done = caravan(
        "hosts", "add", "gpu-1", f"{address}/", "--slots", "4", "--models", "2", "--memory", "24GB"
    )

    assert done.exit_code == 0
    assert "gpu-1: added; Ollama 0.24.0, 4 slots, 3 models" in done.stdout
    assert "caravan up" in done.stdout
    (one,) = listed()
    assert (one["url"], one["slots"], one["models_at_once"]) == (host.url, 4, 2)
    assert (one["memory"], one["access"], one["draining"]) == (24_000_000_000, None, False)


def test_a_host_that_is_away_is_added_and_said_to_be(home: Path) -> None:
    done = caravan("hosts", "add", "gpu-1", "http://127.0.0.1:1")

    assert done.exit_code == 0
    assert "added, but it cannot be reached now: connection refused" in done.stdout
    assert "caravan hosts check gpu-1" in done.stdout


def test_an_address_that_cannot_be_right_ends_with_4(host: RunningHost) -> None:
    done = caravan("hosts", "add", "gpu-1", f"{host.url}/nothing")

    assert done.exit_code == 4
    assert "there is no Ollama at this URL (404 Not Found)" in done.stdout


def test_on_a_fleet_it_is_said_which_worker_to_start(
    host: RunningHost, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", f"sqlite:///{home / 'fleet.db'}")
    assert caravan("db", "upgrade").exit_code == 0

    done = caravan("hosts", "add", "gpu-1", host.url)
    told = json.loads(caravan("hosts", "add", "gpu-2", host.url, "--json").stdout)

    assert "Start its worker to serve it: caravan worker --host gpu-1" in done.stdout
    assert told["start"] == "caravan worker --host gpu-2"


def test_credentials_in_the_address_are_refused_with_what_to_do_instead(home: Path) -> None:
    done = caravan("hosts", "add", "gpu-1", f"https://me:{SECRET}@gpu.example")

    assert done.exit_code == 1
    assert "--basic-auth env:NAME" in done.stderr
    assert SECRET not in done.output
    assert listed() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpu-1", "http://gpu-1", "--basic-auth", f"me:{SECRET}"),
        ("gpu-1", "http://gpu-1", "--bearer", SECRET),
        ("gpu-1", "http://gpu-1", "--header", f"X-Key={SECRET}"),
        ("gpu-1", "http://gpu-1", "--header", SECRET),
        ("../gpu", "http://gpu-1"),
        ("gpu-1", "gpu-1:99999"),
        ("gpu-1", "gpu-1", "--memory", "much"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_no_secret_shown(arguments: tuple[str, ...]) -> None:
    done = caravan("hosts", "add", *arguments)

    assert done.exit_code == 1
    assert SECRET not in done.output


def test_a_secret_is_stored_as_where_it_stands_and_shown_nowhere(host: RunningHost, home: Path) -> None:
    with proxying(host.url, user=f"me:{SECRET}", prefix="/ollama", echo=True) as proxy:
        arguments = ("gpu-1", proxy.url, "--basic-auth", "env:GPU_AUTH", "--ca-file", str(proxy.ca_file))
        added = caravan("hosts", "add", *arguments)
        proxy.user = "me:another"
        refused = caravan("hosts", "set", "gpu-1", "--basic-auth", "env:GPU_AUTH")

    assert "Ollama 0.24.0" in added.stdout
    assert "the host refuses us (401 Unauthorized)" in refused.stdout
    assert listed()[0]["access"] == {"basic_auth": "env:GPU_AUTH", "ca_file": str(proxy.ca_file)}
    shown = added.output + refused.output + caravan("hosts", "list").output
    assert SECRET not in shown
    for file in (home / "home").rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes()


def test_one_thing_of_a_host_is_changed_and_none_takes_it_away(host: RunningHost, home: Path) -> None:
    caravan("hosts", "add", "gpu-1", host.url, "--bearer", "file:token", "--header", "X-Key=env:GPU_AUTH")
    assert listed()[0]["access"] == {
        "bearer": f"file:{Path('token').absolute()}",
        "headers": [["X-Key", "env:GPU_AUTH"]],
    }

    done = caravan("hosts", "set", "gpu-1", "--slots", "8", "--basic-auth", "env:GPU_AUTH")

    assert "gpu-1: changed; Ollama 0.24.0, 8 slots" in done.stdout
    assert listed()[0]["access"] == {"basic_auth": "env:GPU_AUTH", "headers": [["X-Key", "env:GPU_AUTH"]]}

    caravan("hosts", "set", "gpu-1", "--basic-auth", "none", "--header", "X-Key=none", "--memory", "8GiB")

    (one,) = listed()
    assert (one["access"], one["slots"], one["memory"]) == (None, 8, 8 * 2**30)


def test_nothing_to_change_and_nobody_to_change_are_said(home: Path) -> None:
    assert "nothing to change" in caravan("hosts", "set", "gpu-1").stderr
    assert "no host 'gpu-1'" in caravan("hosts", "set", "gpu-1", "--slots", "2").stderr


def test_a_host_is_drained_and_resumed(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)

    assert "no new ones start" in caravan("hosts", "drain", "gpu-1").stdout
    assert listed()[0]["draining"] is True
    assert "draining, idle" in caravan("hosts", "list").stdout

    assert "takes work again" in caravan("hosts", "resume", "gpu-1").stdout
    assert listed()[0]["draining"] is False
    assert caravan("hosts", "drain", "gpu-2").exit_code == 1


def test_a_host_is_removed_only_after_a_yes(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)

    refused = caravan("hosts", "remove", "gpu-1")

    assert refused.exit_code == 1
    assert "--yes" in refused.stderr
    assert len(listed()) == 1
    assert caravan("hosts", "remove", "gpu-1", "--yes").exit_code == 0
    assert listed() == []


def test_a_second_name_for_the_same_server_is_warned_of(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)

    done = caravan("hosts", "add", "gpu-2", host.url)

    assert "gpu-1 has the same address" in done.stderr
    assert done.exit_code == 0


def test_the_history_of_a_host_is_shown_the_newest_first(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)
    assert "has loaded nothing yet" in caravan("hosts", "history", "gpu-1").stdout
    database = open_database(load_settings().database)
    now = database.clock().now()
    with database.write() as conn:
        first = open_run(conn, host="gpu-1", runner_key="qwen3:8b", reason="most waiting", now=now)
        loaded_run(conn, first, load_time=timedelta(seconds=4.5))
        close_run(conn, first, now=now + timedelta(minutes=62))
        second = open_run(conn, host="gpu-1", runner_key="llama3.2:3b", reason="oldest", now=now)
        close_run(conn, second, now=now, error="load_failed: no room")
    database.close()

    lines = caravan("hosts", "history", "gpu-1").stdout.splitlines()
    rows = json.loads(caravan("hosts", "history", "gpu-1", "--json").stdout)

    assert "llama3.2:3b" in lines[1]
    assert "failed: load_failed: no room" in lines[1]
    assert all(words in lines[2] for words in ("qwen3:8b", "4.5 s", "1 h 02 min", "most waiting"))
    assert [(row["runner_key"], row["load_seconds"]) for row in rows] == [
        ("llama3.2:3b", None),
        ("qwen3:8b", 4.5),
    ]


def test_a_check_says_what_is_well_and_what_to_do(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)
    database = open_database(load_settings().database)
    with database.write() as conn:
        record_resident(conn, "gpu-1", "llama3.2:3b num_ctx=4096", now=database.clock().now())
        assert get_host(conn, "gpu-1").url == host.url
    database.close()

    done = caravan("hosts", "check", "gpu-1")
    rows = json.loads(caravan("hosts", "check", "gpu-1", "--json").stdout)

    assert done.exit_code == 0
    assert "ok    reach" in done.stdout
    assert [row["what"] for row in rows][:3] == ["reach", "models", "model"]


def test_what_a_check_loaded_is_listed(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)
    assert listed()[0]["resident"] is None

    caravan("hosts", "check", "gpu-1", "--model", "qwen2.5:7b")

    assert str(listed()[0]["resident"]).split()[0] == "qwen2.5:7b"
    assert "qwen2.5:7b" in caravan("hosts", "list").stdout


def test_a_check_without_a_name_looks_at_all_hosts_and_ends_with_the_worst(host: RunningHost) -> None:
    assert caravan("hosts", "check").exit_code == 4
    caravan("hosts", "add", "gpu-1", host.url)
    caravan("hosts", "add", "away", "http://127.0.0.1:1")

    done = caravan("hosts", "check")
    found = json.loads(caravan("hosts", "check", "--json").stdout)

    assert done.exit_code == 4
    assert [line for line in done.stdout.splitlines() if line.endswith(":")] == ["away:", "gpu-1:"]
    assert {(row["host"], row["what"]) for row in found} >= {("gpu-1", "models"), ("away", "reach")}


def test_a_check_ends_with_4_where_the_host_cannot_serve_and_with_3_where_it_could_do_better(
    host: RunningHost,
) -> None:
    caravan("hosts", "add", "away", "http://127.0.0.1:1")
    done = caravan("hosts", "check", "away")
    assert done.exit_code == 4
    assert "→ start Ollama there" in done.stdout

    with running(HostSettings("gpu-2", demo_models(), time_scale=0, gpu=False)) as (slow,):
        caravan("hosts", "add", "gpu-2", slow.url)
        done = caravan("hosts", "check", "gpu-2")
    assert done.exit_code == 3
    assert "runs on the CPU alone" in done.stdout


def test_the_commands_for_hosts_are_listed_without_the_database_or_http() -> None:
    heavy = "{'sqlalchemy', 'requests', 'celery', 'pydantic'}"
    code = f"import sys, worker.cli.hosts, worker.cli.fleet; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def later_today() -> str:
    """Hours that are closed now."""
    now = datetime.now(UTC)
    return f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"


def test_a_host_has_hours_and_loses_them_again(host: RunningHost) -> None:
    hours = later_today()
    added = caravan("hosts", "add", "gpu-1", host.url, "--window", hours)
    assert f"gpu-1: takes work {hours} (UTC)" in added.stderr

    (one,) = listed()
    assert (one["health"], one["draining"], one["window"]) == ("closed", False, f"{hours} (UTC)")
    assert one["opens_at"] is not None
    assert "closed until" in caravan("hosts", "list").stdout

    caravan("hosts", "set", "gpu-1", "--slots", "3")
    assert listed()[0]["health"] == "closed", "what is not said stays"
    assert "gpu-1: takes work at any time" in caravan("hosts", "set", "gpu-1", "--no-window").stderr
    assert listed()[0]["health"] == "ready"


def test_hours_that_make_no_sense_are_refused_with_what_was_expected(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)

    bad = caravan("hosts", "set", "gpu-1", "--window", "25:00-06:00")
    both = caravan("hosts", "set", "gpu-1", "--window", "22:00-06:00", "--no-window")

    assert "expected hours such as 22:00-06:00" in bad.stderr
    assert "--no-window" in both.stderr
    assert (bad.exit_code, both.exit_code) == (2, 2)
    assert listed()[0]["window"] is None


def test_adding_a_host_again_is_a_conflict_that_changes_nothing(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url, "--slots", "1")
    caravan("hosts", "set", "gpu-1", "--slots", "8", "--shared", "--memory", "24GB", "--header", "X-K=env:T")
    before = listed()

    again = caravan("hosts", "add", "gpu-1", host.url, "--slots", "1")

    assert again.exit_code == 1
    assert "caravan hosts set gpu-1" in again.stderr
    assert "--if-missing" in again.stderr
    assert listed() == before


def test_a_host_that_is_there_is_left_as_it_was_set_where_only_missing_ones_are_added(
    host: RunningHost,
) -> None:
    first = caravan("hosts", "add", "gpu-1", host.url, "--slots", "1", "--if-missing", "--json")
    caravan("hosts", "set", "gpu-1", "--slots", "8", "--shared", "--memory", "24GB", "--header", "X-K=env:T")
    before = listed()

    again = caravan("hosts", "add", "gpu-1", host.url, "--slots", "1", "--if-missing", "--json")
    moved = caravan("hosts", "add", "gpu-1", "http://10.0.0.7:11434", "--if-missing")

    assert (first.exit_code, again.exit_code, moved.exit_code) == (0, 0, 0)
    assert json.loads(first.stdout)["added"] is True
    there = json.loads(again.stdout)
    assert (there["name"], there["url"], there["added"]) == ("gpu-1", host.url, False)
    assert "caravan hosts set gpu-1 --url http://10.0.0.7:11434" in moved.stderr
    assert listed() == before


def test_a_host_whose_server_died_is_not_listed_as_served(host: RunningHost) -> None:
    caravan("hosts", "add", "gpu-1", host.url)
    with closing(open_database(load_settings().database)) as database, database.write() as conn:
        conn.execute(
            hosts.update().values(
                serving_token="of-a-dead-process", serving_until=datetime(2199, 1, 1, tzinfo=UTC)
            )
        )

    assert listed()[0]["serving"] is False
