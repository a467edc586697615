"""How soon does a command show something on a terminal when its input, or its database, has 1,000,000 rows?

``python -m benchmarks.first_output`` takes about a minute. Each command runs in a terminal of its own until its first byte,
then it is ended. What counts is the ratio to a process that only imports SQLAlchemy and requests and prints a line: this
machine may slow down for a while.
"""

import argparse
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.startup import a_million_jobs
from tests.servers.children import free_port

ROWS = 1_000_000
FOUNDATION = "import sqlalchemy, requests; print('here')"
TARGET_SECONDS = 1.0
LONGEST_SECONDS = 60.0


def write_rows(folder: Path, rows: int) -> tuple[Path, Path]:
    """A JSONL of jobs and a CSV, of about 100 bytes a row."""
    lines, table = folder / "rows.jsonl", folder / "rows.csv"
    with lines.open("w") as file:
        file.writelines(
            f'{{"custom_id": "row-{n}", "model": "a:1", "prompt": "Say in one sentence what number {n} is good for."}}\n'
            for n in range(rows)
        )
    with table.open("w") as file:
        file.write("id,title,text\n")
        file.writelines(
            f"{n},Product {n},Something to be described in one sentence; no two rows of it say the same.\n"
            for n in range(rows)
        )
    return lines, table


def seconds_to_first_byte(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """From the start of a process in a terminal until it writes. Raises RuntimeError where it writes nothing."""
    terminal, inside = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=inside, stderr=inside
    )
    os.close(inside)
    try:
        readable, _, _ = select.select([terminal], [], [], LONGEST_SECONDS)
        seconds = time.monotonic() - began
        if not readable or not os.read(terminal, 1):
            raise RuntimeError(f"{' '.join(command)} wrote nothing")
        return seconds
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument(
        "--check", action="store_true", help="exit code 1 where a first byte takes over a second"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines, table = write_rows(folder, options.rows)
        a_million_jobs(folder / "full", options.rows)
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[1])}
        caravan = [sys.executable, "-m", "worker"]
        port = free_port()
        simulator = subprocess.Popen(
            [*caravan, "simulate", "--host", f"gpu-1:{port}", "--models", "a:1"], stdout=subprocess.DEVNULL
        )
        time.sleep(3)
        host = ["--host", f"http://127.0.0.1:{port}"]
        prompt = ["--model", "a:1", "--prompt", "Describe {{ title }}: {{ text }}"]
        contenders = {
            "SQLAlchemy and requests": [sys.executable, "-c", FOUNDATION],
            "caravan run rows.jsonl": [*caravan, "run", str(lines), *host],
            "caravan run rows.csv": [*caravan, "run", str(table), *prompt, *host],
            "caravan quote rows.jsonl": [*caravan, "quote", str(lines), *host],
            "caravan quote rows.csv": [*caravan, "quote", str(table), *prompt, *host],
            "caravan status": [*caravan, "status"],
        }

        def seconds(contender: str) -> float:
            home = folder / "full" if contender == "caravan status" else tempfile.mkdtemp(dir=folder)
            return seconds_to_first_byte(contenders[contender], {**environment, "CARAVAN_HOME": str(home)})

        for contender in contenders:
            seconds(contender)  # files into the cache, bytecode written
        measured: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(options.rounds):
            for contender in contenders:
                measured[contender].append(seconds(contender))
        simulator.terminate()
        simulator.wait(10)
    foundation = median(measured["SQLAlchemy and requests"])
    for contender, times in measured.items():
        print(
            f"{contender:<26} {min(times):.2f} – {median(times):.2f} – {max(times):.2f} s until the first byte, "
            f"{median(times) / foundation:.1f} times the first"
        )
    if options.check and any(median(times) > TARGET_SECONDS for times in measured.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
