"""What does ``caravan run`` cost while its host generates? CPU of the whole process, against the time that it takes.

``python -m benchmarks.running`` takes some 40 s: one simulated host with four slots gives 1.5 answers a second, 150 tokens,
and the command shows its progress on a terminal. The CPU of the first seconds (imports, submission) is left out: it is
measured from one look to another, in the middle of the run.
"""

import argparse
import json
import os
import pty
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from tests.servers.children import free_port

SLOTS, SPEED, TOKENS = 4, 65, 100
"""Answers of 100 tokens; a model of 65 tokens/s alone gives some 37.5 to each of four requests at a time: 1.5 a second."""
LIMIT = 0.025
"""Of a core."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--check", action="store_true", help="exit 1 where the limit is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caravan-running-") as scratch:
        share, pace = measure(Path(scratch), options.seconds)
    print(
        f"caravan run with {SLOTS} slots at {pace:.2f} answers a second: {share:.2%} of a core, at most {LIMIT:.1%}"
    )
    return 1 if options.check and share > LIMIT else 0


def measure(folder: Path, seconds: float) -> tuple[float, float]:
    """The share of a core that the command takes, and the answers a second that it stores."""
    port = free_port()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--host", f"gpu-1:{port}", "--slots", str(SLOTS), "--models", "a:1",
         "--tokens-per-second", str(SPEED), "--load-seconds", "0.1"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    jobs = folder / "jobs.jsonl"
    line = {"model": "a:1", "prompt": "Say it.", "options": {"num_predict": TOKENS}}
    number = int(2 * (seconds + 20))
    jobs.write_text("".join(json.dumps(line | {"custom_id": str(n)}) + "\n" for n in range(number)))
    time.sleep(2)
    command = [
        sys.executable,
        "-m",
        "worker",
        "run",
        str(jobs),
        "--host",
        f"http://127.0.0.1:{port}",
        "--slots",
        str(SLOTS),
    ]
    screen, terminal = pty.openpty()
    threading.Thread(target=read_all, args=(screen,), daemon=True).start()
    environ = {**os.environ, "CARAVAN_HOME": str(folder / "home"), "HOME": str(folder), "TERM": "xterm"}
    run = subprocess.Popen(command, env=environ, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal)
    try:
        time.sleep(6)
        before, stored, began = cpu_seconds(run.pid), answers(folder), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return (cpu_seconds(run.pid) - before) / took, (answers(folder) - stored) / took
    finally:
        run.terminate()
        run.wait(30)
        simulator.terminate()
        simulator.wait(10)


def read_all(screen: int) -> None:
    """Take what is drawn until the terminal is gone."""
    with suppress(OSError):
        while os.read(screen, 65_536):
            pass


def answers(folder: Path) -> int:
    """Jobs that are answered by now."""
    with closing(sqlite3.connect(folder / "home" / "caravan.db")) as conn:
        return int(conn.execute("SELECT count(*) FROM jobs WHERE state = 'succeeded'").fetchone()[0])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    raise SystemExit(main())
