"""How long does a decision take with everything that it reads? At 50 hosts that serve and 200 runner keys, on SQLite.

``python -m benchmarks.deciding`` takes some seconds. The database holds jobs of 200 models, each on all hosts; one host reads
its facts and asks the policy, as the serving loop does for each free slot.
"""

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

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
from worker.storage.claims import take_host
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host, record_probe, record_resident
from worker.storage.jobs import insert_jobs
from worker.storage.migrate import upgrade

HOSTS, KEYS, JOBS = 50, 200, 4
"""Hosts, runner keys, and jobs of each key."""
ROUNDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caravan-deciding-") as folder:
        database = filled(Path(folder))
        seconds = decision_seconds(database)
        database.close()
    print(
        f"a decision with all that it reads, {HOSTS} hosts and {KEYS} runner keys: "
        f"{1000 * min(seconds):.1f} ms at best, median {1000 * statistics.median(seconds):.1f} ms"
    )
    return 0


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
    seconds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        choose(view.facts({}).facts)
        seconds.append(time.thread_time() - began)
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
