"""Does this version decide as an older one did? ``python -m benchmarks.same_nights --old PYTHON`` takes a minute.

Every simulated night of ``benchmarks.scheduling`` is served by the planner of both versions, from the same seeds, each in a
process of its own with its own code. Compared are the length of the night, its loads, the deadlines that were missed, and how
long the jobs of each priority took. It prints the nights that differ, and exits 1 where there is one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from benchmarks.processes import clean_environ

_NIGHTS = """
import json, sys
from benchmarks.scheduling.figures import OURS, simulate
from benchmarks.scheduling.workloads import WORKLOADS
for workload, make in WORKLOADS.items():
    for seed in range(1001, 1001 + int(sys.argv[1])):
        outcome = simulate(make(seed, 1.0), OURS, seed)
        waits = {int(priority): [len(times), sum(times), max(times)] for priority, times in sorted(outcome.waits.items())}
        print(json.dumps({
            "night": [workload, seed], "seconds": outcome.seconds, "loads": outcome.loads,
            "load seconds": outcome.load_seconds, "missed": sorted(outcome.missed), "waits": waits,
        }))
"""
"""Run by both versions: it may name only what both have."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_nights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--old", required=True, metavar="PYTHON", help="of the older version's environment")
    parser.add_argument("--seeds", type=int, default=5, help="nights of each kind (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caravan-nights-") as elsewhere:
        both = [_begin(python, options.seeds, elsewhere) for python in (options.old, sys.executable)]
        before, after = ([json.loads(line) for line in _end(process)] for process in both)
    loads = [sum(night["loads"] for night in nights) for nights in (before, after)]
    different = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    for old, new in different:
        print(f"differs: {json.dumps(old)}\n     now: {json.dumps(new)}")
    print(
        f"{len(after)} nights, {len(different)} of them differ; {loads[0]:,} loads before, {loads[1]:,} now"
    )
    return int(bool(different))


def _begin(python: str, seeds: int, folder: str) -> "subprocess.Popen[str]":
    environ = {**clean_environ(), "PYTHONSAFEPATH": "1", "PATH": os.defpath}
    return subprocess.Popen(
        [python, "-c", _NIGHTS, str(seeds)], env=environ, cwd=folder, stdout=subprocess.PIPE, text=True
    )


def _end(process: "subprocess.Popen[str]") -> list[str]:
    """What it printed. Raises RuntimeError where it failed."""
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r}: exit {process.returncode}")
    return printed.splitlines()


if __name__ == "__main__":
    sys.exit(main())
