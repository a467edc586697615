"""``python -m benchmarks.cancelling``: a batch of a million queued jobs is cancelled while others work.

A real PostgreSQL and Redis, ``control`` and ``beat`` as on a fleet, and a stand-in for the worker of another batch: every fifth
of a second it renews its serving lease and the lease of a running job, and claims and finishes another job. The command
``caravan cancel`` is timed from start to exit. When a third of the rows have followed, ``control`` is killed with
SIGKILL and started again. It says how long the command took, how long the rows took, and the longest that anybody else
waited. With ``--check`` it fails where the command took more than two seconds, another's write more than one, or a job was left.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from benchmarks.places import Place, fresh_place, open_servers
from benchmarks.processes import clean_environ, group
from tests.integration.storage.conftest import Store, new_job
from tests.waiting import wait_until
from worker.domain.hosts import Host
from worker.maintenance.promote import promote_batches
from worker.storage.batches import create_batch, seal_batch
from worker.storage.check import check_database
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host
from worker.storage.jobs import insert_jobs
from worker.storage.leases import renew, renew_host, take_host
from worker.storage.migrate import upgrade
from worker.storage.operations import open_operation

CHUNK = 20_000
PAUSE = 0.2
MOST_COMMAND, MOST_WAIT = 2.0, 1.0
PATIENCE = 3600.0
TOKEN = "t1"


@dataclass
class Waits:
    """Seconds that each write of the other batch's worker took, by what it was."""

    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"heartbeat": [], "claim": [], "finish": []}
    )
    errors: list[str] = field(default_factory=list)

    def add(self, what: str, write: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            write()
        except Exception as error:
            self.errors.append(f"{what}: {type(error).__name__}: {error}")
        self.seconds[what].append(time.monotonic() - began)


@contextlib.contextmanager
def working(url: str, batch: int, waits: Waits) -> Iterator[None]:
    """Do what the worker of another batch does, until the end of the block."""
    database, ended = open_database(url), threading.Event()
    clock, store = database.clock(), Store(database)

    def work() -> None:
        [running] = store.claim(1, batch_id=batch)
        while not ended.wait(PAUSE):
            store.now = clock.now()
            until = store.now + timedelta(seconds=90)
            waits.add("heartbeat", lambda until=until: _beat(database, running.id, until))  # type: ignore[misc]
            claimed: list[object] = []
            waits.add("claim", lambda claimed=claimed: claimed.extend(store.claim(1, batch_id=batch)))  # type: ignore[misc]
            for job in claimed:
                waits.add("finish", lambda job=job: store.finish(job))  # type: ignore[misc]

    thread = threading.Thread(target=work, name="other")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        database.close()


def _beat(database: Database, job: int, until: object) -> None:
    now = database.clock().now()
    with database.write() as conn:
        renew_host(conn, host="gpu-1", token=TOKEN, now=now, until=until)  # type: ignore[arg-type]
    with database.write() as conn:
        renewed = renew(conn, token=TOKEN, job_ids=[job], lease_until=until)  # type: ignore[arg-type]
    assert renewed.job_ids == {job}


def fill(database: Database, jobs: int, others: int) -> tuple[int, int]:
    """A batch of ``jobs`` queued jobs, and another; their numbers."""
    clock, batches = database.clock(), []
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://127.0.0.1:9"), now=clock.now())
        take_host(
            conn, host="gpu-1", token=TOKEN, now=clock.now(), until=clock.now() + timedelta(seconds=600)
        )
    for name, size in (("large", jobs), ("other", others)):
        with database.write() as conn:
            batch, _ = create_batch(conn, key=name, name=name, source=None, now=clock.now())
        for numbers in _chunks(size):
            with database.write() as conn:
                insert_jobs(
                    conn, batch.id, [new_job(number, request={}) for number in numbers], now=clock.now()
                )
        with database.write() as conn:
            seal_batch(conn, batch.id, jobs=size, now=clock.now())
        promote_batches(database, [batch.id], clock)
        batches.append(batch.id)
    return batches[0], batches[1]


def _chunks(size: int) -> Iterator[range]:
    for start in range(1, size + 1, CHUNK):
        yield range(start, min(start + CHUNK, size + 1))


def run_command(environ: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run ``caravan`` as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "worker", *words],
        env={**clean_environ(), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def left_of(database: Database, batch: int) -> int:
    """Rows that have not followed."""
    with database.read() as conn:
        operation = open_operation(conn, batch)
    return 0 if operation is None else max(1, operation.total - operation.done)


def measure(place: Place, jobs: int) -> dict[str, float]:
    """One run; the figures by their names."""
    upgrade(place.url)
    database, waits = open_database(place.url), Waits()
    environ = {
        "CARAVAN_DATABASE_URL": place.url,
        "CARAVAN_BROKER_URL": place.broker,
        "CARAVAN_HOME": str(place.folder / "home"),
    }
    began = time.monotonic()
    large, other = fill(database, jobs, 100_000)
    figures = {"jobs": float(jobs), "filled, s": time.monotonic() - began}
    with (
        contextlib.closing(database),
        group("control", place.folder) as control,
        group("beat", place.folder) as beat,
        working(place.url, other, waits),
    ):
        first = control.start("worker", "control", environ=environ)
        beat.start("worker", "beat", environ=environ)
        time.sleep(20 * PAUSE)  # what others wait where nobody cancels
        before = {what: len(seconds) for what, seconds in waits.seconds.items()}
        figures["longest before, s"] = max(max(seconds) for seconds in waits.seconds.values())

        began = time.monotonic()
        run_command(environ, "status", str(large))
        figures["status, for comparison, s"] = time.monotonic() - began
        began, spent = time.monotonic(), _cpu_of_children()
        command = run_command(environ, "cancel", str(large), "--yes", "--json")
        figures["command, s"] = time.monotonic() - began
        figures["command, CPU s"] = _cpu_of_children() - spent
        print(command.stdout.strip(), command.stderr.strip(), flush=True)
        assert command.returncode == 0 and json.loads(command.stdout)["left"], command.stderr

        wait_until(
            lambda: left_of(database, large) < jobs * 2 / 3,
            description="a third of the rows has followed",
            timeout=PATIENCE,
            interval=0.2,
        )
        os.killpg(first.pid, signal.SIGKILL)
        figures["left when control was killed"] = float(left_of(database, large))
        time.sleep(2)
        control.start("worker", "control", environ=environ)
        wait_until(
            lambda: left_of(database, large) == 0,
            description="all rows have followed",
            timeout=PATIENCE,
            interval=0.2,
        )
        figures["all rows, s"] = time.monotonic() - began
        time.sleep(5 * PAUSE)
        for what, seconds in waits.seconds.items():
            during = sorted(seconds[before[what] :])
            figures[f"{what}: number"] = float(len(during))
            figures[f"{what}: median, s"] = during[len(during) // 2]
            figures[f"{what}: longest, s"] = during[-1]
        with database.read() as conn:
            found = "SELECT count(*) FROM jobs WHERE batch_id = :batch AND state <> 'cancelled'"
            figures["jobs left"] = float(conn.scalar(text(found), {"batch": large}) or 0)
        broken = [one for one in check_database(database, now=database.clock().now()) if one.broken]
        figures["errors"] = float(len(waits.errors) + len(broken))
        for line in (*waits.errors, *map(str, broken)):
            print(line, flush=True)
    return figures


def failures(figures: dict[str, float]) -> list[str]:
    """What is worse than it may be."""
    longest = max(value for name, value in figures.items() if name.endswith(": longest, s"))
    return [
        message
        for message, wrong in (
            (f"the command took {figures['command, s']:.2f} s", figures["command, s"] > MOST_COMMAND),
            (f"another's write took {longest:.2f} s", longest > MOST_WAIT),
            (f"{figures['jobs left']:.0f} jobs were left", figures["jobs left"] > 0),
            (f"{figures['errors']:.0f} errors", figures["errors"] > 0),
        )
        if wrong
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_servers(postgres=True) as servers,
        fresh_place("postgresql", servers, Path(scratch)) as place,
    ):
        figures = measure(place, given.jobs)
    for name, value in figures.items():
        print(f"{name:32} {value:>12,.3f}".rstrip("0").rstrip("."))
    wrong = failures(figures) if given.check else []
    for message in wrong:
        print(f"FAILED: {message}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
