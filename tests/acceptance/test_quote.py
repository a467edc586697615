"""What a night takes, asked before it: ``caravan quote``, ``submit --dry-run`` and ``--by``, as a person uses them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from worker.storage.engine import open_database
from worker.storage.paces import read_paces

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]

PAST_ALL_DOUBT = "2096-01-01T08:00Z"


@pytest.fixture
def added(environment: Environment, hosts: Hosts) -> Environment:
    """A home that knows both hosts."""
    for host in hosts:
        caravan("hosts", "add", host.name, host.url, "--slots", "2", env=environment)
    return environment


def quoted(*arguments: str, env: Environment) -> dict[str, Any]:
    found = json.loads(caravan("quote", *arguments, "--json", env=env).stdout)
    assert isinstance(found, dict)
    return found


def test_a_quote_says_what_it_takes_stores_nothing_and_asks_no_model(
    added: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 60)

    said = caravan("quote", str(file), "--by", PAST_ALL_DOUBT, env=added)

    assert said.stdout.startswith("60 jobs, ")
    assert "Expected at " in said.stdout
    assert f"In time for {PAST_ALL_DOUBT[:10]}" in said.stdout
    assert "This is a guess: nobody has seen " in said.stdout
    assert f"caravan quote {file} --measure 10" in said.stdout
    assert sum(host.state()["loads"] for host in hosts) == 0
    assert json.loads(caravan("status", "--json", env=added).stdout) == []


def test_a_sample_makes_a_narrow_quote_of_a_wide_one_and_the_run_goes_on_from_it(
    added: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 60)
    guess = quoted(str(file), env=added)

    better = quoted(str(file), "--measure", "12", env=added)

    assert (guess["jobs"], better["jobs"], better["sampled"]) == (60, 48, 12)
    assert set(better["guessed"]) < set(guess["guessed"])
    wide, narrow = (one["seconds"]["high"] / one["seconds"]["low"] for one in (guess, better))
    assert narrow < wide / 2
    caravan("run", str(file), env=added)
    assert sum(int(host.state()["completed"]) for host in hosts) == 60


def test_a_deadline_that_will_be_missed_ends_with_exit_code_5_and_sends_nothing(
    added: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3000)
    soon = in_a_minute(added)

    for command in (["quote", str(file)], ["submit", str(file), "--dry-run"]):
        late = caravan(*command, "--by", soon, env=added, check=False)
        assert late.returncode == 5, late.stdout + late.stderr
        assert "too late" in late.stdout
    assert json.loads(caravan("status", "--json", env=added).stdout) == []

    sent = caravan("submit", str(file), "--by", soon, env=added)
    assert "too late" in sent.stderr


def in_a_minute(env: Environment) -> str:
    database = open_database(f"sqlite:///{env['CARAVAN_HOME']}/caravan.db")
    try:
        return (database.clock().now() + timedelta(seconds=60)).isoformat()
    finally:
        database.close()


def test_what_a_run_learned_is_what_the_next_quote_says(added: Environment, tmp_path: Path) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 30)
    caravan("run", str(file), "--by", PAST_ALL_DOUBT, env=added)
    more = write_jobs(tmp_path / "more.jsonl", 300, system="Be brief.")

    found = quoted(str(more), env=added)

    assert found["guessed"] == []
    assert found["seconds"]["expected"] < 120
    database = open_database(f"sqlite:///{added['CARAVAN_HOME']}/caravan.db")
    with database.read() as conn:
        assert {pace.runner_key.split(" ")[0] for pace in read_paces(conn)} == set(MODELS)
    database.close()


def test_a_model_that_no_host_has_and_hosts_that_are_away_are_said(
    added: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3, model="no-such:1")

    refused = caravan("quote", str(file), env=added, check=False)
    away = caravan("quote", str(file), "--host", "http://127.0.0.1:9", env=added, check=False)

    assert (refused.returncode, away.returncode) == (2, 4)
    assert "no host has the model 'no-such:1'" in refused.stderr
    assert "no host can be reached" in away.stderr
