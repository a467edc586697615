"""A fleet of real processes on a real Redis and a real PostgreSQL, its times at a tenth."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.acceptance import warm
from tests.processes import CARAVAN, Processes, Started
from tests.waiting import wait_until
from worker.errors import NotFound
from worker.storage.batches import find_batch
from worker.storage.check import check_database
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database

MODELS = tuple(model.name for model in simulator.demo_models())

TENTH = {
    "CARAVAN_LEASE_SECONDS": "9",
    "CARAVAN_RENEW_SECONDS": "2",
    "CARAVAN_CANCEL_POLL_SECONDS": "0.2",
    "CARAVAN_TICK_SECONDS": "0.5",
    "CARAVAN_CHORES_SECONDS": "1",
    "CARAVAN_LINGER_SECONDS": "0.5",
    "CARAVAN_IDLE_POLL_SECONDS": "0.05",
}


def caravan(
    *arguments: str, env: Mapping[str, str], check: bool = True, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, as a person would."""
    if warm.fits(env):
        done = warm.run(list(arguments), env, cwd, timeout=120)
    else:
        done = subprocess.run(
            [*CARAVAN, *arguments],
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=cwd,
        )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def write_jobs(path: Path, jobs: int, **fields: Any) -> Path:
    """A file of jobs over all models in interleaved order."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(jobs):
            job = {"custom_id": f"c{n}", "model": MODELS[n % len(MODELS)], "prompt": f"Say {n}.", **fields}
            file.write(json.dumps(job) + "\n")
    return path


@dataclass
class Fleet:
    """What a test of a fleet needs."""

    env: dict[str, str]
    processes: Processes
    hosts: tuple[simulator.RunningHost, ...]
    database: Database

    def start(self, *arguments: str) -> Started:
        return self.processes.start([*CARAVAN, *arguments], name=arguments[0], env=self.env)

    def start_all(self) -> dict[str, Started]:
        """control, beat and a worker for each host."""
        started = {name: self.start(name) for name in ("control", "beat")}
        started |= {host.name: self.start("worker", "--host", host.name) for host in self.hosts}
        return started

    def run(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return caravan(*arguments, env=self.env, check=check)

    def status(self, batch: str = "@last") -> dict[str, Any]:
        """What ``caravan status BATCH --json`` says, without a process for each look; empty before there is one."""
        with self.database.read() as conn:
            try:
                progress = batch_progress(conn, find_batch(conn, batch).id)
            except NotFound:
                return {"state": "", "done": 0, "counts": {}}
        counts = {str(state): n for state, n in progress.counts.items()}
        return {"state": str(progress.batch.state), "done": progress.done, "counts": counts}

    def wait_finished(self, batch: str = "@last", timeout: float = 90) -> dict[str, Any]:
        def finished() -> dict[str, Any]:
            status = self.status(batch)
            return status if status["state"] == "finished" else {}

        return wait_until(finished, description=f"batch {batch} finishes", timeout=timeout, interval=0.1)

    def results(self, batch: str = "@last") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("results", batch).stdout.splitlines()]


def an_environment(home: Path) -> dict[str, str]:
    """What a person's shell would have, and the fleet's times."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
    return {**kept, **TENTH, "CARAVAN_HOME": str(home), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a person's shell would have, with a home of its own; its database keeps its promises in the end."""
    yield an_environment(tmp_path / "home")
    file = tmp_path / "home" / "caravan.db"
    if file.exists():
        database = open_database(f"sqlite:///{file}")
        keeps_its_promises(database)
        database.close()


def keeps_its_promises(database: Database) -> None:
    """What ``caravan db check`` finds; also while the processes of the test go on."""
    broken = [one for one in check_database(database, now=database.clock().now()) if one.broken]
    assert not broken, broken


@pytest.fixture
def hosts() -> Iterator[tuple[simulator.RunningHost, ...]]:
    """Two hosts that hold one model each."""
    with simulator.running(*two_hosts()) as running:
        yield running


def two_hosts() -> list[simulator.HostSettings]:
    """Their settings."""
    return [
        simulator.HostSettings(
            name=name, models=simulator.demo_models(), max_loaded_models=1, num_parallel=2, time_scale=0.02
        )
        for name in ("gpu-1", "gpu-2")
    ]


@pytest.fixture
def fleet(
    environment: dict[str, str],
    processes: Processes,
    hosts: tuple[simulator.RunningHost, ...],
    redis_url: str,
    migrated_postgres_url: str,
) -> Iterator[Fleet]:
    """Redis, PostgreSQL and two hosts that are known to the database; no worker yet."""
    with a_fleet(environment, processes, hosts, redis_url, migrated_postgres_url) as ready:
        yield ready


@contextmanager
def a_fleet(
    environment: dict[str, str],
    processes: Processes,
    hosts: tuple[simulator.RunningHost, ...],
    redis_url: str,
    postgres_url: str,
) -> Iterator[Fleet]:
    """What ``fleet`` is, of these parts. Its database keeps its promises in the end."""
    env = {**environment, "CARAVAN_BROKER_URL": redis_url, "CARAVAN_DATABASE_URL": postgres_url}
    database = open_database(postgres_url)
    ready = Fleet(env, processes, hosts, database)
    for host in hosts:
        ready.run("hosts", "add", host.name, host.url, "--slots", "2")
    yield ready
    keeps_its_promises(database)
    database.close()


def state_of(url: str) -> dict[str, Any]:
    """A simulated host's own count of what happened."""
    with urllib.request.urlopen(f"{url}/simulator/state", timeout=10) as answer:
        return json.load(answer)  # type: ignore[no-any-return]
