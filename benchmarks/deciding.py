"""How long does a decision take with everything that it reads? At 50 hosts that serve and 200 runner keys, on SQLite.

``python -m benchmarks.deciding`` takes some seconds. The database holds jobs of 200 models, each on all hosts; one host reads
its facts and asks the policy, as the serving loop does. Before each decision a job of that host ends, and ten other hosts
claim. ``--beside PYTHON`` does the same with an older version (eb9b2f8), whose Python is named, in processes that take
turns; with ``--check`` it exits 1 where a decision takes more than a fifth of the other's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from benchmarks.baselines import deciding
from benchmarks.baselines.deciding import HOSTS, JOBS, KEYS, seconds_of
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import NewJob, Priority
from worker.domain.timings import Timings
from worker.maintenance.promote import promote
from worker.ollama.client import OllamaHost
from worker.policy.choose import choose
from worker.serving.history import HostHistory
from worker.serving.machine import Machine
from worker.serving.pace import Paces
from worker.serving.session import HostSession, ServingContext
from worker.serving.view import HostView
from worker.storage.batches import create_batch, seal_batch
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host, record_probe, record_resident
from worker.storage.jobs import insert_jobs
from worker.storage.leases import take_host
from worker.storage.migrate import upgrade

PAIRS = 5
"""Processes of each version that are compared."""
TARGET = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beside", metavar="PYTHON", help="Python of the environment of eb9b2f8")
    parser.add_argument("--check", action="store_true", help="exit 1 where the target is missed")
    options = parser.parse_args()
    if options.beside is None:
        with tempfile.TemporaryDirectory(prefix="caravan-deciding-") as folder:
            database = filled(Path(folder))
            seconds = decision_seconds(database)
            database.close()
        print(*seconds, sep="\n")
        return 0
    pairs = [
        (median_of(sys.executable, "-m", "benchmarks.deciding"), median_of(options.beside, deciding.__file__))
        for _ in range(PAIRS)
    ]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"a decision with all that it reads, {HOSTS} hosts and {KEYS} runner keys: {ours:.1f} ms, {theirs:.1f} ms with the "
        f"other version: {ratio:.2f} times as long, at most {TARGET:.2f}"
    )
    return 1 if options.check and ratio > TARGET else 0


def median_of(*command: str) -> float:
    """The median of the seconds that a process prints."""
    environ = {**os.environ, "PYTHONSAFEPATH": "1"} if command[1] != "-m" else dict(os.environ)
    lines = subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.split()
    return statistics.median(map(float, lines))


def filled(folder: Path) -> Database:
    """Hosts that serve, each with a model loaded, and queued jobs of every runner key."""
    url = f"sqlite:///{folder / 'caravan.db'}"
    upgrade(url)
    database = open_database(url)
    now = database.clock().now()
    models = [HostModel(f"m{n}:1", f"d{n}", False, 8192) for n in range(KEYS)]
    with database.write() as conn:
        for n in range(HOSTS):
            name = f"gpu-{n}"
            add_host(conn, Host(name, f"http://{name}:11434", 4), now=now)
            record_probe(conn, name, version="0.24.0", models=models, now=now)
            take_host(conn, host=name, token=name, now=now, until=now + timedelta(hours=1))
            record_resident(conn, name, f"m{n}:1 num_ctx=8192", now=now)
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=now)
        jobs = [
            NewJob(
                seq=1 + n,
                custom_id=str(n),
                model=f"m{n % KEYS}:1",
                runner_key=f"m{n % KEYS}:1 num_ctx=8192",
                priority=Priority.NORMAL,
                prompt="x",
                request={},
            )
            for n in range(KEYS * JOBS)
        ]
        insert_jobs(conn, batch.id, jobs, now=now)
        seal_batch(conn, batch.id, jobs=len(jobs), now=now)
    promote(database, clock=database.clock())
    return database


def decision_seconds(database: Database) -> list[float]:
    """Seconds of CPU of each round: facts, and the choice; so that a busy machine adds little."""
    host = Host("gpu-0", "http://gpu-0:11434", 4)
    context = ServingContext(database, host, OllamaHost(host.url), database.clock(), Timings())
    history = HostHistory(Paces(host.name))
    view = HostView(
        HostSession(context, host.name), Machine(HostSession(context, host.name), history), history.paces
    )
    return seconds_of(lambda: choose(view.facts({}).facts), database, history.paces.add_job)


if __name__ == "__main__":
    raise SystemExit(main())
