"""What does ``caravan run`` cost while its host generates? CPU of the whole process, against the time that it takes.

``python -m benchmarks.running`` takes some 40 s: one simulated host with four slots gives 1.5 answers a second. The CPU of
the first seconds (imports, submission) is left out: it is measured from one look to another, in the middle of the run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.servers.children import free_port

SLOTS, SPEED, TOKENS = 4, 37.5, 100
"""Answers of 100 tokens at 37.5 tokens/s in four slots: 1.5 a second."""
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
        share = measure(Path(scratch), options.seconds)
    print(
        f"caravan run with {SLOTS} slots at 1.5 answers a second: {share:.1%} of a core, at most {LIMIT:.1%}"
    )
    return 1 if options.check and share > LIMIT else 0


def measure(folder: Path, seconds: float) -> float:
    """The share of a core that the command takes."""
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
    run = subprocess.Popen(command, env={**os.environ, "CARAVAN_HOME": str(folder / "home")}, cwd=folder)
    try:
        time.sleep(6)
        before, began = cpu_seconds(run.pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_seconds(run.pid) - before) / (time.monotonic() - began)
    finally:
        run.terminate()
        run.wait(30)
        simulator.terminate()
        simulator.wait(10)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    raise SystemExit(main())
