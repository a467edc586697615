"""``--pull-missing``: a model that no host has is pulled while its jobs wait, where the fleet allows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, Fleet, caravan, write_jobs
from tests.processes import CARAVAN, Processes
from tests.waiting import wait_until

Environment = dict[str, str]

HERE, PULLED = simulator.demo_models()[0], simulator.demo_models()[1]


@pytest.fixture
def hosts() -> Iterator[tuple[simulator.RunningHost, ...]]:
    """Two hosts that have the first model; the registry has the second, and not the third."""
    settings = [
        simulator.HostSettings(
            name=name, models=(HERE,), pullable=(PULLED,), num_parallel=2, time_scale=0.001
        )
        for name in ("gpu-1", "gpu-2")
    ]
    with simulator.running(*settings) as running:
        yield running


def one_model(path: Path, model: str, jobs: int = 4) -> Path:
    return write_jobs(path, jobs, model=model)


def test_what_the_registry_has_is_pulled_onto_each_host_and_answers(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...], tmp_path: Path
) -> None:
    file = one_model(tmp_path / "j.jsonl", PULLED.name)
    places = [argument for host in hosts for argument in ("--host", host.url)]

    refused = caravan("run", str(file), *places, env=environment, check=False)
    done = caravan("run", str(file), *places, "--pull-missing", env=environment)

    assert refused.returncode == 2
    assert f"no host has the model '{PULLED.name}'" in refused.stderr
    assert f"pulls {PULLED.name} onto " in done.stderr
    listed = caravan("models", "operations", env=environment).stdout
    assert listed.count(f"{PULLED.name} on 127.0.0.1") == listed.count("pull done") == 2
    assert caravan("results", "@last", env=environment).stdout.count('"succeeded"') == 4


def test_jobs_of_what_no_registry_has_are_held_with_the_reason(
    environment: Environment, hosts: tuple[simulator.RunningHost, ...], tmp_path: Path
) -> None:
    file = one_model(tmp_path / "j.jsonl", MODELS[2])

    done = caravan("run", str(file), "--host", hosts[0].url, "--pull-missing", env=environment, check=False)

    assert done.returncode == 3
    assert "held with model_missing: no host has" in done.stderr.replace("\n", " ")
    assert (
        f"caravan models pull {MODELS[2]} --host {hosts[0].url.removeprefix('http://')} brings it"
        in done.stderr
    )
    assert "Once a host has the model, the same command goes on." in done.stderr
    said = caravan("explain", "@last", env=environment).stdout
    assert "failed: pull model manifest: file does not exist" in said.replace("\n", " ")
    assert hosts[0].state()["requests"] == 0


def test_what_is_submitted_beside_up_is_pulled_and_served(
    environment: Environment,
    hosts: tuple[simulator.RunningHost, ...],
    processes: Processes,
    tmp_path: Path,
) -> None:
    up = processes.start([*CARAVAN, "up", "--host", hosts[0].url], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")

    done = caravan(
        "run", str(one_model(tmp_path / "j.jsonl", PULLED.name)), "--pull-missing", env=environment
    )

    assert "this run joins it" in done.stderr
    assert caravan("results", "@last", env=environment).stdout.count('"succeeded"') == 4
    up.terminate()
    assert up.wait() == 0


def test_a_fleet_pulls_where_it_is_allowed_and_says_so_where_there_is_nothing_to_pull(
    fleet: Fleet, tmp_path: Path
) -> None:
    file = one_model(tmp_path / "j.jsonl", PULLED.name)
    fleet.start_all()

    forbidden = fleet.run("submit", str(file), "--pull-missing", check=False)
    fleet.env["CARAVAN_ALLOW_PULL"] = "true"
    fleet.run("submit", str(file), "--pull-missing")

    assert forbidden.returncode == 1
    assert "CARAVAN_ALLOW_PULL=true does" in forbidden.stderr
    assert fleet.wait_finished()["counts"] == {"succeeded": 4}

    done = fleet.run("submit", str(one_model(tmp_path / "other.jsonl", MODELS[2])), "--pull-missing")

    assert f"pulls {MODELS[2]} onto gpu-1, gpu-2, and the jobs wait for it" in done.stderr.replace("\n", " ")
    batch = done.stdout.strip()
    wait_until(
        lambda: fleet.status(batch)["counts"] == {"held": 4}, description="jobs are held", interval=0.1
    )
    said = fleet.run("explain", batch).stdout
    assert "pull on gpu-1 failed: pull model manifest: file does not exist" in said
    assert "pull on gpu-2 failed" in said
