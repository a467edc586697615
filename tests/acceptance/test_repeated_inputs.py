"""An input that was asked before: what a command gives applies to its batch, or is refused by its name."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

import simulator
from tests.acceptance.conftest import caravan, write_jobs
from tests.processes import CARAVAN, Processes
from tests.waiting import wait_until
from worker.storage.engine import open_database

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


def requests(hosts: Hosts) -> int:
    return sum(int(host.state()["requests"]) for host in hosts)


def test_what_a_batch_cannot_take_on_any_more_is_refused_and_new_takes_it(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 6, options={"num_predict": 2})
    command = ["run", str(file), "--host", hosts[0].url]
    caravan(*command, "--name", "cut", env=environment)
    before = requests(hosts)

    for option in (["--name", "cut2"], ["--fail-on-cut"], ["--max-failures", "3"]):
        done = caravan(*command, *option, env=environment, check=False)
        assert done.returncode == 2, option
        assert option[0] in done.stderr
        assert "--new" in done.stderr
    assert requests(hosts) == before
    caravan(*command, "--name", "cut", env=environment)
    caravan(*command, env=environment)
    failed = caravan(*command, "--name", "cut2", "--fail-on-cut", "--new", env=environment, check=False)

    assert failed.returncode == 3
    shown = json.loads(caravan("status", "cut2", "--json", env=environment, check=False).stdout)
    assert shown["counts"] == {"failed": 6}


@pytest.mark.parametrize("option", ["--limit", pytest.param("--sample", marks=pytest.mark.thorough)])
def test_a_limit_bounds_what_is_written_and_says_what_lies_outside(
    environment: Environment, hosts: Hosts, tmp_path: Path, option: str
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    out = tmp_path / "out.csv"
    command = ["run", str(file), "--host", hosts[0].url, "-o", str(out)]
    caravan(*command, env=environment)
    before = requests(hosts)

    done = caravan(*command, option, "7", env=environment)

    assert requests(hosts) == before
    assert len(out.read_text().splitlines()) == 8
    assert "23 more of batch 1" in done.stderr


@pytest.mark.parametrize("option", ["--limit", pytest.param("--sample", marks=pytest.mark.thorough)])
def test_a_limit_never_asks_what_lies_outside_of_it_and_the_command_without_it_does(
    environment: Environment, hosts: Hosts, tmp_path: Path, option: str
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    out = tmp_path / "out.csv"
    caravan("submit", str(file), env=environment)
    command = ["run", str(file), "--host", hosts[0].url, "-o", str(out)]

    asked = []
    for more in ([option, "7"], [option, "9"], []):
        done = caravan(*command, *more, env=environment)
        asked.append((requests(hosts), len(out.read_text().splitlines()) - 1))
        if more:
            assert f"{30 - int(more[1])} more of batch 1" in done.stderr
    caravan(*command, option, "9", env=environment)

    assert asked == [(7, 7), (9, 9), (30, 30)]
    assert json.loads(caravan("status", "1", "--json", env=environment).stdout)["counts"] == {"succeeded": 30}


def test_after_an_interruption_the_answers_so_far_are_counted_and_a_limit_tries_some_first(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 80})
    out = tmp_path / "out.csv"
    command = ["run", str(file), "--host", hosts[0].url, "-o", str(out)]
    run = processes.start([*CARAVAN, *command], name="run", env=environment)
    wait_until(lambda: int(hosts[0].state()["completed"]) > 5, description="some jobs are answered")
    run.interrupt()
    assert run.wait() == 130
    before = requests(hosts)
    assert f"{before} of 300 are done" in run.output()
    assert "caravan results 1 -o" in run.output()

    caravan(*command, "--limit", "12", env=environment)

    assert requests(hosts) - before <= 12
    assert len(out.read_text().splitlines()) == 13
    status = json.loads(caravan("status", "1", "--json", env=environment).stdout)
    assert set(status["counts"]) == {"succeeded", "held"}


def test_expire_alone_goes_by_the_deadline_that_the_batch_has(
    environment: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)
    caravan("submit", str(file), "--by", "2099-12-01T08:00", env=environment)

    caravan("submit", str(file), "--expire", env=environment)

    database = open_database(f"sqlite:///{environment['CARAVAN_HOME']}/caravan.db")
    with database.read() as conn:
        expiring = conn.scalar(text("SELECT count(*) FROM jobs WHERE expires AND deadline IS NOT NULL"))
    database.close()
    assert expiring == 3


def test_a_name_beside_a_key_that_is_known_is_refused_where_it_is_another(
    environment: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)
    command = ["submit", str(file), "--key", "mine"]
    first = caravan(*command, "--name", "ads", env=environment)

    again = caravan(*command, "--name", "ads", env=environment)
    other = caravan(*command, "--name", "ads2", env=environment, check=False)

    assert again.stdout == first.stdout
    assert other.returncode == 2
    assert "--name" in other.stderr


@pytest.mark.thorough
def test_status_explain_and_health_tell_of_what_lies_outside_of_a_limit(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    caravan("submit", str(file), env=environment)
    caravan("run", str(file), "--host", hosts[0].url, "--limit", "7", env=environment)

    status = json.loads(caravan("status", "1", "--json", env=environment).stdout)

    assert (status["state"], status["counts"]) == ("open", {"succeeded": 7, "held": 23})
    assert "--limit" in caravan("explain", "1", env=environment).stdout
    assert "oldest" not in caravan("health", env=environment, check=False).stdout


def test_failed_rows_outside_of_a_limit_are_not_tried_again(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 12, options={"num_predict": 2})
    command = ["run", str(file), "--host", hosts[0].url]
    caravan(*command, "--fail-on-cut", env=environment, check=False)
    before = requests(hosts)

    caravan(*command, "--retry-failed", "--limit", "5", env=environment, check=False)

    assert requests(hosts) - before == 5


@pytest.mark.thorough
def test_a_limit_bounds_what_caravan_up_asks_of_a_batch(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    out = tmp_path / "out.csv"
    run = ["run", str(file), "-o", str(out)]
    caravan("submit", str(file), env=environment)
    submitted = caravan("submit", str(file), "--limit", "7", env=environment)
    assert "23 more of batch 1" in submitted.stderr
    up = processes.start([*CARAVAN, "up", "--host", hosts[0].url], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")

    asked = []
    for more in (["--limit", "7"], ["--sample", "9"], []):
        caravan(*run, *more, env=environment)
        asked.append(len(out.read_text().splitlines()) - 1)

    up.terminate()
    assert up.wait() == 0
    assert asked == [7, 9, 30]
    assert requests(hosts) == 30


def test_a_pilot_and_then_the_rest_are_one_batch(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 20)
    out = tmp_path / "out.jsonl"
    command = ["run", str(file), "--host", hosts[0].url, "-o", str(out)]
    lines = []
    for more in (["--sample", "4"], ["--limit", "5"], []):
        caravan(*command, *more, env=environment)
        lines.append(len(out.read_text().splitlines()))

    assert lines == [4, 5, 20]
    assert requests(hosts) == 20
