"""Is ``caravan run`` worth its start for a few short jobs? ``python -m benchmarks.short_run`` takes two minutes.

120 jobs of 0.1 seconds over three models, on one simulated host that holds one model and takes two seconds to load one. The
lines come in turns, a model each. ``caravan run`` stands beside a loop of ``requests`` to which somebody gave the lines
sorted by model. What counts is the whole command, from its start to its end, with a fresh host each time. It prints where
the time goes, as the host sees it, and with ``--check`` exits 1 where the command takes more than 1.10 times the loop.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.processes import Stuck, clean_environ, group
from tests.servers.children import accepts, free_port
from tests.waiting import wait_until

MODELS = ("a:1", "b:1", "c:1")
JOBS, TOKENS, SPEED, LOAD_SECONDS = 120, 10, 100, 2.0
"""Answers of 10 tokens at 100 tokens/s."""
LIMIT = 1.10


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one command."""

    before: float
    """From its start to the first answer: the process, the input, the first load."""
    answers: float
    gaps: float
    """Between two answers of one model."""
    switches: float
    """Between two answers of different models: the other loads."""
    after: float
    """From the last answer to the end of the command."""

    @property
    def total(self) -> float:
        return self.before + self.answers + self.gaps + self.switches + self.after


_PARTS = {
    "before": "before the first answer begins, with the first load",
    "answers": "while the host answers",
    "gaps": "between two answers of one model",
    "switches": "between two models, with a load each",
    "after": "after the last answer",
    "total": "the whole command",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit 1 where the limit is missed")
    options = parser.parse_args()
    ours: list[Spent] = []
    theirs: list[Spent] = []
    with tempfile.TemporaryDirectory(prefix="caravan-short-") as scratch:
        for number in range(options.rounds):
            for name, spent in (("caravan", ours), ("loop", theirs)):
                folder = Path(scratch) / f"{name}-{number}"
                folder.mkdir()
                spent.append(measure(folder, by_hand=name == "loop"))
    ratio = median(one.total / other.total for one, other in zip(ours, theirs, strict=True))
    print(table(ours, theirs))
    print(f"\nthe whole command: {ratio:.2f} times the loop, at most {LIMIT:.2f}")
    return 1 if options.check and ratio > LIMIT else 0


def measure(folder: Path, *, by_hand: bool) -> Spent:
    """One command on a fresh host. Raises Stuck where it fails, or does not answer all."""
    port, jobs = free_port(), folder / "jobs.jsonl"
    jobs.write_text("".join(json.dumps(line) + "\n" for line in lines(grouped=by_hand)))
    host = ["--host", f"gpu-1:{port}", "--models", ",".join(MODELS), "--load-seconds", str(LOAD_SECONDS)]
    url = ["--host", f"http://127.0.0.1:{port}"]
    loop = ["benchmarks.baselines.requests_loop", str(jobs), str(folder / "out"), *url, "--threads", "1"]
    command = loop if by_hand else ["worker", "run", str(jobs), *url]
    with group("host", folder) as simulator:
        simulator.start("simulator", *host, "--tokens-per-second", str(SPEED), "--diary", str(folder))
        wait_until(lambda: accepts(port), description="the simulated host answers")
        begun = time.time()
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env={
                **clean_environ(),
                "CARAVAN_HOME": str(folder / "home"),
                "HOME": str(folder),
                "PATH": os.defpath,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        ended = time.time()
    if done.returncode:
        raise Stuck(f"exit {done.returncode}\n{done.stderr[-2000:]}")
    return spent(folder / "gpu-1.jsonl", begun, ended)


def lines(*, grouped: bool) -> list[dict[str, object]]:
    """The jobs, in turns or sorted by model."""
    jobs: list[dict[str, object]] = [
        {
            "custom_id": str(n),
            "model": MODELS[n % len(MODELS)],
            "prompt": f"Say {n}.",
            "options": {"num_predict": TOKENS},
        }
        for n in range(JOBS)
    ]
    return sorted(jobs, key=lambda job: str(job["model"])) if grouped else jobs


def spent(diary: Path, begun: float, ended: float) -> Spent:
    """Of the host's diary, and when the command began and ended."""
    entries = [json.loads(line) for line in diary.read_text().splitlines()]
    ends = {entry["ended"]: entry["at"] for entry in entries if "ended" in entry and entry["whole"]}
    answers = [(one["at"], ends[one["began"]], one["model"]) for one in entries if one.get("began") in ends]
    if len(answers) != JOBS:
        raise Stuck(f"{len(answers)} of {JOBS} answers")
    answers.sort(
        key=lambda answer: answer[1]
    )  # a second request may wait at the host while the first is answered
    answering = gaps = switches = 0.0
    for (_, before, last), (start, end, model) in pairwise(answers):
        pause = max(0.0, start - before)
        answering += end - max(start, before)
        gaps += pause if model == last else 0.0
        switches += pause if model != last else 0.0
    first = answers[0]
    return Spent(first[0] - begun, answering + first[1] - first[0], gaps, switches, ended - answers[-1][1])


def table(ours: Sequence[Spent], theirs: Sequence[Spent]) -> str:
    """The middle of the rounds."""
    names = [*(field.name for field in fields(Spent)), "total"]
    rows = ["| seconds | caravan run | requests loop |", "|---|---:|---:|"]
    for name in names:
        both = (median(getattr(one, name) for one in rounds) for rounds in (ours, theirs))
        rows.append(f"| {_PARTS[name]} | {' | '.join(f'{value:.2f}' for value in both)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
