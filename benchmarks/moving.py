"""What do a check, a backup, a restore and a move cost at a million answered jobs? Seconds, and memory at its most.

``python -m benchmarks.moving`` takes some ten minutes and 6 GB of disk. Each step is the command as people give it, in a
process of its own; a copy of the file with ``sqlite3`` alone stands beside them, since the disk is most of it.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from tests.servers import postgres_server
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

JOBS = 1_000_000
FIRST = 1 << 24
"""The id before that of the first batch's first job."""
_AT = "2026-11-23T02:00:00.000000Z"

_FILL = (
    (
        "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at, finished_at) "
        "VALUES ('k', 'reviews', 'finished', :jobs, :at, :at, :at)"
    ),
    (
        "INSERT INTO jobs (id, batch_id, custom_id, model, state, priority, runner_key, prefix_group, estimate, submitted_at, "
        "attempt, max_attempts, finished_at) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :jobs) "
        "SELECT :first + n, 1, 'c' || n, 'm:1', 'succeeded', 2, 'm:1', 0, 100, :at, 1, 3, :at FROM n"
    ),
    (
        "INSERT INTO payloads (job_id, prompt, request, metadata) "
        "SELECT id, 'Review ' || id || ': ' || hex(randomblob(200)), '{}', '{\"sku\": ' || id || '}' FROM jobs"
    ),
    (
        "INSERT INTO results (job_id, batch_id, custom_id, model, state, host, answer, prompt_tokens, output_tokens, "
        "tokens_per_second, total_seconds, eval_seconds, attempts, finished_at, day, context) "
        "SELECT id, 1, custom_id, model, 'succeeded', 'gpu-1', hex(randomblob(300)), 120, 80, 40.0, 2.5, 2.0, 1, :at, "
        "'2026-11-23', randomblob(400) FROM jobs"
    ),
    (
        "INSERT INTO attempts (job_id, attempt, host, started_at, ended_at, outcome, charged) "
        "SELECT id, 1, 'gpu-1', :at, :at, 'succeeded', 1 FROM jobs"
    ),
    "INSERT INTO numbered_results (number, job_id, batch_id) SELECT id - :first, id, 1 FROM jobs",
    "UPDATE numbering SET last = :jobs",
    "INSERT INTO counts (batch_id, runner_key, priority, state, jobs) VALUES (1, 'm:1', 2, 'succeeded', :jobs)",
)


def fill(home: Path, jobs: int) -> Path:
    """An embedded installation whose one batch of ``jobs`` jobs is answered; its database."""
    home.mkdir(parents=True)
    file = home / "caravan.db"
    upgrade(f"sqlite:///{file}")
    database = open_database(f"sqlite:///{file}")
    for statement in _FILL:
        with database.write() as conn:
            named = {"jobs": jobs, "at": _AT, "first": FIRST}
            conn.execute(
                text(statement), {name: value for name, value in named.items() if f":{name}" in statement}
            )
    database.close()
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("DELETE FROM fresh_results")
        conn.commit()
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


def timed(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds and the most megabytes of a process. Raises RuntimeError where it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def empty_database(server: str, name: str) -> str:
    """A PostgreSQL database at the newest revision; its URL."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    upgrade(url)
    return url


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        home, caravan = Path(folder) / "home", [sys.executable, "-m", "worker"]
        file = fill(home, told.jobs)
        size = file.stat().st_size
        print(f"{told.jobs:,} answered jobs, {size / 1e6:,.0f} MB in SQLite")
        here = {**os.environ, "CARAVAN_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
        restored = {**here, "CARAVAN_DATABASE_URL": empty_database(server, "restored")}
        moved = empty_database(server, "moved")
        backup, copy = Path(folder) / "night.db", Path(folder) / "copy.db"
        plain = "import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b)"
        steps: Sequence[tuple[str, Sequence[str], Mapping[str, str]]] = (
            ("copy of the file, sqlite3 alone", [sys.executable, "-c", plain, str(file), str(copy)], here),
            ("db check, SQLite", [*caravan, "db", "check"], here),
            ("db backup, SQLite", [*caravan, "db", "backup", str(backup)], here),
            ("db restore into PostgreSQL", [*caravan, "db", "restore", str(backup)], restored),
            ("db check, PostgreSQL", [*caravan, "db", "check"], restored),
            ("db backup, PostgreSQL", [*caravan, "db", "backup", str(backup), "--force"], restored),
            ("db copy to PostgreSQL", [*caravan, "db", "copy", "--to", moved], here),
        )
        for name, command, environment in steps:
            seconds, megabytes = timed(command, environment)
            print(
                f"{name:<34} {seconds:7.1f} s  {told.jobs / seconds:10,.0f} jobs/s  {megabytes:5.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
