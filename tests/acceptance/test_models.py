"""``caravan models`` against three simulated hosts: in the command itself, beside ``caravan up``, and on a fleet."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.acceptance.conftest import Fleet, caravan, write_jobs
from tests.processes import CARAVAN, Processes
from tests.waiting import wait_until

Environment = dict[str, str]

HERE, PULLED = simulator.demo_models()[0], simulator.demo_models()[1]
SECONDS = 3.0
"""How long a host takes for the pull."""


@pytest.fixture
def hosts() -> Iterator[tuple[simulator.RunningHost, ...]]:
    """Three hosts with the first model; the connection of the first pull of the second of them breaks."""
    settings = [
        simulator.HostSettings(
            name=name,
            models=(HERE,),
            pullable=(HERE, PULLED),
            num_parallel=2,
            time_scale=1.0,
            pull_bytes_per_second=PULLED.size_bytes / SECONDS,
            faults=(simulator.Fault("pull_cut", after_chunks=10),) if name == "gpu-2" else (),
        )
        for name in ("gpu-1", "gpu-2", "gpu-3")
    ]
    quick = replace(HERE, load_seconds=0.01, tokens_per_second=5000.0)
    settings = [replace(one, models=(quick,), pullable=(quick, PULLED)) for one in settings]
    with simulator.running(*settings) as running:
        yield running


def add_all(hosts: tuple[simulator.RunningHost, ...], environment: Environment) -> None:
    for host in hosts:
        caravan("hosts", "add", host.name, host.url, env=environment)


def models(environment: Environment) -> dict[str, Any]:
    listed = json.loads(caravan("models", "list", "--json", env=environment).stdout)
    return {entry["model"]: entry for entry in listed}


def operation(environment: Environment, number: int = 1) -> dict[str, Any]:
    (shown,) = json.loads(caravan("models", "operations", str(number), "--json", env=environment).stdout)
    return dict(shown)


def test_a_pull_that_breaks_off_on_one_of_three_hosts_goes_on_until_all_have_it(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...]
) -> None:
    add_all(hosts, environment)

    done = caravan("models", "pull", PULLED.name, env=environment)

    assert f"{PULLED.name} on gpu-2: the connection was cut" in done.stderr
    assert "it is tried again at" in done.stderr
    assert "operation 1: 3 of 3 done" in done.stderr
    entry = models(environment)[PULLED.name]
    assert [host["host"] for host in entry["hosts"]] == ["gpu-1", "gpu-2", "gpu-3"]
    assert not entry["drift"]
    pulled = [host.state()["pulled_bytes"] for host in hosts]
    assert pulled[1] == pulled[0]


def test_a_command_that_was_killed_leaves_an_operation_that_caravan_up_goes_on_with(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...], processes: Processes
) -> None:
    add_all(hosts, environment)
    pulling = processes.start([*CARAVAN, "models", "pull", PULLED.name], name="pull", env=environment)
    wait_until(
        lambda: any(host.state()["pulled_bytes"] for host in hosts), description="some bytes came", timeout=60
    )
    pulling.kill()
    left = operation(environment)

    processes.start([*CARAVAN, "up"], name="up", env=environment)
    wait_until(lambda: operation(environment)["state"] == "done", description="up ends it", timeout=90)

    assert left["state"] == "open"
    assert set(models(environment)) == {HERE.name, PULLED.name}
    assert [host.state()["pulled_bytes"] for host in hosts] == [hosts[0].state()["pulled_bytes"]] * 3


def test_jobs_whose_model_was_removed_wait_for_it_with_the_reason_and_are_answered_after_the_pull(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...], processes: Processes, tmp_path: Path
) -> None:
    add_all(hosts, environment)
    file = write_jobs(tmp_path / "jobs.jsonl", 12, model=HERE.name)
    caravan("submit", str(file), env=environment)

    refused = caravan("models", "rm", HERE.name, env=environment, check=False)
    caravan("models", "rm", HERE.name, "--force", env=environment)
    processes.start([*CARAVAN, "up"], name="up", env=environment)
    wait_until(
        lambda: (
            json.loads(caravan("status", "@last", "--json", env=environment, check=False).stdout)[
                "counts"
            ].get("held")
            == 12
        ),
        description="the jobs are held",
        timeout=60,
    )
    held = json.loads(caravan("jobs", "@last", "--json", env=environment).stdout)
    caravan("models", "pull", HERE.name, "--host", "gpu-1", env=environment)
    wait_until(
        lambda: (
            json.loads(caravan("status", "@last", "--json", env=environment, check=False).stdout)["counts"]
            == {"succeeded": 12}
        ),
        description="the jobs are answered",
        timeout=60,
    )

    assert refused.returncode == 1
    assert f"{HERE.name} is in use: 12 " in refused.stderr
    assert {job["code"] for job in held} == {"model_missing"}
    assert "caravan models rm removed it from gpu-1, gpu-2, gpu-3" in held[0]["message"]


def test_an_address_that_was_not_added_is_cared_for_and_forgotten(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...]
) -> None:
    done = caravan("models", "cp", HERE.name, "twin:1b", "--host", hosts[0].url, "--json", env=environment)

    assert json.loads(done.stdout)["state"] == "done"
    assert caravan("models", "operations", env=environment).stdout.count("copy done") == 1


def test_on_a_fleet_the_worker_of_each_host_does_it(fleet: Fleet) -> None:
    fleet.start_all()

    copied = fleet.run("models", "cp", simulator.demo_models()[0].name, "twin:1b", "--json")
    removed = fleet.run("models", "rm", "twin:1b", "--host", "gpu-1", "--json")

    assert {part["state"] for part in json.loads(copied.stdout)["parts"]} == {"done"}
    assert json.loads(removed.stdout)["state"] == "done"
    listed = json.loads(fleet.run("models", "list", "twin:1b", "--json").stdout)
    assert "gpu-1" not in [host["host"] for host in listed[0]["hosts"]]
