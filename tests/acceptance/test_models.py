"""``caravan models`` against three simulated hosts: in the command itself, beside ``caravan up``, and on a fleet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan, state_of, write_jobs
from tests.processes import CARAVAN, SIMULATOR, Processes
from tests.waiting import wait_until
from worker.domain.jobs import JobState
from worker.domain.model_operations import ModelOperation
from worker.storage.batches import find_batch
from worker.storage.counts import batch_counts
from worker.storage.engine import Database, open_database
from worker.storage.host_rows import read_hosts
from worker.storage.model_operations import read_model_operation
from worker.storage.reports import list_jobs, list_models

Environment = dict[str, str]

HERE, PULLED = (model.name for model in simulator.demo_models()[:2])
NAMES = ("gpu-1", "gpu-2", "gpu-3")
CUT = {"kind": "pull_cut", "after_chunks": 10}
"""The connection of a pull breaks."""


@pytest.fixture
def urls(processes: Processes, tmp_path: Path) -> list[str]:
    """Three simulated hosts, each a process, with the first model. The connection of the first pull of the second breaks."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([CUT]))
    found = []
    for name in NAMES:
        more = ["--faults", str(faults)] if name == "gpu-2" else []
        speed = ["--time-scale", "0.05", "--slots", "2", *more]
        models = ["--models", HERE, "--pullable", f"{HERE},{PULLED}"]
        host = processes.start([*SIMULATOR, "--host", name, *models, *speed], name=name)
        line = next(line for line in host.wait_for("http://").splitlines() if "http://" in line)
        found.append("http://" + line.partition("http://")[2].split()[0].rstrip(".,"))
    return found


@pytest.fixture
def added(urls: list[str], environment: Environment) -> list[str]:
    for name, url in zip(NAMES, urls, strict=True):
        caravan("hosts", "add", name, url, env=environment)
    return urls


@pytest.fixture
def database(added: list[str], environment: Environment) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{environment['CARAVAN_HOME']}/caravan.db")
    yield opened
    opened.close()


def operation(database: Database, number: int = 1) -> ModelOperation:
    with database.read() as conn:
        return read_model_operation(conn, number)


def counts(database: Database) -> dict[JobState, int]:
    with database.read() as conn:
        return batch_counts(conn, find_batch(conn, "@last").id)


def hosts_with(database: Database, model: str) -> list[str]:
    with database.read() as conn:
        return [known.host for known in list_models(conn) if known.name == model]


def test_a_pull_that_breaks_off_on_one_of_three_hosts_goes_on_until_all_have_it(
    environment: Environment, added: list[str], database: Database
) -> None:
    done = caravan("models", "pull", PULLED, env=environment)

    assert f"{PULLED} on gpu-2: the connection was cut" in done.stderr
    assert "it is tried again at" in done.stderr
    assert "operation 1: 3 of 3 done" in done.stderr
    assert hosts_with(database, PULLED) == list(NAMES)
    assert len({part.digest for part in operation(database).parts}) == 1
    pulled = [state_of(url)["pulled_bytes"] for url in added]
    assert pulled[1] == pulled[0] == pulled[2]


def test_a_command_that_was_killed_leaves_an_operation_that_caravan_up_goes_on_with(
    environment: Environment, added: list[str], database: Database, processes: Processes
) -> None:
    pulling = processes.start([*CARAVAN, "models", "pull", PULLED], name="pull", env=environment)
    wait_until(
        lambda: any(state_of(url)["pulled_bytes"] for url in added), description="some bytes came", timeout=60
    )
    pulling.kill()
    left = operation(database).state

    processes.start([*CARAVAN, "up"], name="up", env=environment)
    wait_until(lambda: operation(database).state != "open", description="up ends it", timeout=90)

    assert left == "open"
    assert operation(database).state == "done"
    assert hosts_with(database, PULLED) == list(NAMES)
    assert len({state_of(url)["pulled_bytes"] for url in added}) == 1


def test_jobs_whose_model_was_removed_wait_with_the_reason_and_are_answered_after_the_pull(
    environment: Environment, database: Database, processes: Processes, tmp_path: Path
) -> None:
    caravan("submit", str(write_jobs(tmp_path / "jobs.jsonl", 12, model=HERE)), env=environment)

    refused = caravan("models", "rm", HERE, env=environment, check=False)
    caravan("models", "rm", HERE, "--force", env=environment)
    processes.start([*CARAVAN, "up"], name="up", env=environment)
    wait_until(lambda: counts(database) == {JobState.HELD: 12}, description="the jobs are held", timeout=90)
    with database.read() as conn:
        held = list_jobs(conn, find_batch(conn, "@last").id)
    caravan("models", "pull", HERE, "--host", "gpu-1", env=environment)
    wait_until(
        lambda: counts(database) == {JobState.SUCCEEDED: 12}, description="they are answered", timeout=90
    )

    assert refused.returncode == 1
    assert f"{HERE} is in use: 12 " in refused.stderr
    assert {job.code for job in held} == {"model_missing"}
    assert "caravan models rm removed it from gpu-1, gpu-2, gpu-3" in str(held[0].message)


def test_an_address_that_was_not_added_is_cared_for_and_not_added_by_that(
    environment: Environment, urls: list[str]
) -> None:
    done = caravan("models", "cp", HERE, "twin:1b", "--host", urls[0], "--json", env=environment)

    assert json.loads(done.stdout)["state"] == "done"
    database = open_database(f"sqlite:///{environment['CARAVAN_HOME']}/caravan.db")
    with database.read() as conn:
        assert [row.kept for row in read_hosts(conn, database.clock().now())] == [False]
    database.close()
