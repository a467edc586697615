"""What does a short command cost before it does anything? CPU of ``--help``, of ``status`` and of one prompt from a fresh home
against a host that answers at once, beside what they stand on.

``python -m benchmarks.startup`` takes about a minute. All are run in turn, in rounds, and only the ratios count: this
machine may slow down for a while.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.servers.children import free_port
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

JOBS = 1_000_000
BARE = """
import typer
app = typer.Typer(rich_markup_mode="rich", add_completion=False)
def make(n):
    def command(x: int = 1) -> None:
        "A line of help."
    app.command(f"command-{n}", rich_help_panel=f"Group {n % 5}")(command)
for n in range({commands}):
    make(n)
app()
"""
FOUNDATION = "import sqlalchemy; from worker.settings import load_settings; load_settings()"
PROMPT_FOUNDATION = "import sqlalchemy, requests"
HELP_TARGET, STATUS_TARGET, PROMPT_TARGET = 1.5, 1.3, 2.0


def a_million_jobs(home: Path, jobs: int) -> None:
    """A database as ``caravan`` leaves it, with one finished batch of ``jobs`` jobs."""
    from sqlalchemy import text

    home.mkdir(parents=True)
    url = f"sqlite:///{home / 'caravan.db'}"
    upgrade(url)
    database = open_database(url)
    at = "2026-11-23T02:00:00.000000Z"
    with database.write() as conn:
        conn.execute(
            text(
                "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at, finished_at) "
                "VALUES ('k', 'reviews', 'finished', :jobs, :at, :at, :at)"
            ),
            {"jobs": jobs, "at": at},
        )
        conn.execute(
            text(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :jobs) "
                "INSERT INTO jobs (id, batch_id, custom_id, model, state, priority, runner_key, prefix_group, estimate, "
                "submitted_at, attempt, max_attempts, finished_at) "
                "SELECT 16777216 + n, 1, 'c' || n, 'm:1', 'succeeded', 2, 'm:1', 0, 100, :at, 1, 3, :at FROM n"
            ),
            {"jobs": jobs, "at": at},
        )
        conn.execute(
            text(
                "INSERT INTO counts (batch_id, runner_key, priority, state, jobs) VALUES (1, 'm:1', 2, 'succeeded', :jobs)"
            ),
            {"jobs": jobs},
        )
    database.close()


def cpu_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system time of a process and its children. Raises RuntimeError where it fails."""
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    from worker.cli.commands import COMMANDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        a_million_jobs(home, told.jobs)
        environment = {**os.environ, "CARAVAN_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
        python, caravan = sys.executable, [sys.executable, "-m", "worker"]
        host = f"http://127.0.0.1:{free_port()}"
        simulator = subprocess.Popen(
            [
                *caravan,
                "simulate",
                "--host",
                f"gpu-1:{host.rpartition(':')[2]}",
                "--models",
                "a:1",
                "--time-scale",
                "0.001",
            ],
            stdout=subprocess.DEVNULL,
        )
        prompt = Path(folder) / "prompt.jsonl"
        prompt.write_text('{"model": "a:1", "prompt": "Say it."}')
        time.sleep(3)
        contenders = {
            "bare Typer --help": [python, "-c", BARE.replace("{commands}", str(len(COMMANDS))), "--help"],
            "caravan --help": [*caravan, "--help"],
            "SQLAlchemy and settings": [python, "-c", FOUNDATION],
            "caravan status": [*caravan, "status"],
            "SQLAlchemy and requests": [python, "-c", PROMPT_FOUNDATION],
            "caravan run, one prompt": [*caravan, "run", str(prompt), "--host", host],
        }

        def cpu(name: str) -> float:
            fresh = (
                {"CARAVAN_HOME": tempfile.mkdtemp(dir=folder)} if name == "caravan run, one prompt" else {}
            )
            return cpu_seconds(contenders[name], environment | fresh)

        for name in contenders:
            cpu(name)  # files into the cache, bytecode written
        seen: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(told.rounds):
            for name in contenders:
                seen[name].append(cpu(name))
        simulator.terminate()
        simulator.wait(10)
    for name, seconds in seen.items():
        print(
            f"{name:<24} {1000 * min(seconds):5.0f} – {1000 * median(seconds):5.0f} – {1000 * max(seconds):5.0f} ms CPU"
        )
    help_ratio = median(seen["caravan --help"]) / median(seen["bare Typer --help"])
    status_ratio = median(seen["caravan status"]) / median(seen["SQLAlchemy and settings"])
    print(
        f"caravan --help by a bare Typer that draws panels       {help_ratio:.2f}  (target: {HELP_TARGET} or less)"
    )
    print(
        f"caravan status on {told.jobs:,} jobs by its foundation {status_ratio:.2f}  (target: {STATUS_TARGET} or less)"
    )
    prompt_ratio = median(seen["caravan run, one prompt"]) / median(seen["SQLAlchemy and requests"])
    print(
        f"one prompt from a fresh home by SQLAlchemy and requests {prompt_ratio:.2f}  (target: {PROMPT_TARGET} or less)"
    )
    if told.check and (
        help_ratio > HELP_TARGET or status_ratio > STATUS_TARGET or prompt_ratio > PROMPT_TARGET
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
