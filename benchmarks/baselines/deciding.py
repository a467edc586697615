"""The decision of ``benchmarks.deciding`` as the version eb9b2f8 makes it; and what changes between two decisions, for both.

Run by ``benchmarks.deciding --beside PYTHON`` with the Python of that version's environment, whose modules it takes.
"""

import tempfile
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

HOSTS, KEYS, JOBS = 50, 200, 4
"""Hosts, runner keys, and jobs of each key."""
ROUNDS = 60
MOVED = 10
"""Other hosts that claim a job between two decisions."""


def move(conn: Any, number: int, now: str) -> None:
    """What ``MOVED`` other hosts change by a claim, in the tables that a decision reads. ``now`` as SQLite stores it."""
    for place in range(MOVED):
        host = 1 + (MOVED * number + place) % (HOSTS - 1)
        key = f"m{host}:1 num_ctx=8192"
        conn.exec_driver_sql("UPDATE hosts SET last_claim_at = ? WHERE name = ?", (now, f"gpu-{host}"))
        conn.exec_driver_sql(
            "INSERT INTO served (runner_key, priority, at) VALUES (?, 2, ?) "
            "ON CONFLICT (runner_key, priority) DO UPDATE SET at = excluded.at",
            (key, now),
        )
        for state, jobs in (("queued", 1 - 2 * (number % 2)), ("running", 2 * (number % 2) - 1)):
            conn.exec_driver_sql(
                "INSERT INTO count_deltas (batch_id, runner_key, priority, state, jobs) VALUES (1, ?, 2, ?, ?)",
                (key, state, jobs),
            )


def seconds_of(decide: Any, database: Any, paces_add: Any) -> list[float]:
    """Seconds of CPU of each decision. Between two of them a job of this host ends, and others claim."""
    seconds = []
    for number in range(ROUNDS):
        with database.write() as conn:
            move(conn, number, database.clock().now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        paces_add("m0:1 num_ctx=8192", 5.0)
        began = time.thread_time()
        decide()
        seconds.append(time.thread_time() - began)
    return seconds


def main() -> None:
    """Print the seconds of CPU of each decision, one a line."""

    from worker.domain.hosts import Host, HostModel
    from worker.domain.jobs import NewJob, Priority
    from worker.policy.choose import choose
    from worker.storage.batches import create_batch, seal_batch
    from worker.storage.engine import open_database
    from worker.storage.hosts import add_host, record_probe, record_resident
    from worker.storage.jobs import insert_jobs
    from worker.storage.migrate import upgrade

    older = {name: import_module(f"worker.services.{name}") for name in ("pace", "sight", "submit")}
    take_host = import_module("worker.storage.claims").take_host
    with tempfile.TemporaryDirectory(prefix="caravan-deciding-") as folder:
        url = f"sqlite:///{Path(folder) / 'caravan.db'}"
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
        older["submit"].promote(database, database.clock())
        paces = older["pace"].Paces("gpu-0")
        host = Host("gpu-0", "http://gpu-0:11434", 4)
        sight = older["sight"].Sight(database, host, paces, clock=database.clock(), batch_id=None)
        for seconds in seconds_of(lambda: choose(sight.facts({}, None).facts), database, paces.served):
            print(seconds)
        database.close()


if __name__ == "__main__":
    main()
