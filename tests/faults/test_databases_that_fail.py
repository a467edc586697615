"""A PostgreSQL that crashes, ends its connections, is gone for longer than a lease, or is full, and a worker's disk that is
full as well: what hosts generated meanwhile is stored, and generated once."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import simulator
from benchmarks.soak.servers import PostgresServer
from tests.acceptance.conftest import Fleet, caravan, keeps_its_promises, write_jobs
from tests.processes import CARAVAN, Processes
from tests.servers.children import unprivileged
from tests.waiting import wait_until
from worker.storage.engine import open_database

pytestmark = pytest.mark.thorough

JOBS = 400


@pytest.fixture
def migrated_postgres_url(own_postgres_url: str) -> str:
    """The fleet's own, to be broken."""
    return own_postgres_url


def completed(fleet: Fleet) -> int:
    return sum(int(host.state()["completed"]) for host in fleet.hosts)


def submit(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run("submit", str(write_jobs(tmp_path / "jobs.jsonl", JOBS, options={"num_predict": 60})))


def more_than(fleet: Fleet, jobs: int) -> None:
    wait_until(lambda: completed(fleet) > jobs, description=f"the hosts answer more than {jobs}")


def each_is_answered_once(fleet: Fleet) -> None:
    assert fleet.wait_finished()["counts"] == {"succeeded": JOBS}
    assert completed(fleet) == JOBS, "an answer was generated twice"


@pytest.mark.fault(11)
def test_a_database_that_crashes_while_hosts_generate_costs_no_answer(
    fleet: Fleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    fleet.start_all()
    submit(fleet, tmp_path)

    for jobs in (40, 160):
        more_than(fleet, jobs)
        own_postgres.stop(crash=True)
        own_postgres.start()

    each_is_answered_once(fleet)


@pytest.mark.fault(11)
def test_a_database_that_is_gone_for_longer_than_a_lease_costs_no_answer(
    fleet: Fleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    started = fleet.start_all()
    submit(fleet, tmp_path)
    more_than(fleet, 40)

    own_postgres.stop(crash=True)
    end = time.monotonic() + 12
    wait_until(lambda: time.monotonic() > end, description="a lease and more has passed")
    own_postgres.start()

    each_is_answered_once(fleet)
    assert all(process.running for process in started.values())


@pytest.mark.fault(11)
def test_connections_that_are_ended_again_and_again_cost_no_answer(
    fleet: Fleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    fleet.start_all()
    submit(fleet, tmp_path)

    for jobs in range(20, 320, 25):
        more_than(fleet, jobs)
        own_postgres.terminate_backends()

    each_is_answered_once(fleet)


@pytest.mark.fault(4)
@pytest.mark.fault(11)
def test_a_worker_that_is_told_to_stop_while_the_database_is_away_leaves_its_answers_in_the_spool(
    fleet: Fleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    started = fleet.start_all()
    submit(fleet, tmp_path)
    more_than(fleet, 20)

    own_postgres.stop(crash=True)
    for name in ("gpu-1", "gpu-2"):
        started[name].terminate()
    for name in ("gpu-1", "gpu-2"):
        assert started[name].wait(timeout=60) == 0
    own_postgres.start()
    for name in ("gpu-1", "gpu-2"):
        fleet.start("worker", "--host", name)

    each_is_answered_once(fleet)


@pytest.mark.fault(11)
@pytest.mark.fault(30)
def test_answers_that_fit_on_no_disk_wait_in_memory_while_the_database_is_gone(
    fleet: Fleet, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    for name in ("control", "beat"):
        fleet.start(name)
    # no file of theirs, log and spool, grows beyond these blocks: what is more fails as on a full disk
    worker = ["sh", "-c", 'ulimit -f 24; exec "$@"', "sh", *CARAVAN, "worker", "--host"]
    workers = [
        fleet.processes.start([*worker, host.name], name="worker", env=fleet.env) for host in fleet.hosts
    ]
    submit(fleet, tmp_path)
    more_than(fleet, 60)

    own_postgres.stop(crash=True)
    spools = [Path(fleet.env["CARAVAN_HOME"]) / "spool" / f"{host.name}.jsonl" for host in fleet.hosts]

    def full() -> bool:
        return any(spool.exists() and spool.stat().st_size == 24 * 512 for spool in spools)

    wait_until(full, description="a spool takes no more")
    own_postgres.start()

    each_is_answered_once(fleet)
    assert all(one.running for one in workers)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tempfile.mkdtemp(prefix="caravan-small-", dir="/tmp")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        Path(folder).rmdir()
        pytest.skip("only root may mount a small file system")
    yield Path(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)
    Path(folder).rmdir()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free on it."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as filler:
        for piece in (2**20, 2**12, 1):
            try:
                while filler.write(bytes(piece)) == piece:
                    pass
            except OSError:
                continue
    yield
    file.unlink()


@pytest.mark.fault(12)
def test_a_postgresql_without_room_stops_the_claims_and_goes_on_when_there_is_some(
    own_postgres: PostgresServer, own_postgres_url: str, small_disk: Path, fleet: Fleet, tmp_path: Path
) -> None:
    user, place = unprivileged(), small_disk / "space"
    assert user is not None
    place.mkdir()
    shutil.chown(place, user.pw_uid, user.pw_gid)
    name = own_postgres_url.rpartition("/")[2]
    with psycopg.connect(own_postgres.url, autocommit=True) as conn:
        fleet.database.close()
        conn.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        conn.execute(f"ALTER DATABASE {name} SET TABLESPACE {name}")
    started = fleet.start_all()
    submit(fleet, tmp_path)
    more_than(fleet, 20)

    with filled(small_disk):
        wait_until(
            lambda: any("No space left" in started[host.name].output() for host in fleet.hosts),
            description="it is full",
        )

    each_is_answered_once(fleet)


@pytest.mark.fault(12)
@pytest.mark.fault(30)
def test_an_up_whose_disk_has_no_room_for_database_and_spool_goes_on_when_there_is_some(
    environment: dict[str, str],
    hosts: tuple[simulator.RunningHost, ...],
    processes: Processes,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    environment["CARAVAN_HOME"] = str(small_disk / "home")
    up = processes.start([*CARAVAN, "up", "--host", hosts[0].url], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 60})
    caravan("submit", str(file), env=environment)
    wait_until(lambda: hosts[0].state()["completed"] > 20, description="it works")

    with filled(small_disk):
        up.wait_for("is full")

    def finished() -> bool:
        told = json.loads(caravan("status", "@last", "--json", env=environment).stdout)
        return bool(told["state"] == "finished")

    wait_until(finished, description="it is finished", timeout=90)
    lines = [json.loads(line) for line in caravan("results", "@last", env=environment).stdout.splitlines()]
    assert [line["state"] for line in lines] == ["succeeded"] * 300
    assert hosts[0].state()["completed"] == 300, "an answer was generated twice"
    assert up.running
    database = open_database(f"sqlite:///{small_disk / 'home' / 'caravan.db'}")
    keeps_its_promises(database)
    database.close()
