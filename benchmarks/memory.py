"""Does a worker's memory grow with the jobs it has served? One long run, its size read every few thousand jobs.

``python -m benchmarks.memory`` serves 100,000 jobs (some three minutes). ``fleet`` measures the child of ``caravan
worker`` that serves a host, ``embedded`` the process of ``caravan run``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import contenders
from benchmarks.contenders import add_hosts, caravan_environ
from benchmarks.figures import Curve, curve
from benchmarks.places import Place, answering, fresh_place, open_servers
from benchmarks.processes import Group, Stuck, group
from benchmarks.workload import write_jobs
from worker.storage.migrate import upgrade

JOBS = 100_000
SAMPLES = 30
LIMIT = 200e6
"""Bytes that a worker may take."""
FLAT = 5e6
"""Bytes by which the last third of a run may lie above the middle one."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A run's memory at even steps: jobs stored by then, and the bytes of each kind of process."""

    name: str
    jobs: list[int]
    sizes: list[dict[str, int]]
    seconds: float

    @property
    def curves(self) -> dict[str, Curve]:
        return {kind: curve([sizes[kind] for sizes in self.sizes]) for kind in self.sizes[0]}

    @property
    def problems(self) -> list[str]:
        found = []
        for kind, known in self.curves.items():
            if known.highest > LIMIT:
                found.append(
                    f"{self.name}, {kind}: {known.highest / 1e6:.0f} MB, more than {LIMIT / 1e6:.0f}"
                )
            if known.growth > FLAT:
                found.append(
                    f"{self.name}, {kind}: last third {known.growth / 1e6:.1f} MB above the middle one"
                )
        return found


def watch_fleet(place: Place, file: Path, jobs: int, urls: list[str], slots: int) -> Watched:
    """Memory of ``caravan worker`` processes; the jobs are all there before they start."""
    add_hosts(place, contenders.Hosts(urls, slots))
    variables = caravan_environ(place)
    with group("worker", place.folder) as worker, place.counter("results") as stored:
        for number in range(1, len(urls) + 1):
            worker.start("worker", "worker", "--host", f"bench-{number}", environ=variables)
        contenders.submit("caravan", file, variables)
        return _watch("fleet", worker, stored, jobs)


def watch_embedded(place: Place, file: Path, jobs: int, urls: list[str], slots: int) -> Watched:
    """Memory of ``caravan run``, which submits the jobs itself first."""
    variables = caravan_environ(place)
    with group("worker", place.folder) as worker, place.counter("results") as stored:
        upgrade(place.url)
        hosts = [word for url in urls for word in ("--host", url)]
        worker.start("worker", "run", str(file), *hosts, "--slots", str(slots), "--json", environ=variables)
        return _watch("embedded", worker, stored, jobs)


def _watch(name: str, worker: Group, stored: Callable[[], int], jobs: int) -> Watched:
    """Sizes from the first result on. Raises Stuck when the workers die, or for an hour."""
    step, due = jobs // SAMPLES, 1
    counts: list[int] = []
    sizes: list[dict[str, int]] = []
    began, until = time.monotonic(), time.monotonic() + 3600
    while True:
        alive, count = worker.running(), stored()
        if count >= due:
            if not counts:
                began = time.monotonic()
            counts.append(count)
            sizes.append(worker.look_at_memory())
            due = min(jobs, count + step)
        if count >= jobs:
            return Watched(name, counts, sizes, time.monotonic() - began)
        if not alive or time.monotonic() > until:
            raise Stuck(f"{count:,} of {jobs:,} results\n{worker.last_words()}")
        time.sleep(0.2)


def main() -> int:
    given = _arguments()
    wanted = ["fleet", "embedded"] if given.mode == "both" else [given.mode]
    found = []
    with ExitStack() as exits:
        scratch = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="caravan-bench-")))
        servers = exits.enter_context(open_servers(postgres="fleet" in wanted))
        urls = exits.enter_context(answering(given.hosts, scratch))
        file = write_jobs(scratch, "memory", given.jobs)
        for mode in wanted:
            watch = watch_fleet if mode == "fleet" else watch_embedded
            with fresh_place("postgresql" if mode == "fleet" else "sqlite", servers, scratch) as place:
                found.append(watch(place, file, given.jobs, urls, given.slots))
            print(_told(found[-1]), flush=True)
    if given.json is not None:
        plain = [
            {**asdict(one), "curves": {kind: asdict(curve) for kind, curve in one.curves.items()}}
            for one in found
        ]
        given.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    problems = [problem for one in found for problem in one.problems]
    for problem in problems:
        print(f"missed: {problem}")
    return 1 if problems and given.check else 0


def _told(watched: Watched) -> str:
    lines = [f"{watched.name}: {watched.jobs[-1]:,} jobs in {watched.seconds:.0f} s"]
    for kind, known in watched.curves.items():
        points = " ".join(f"{sizes[kind] / 1e6:.1f}" for sizes in watched.sizes[::3])
        lines.append(
            f"  {kind}: start {known.start / 1e6:.1f} MB, middle third {known.middle / 1e6:.1f}, "
            f"last third {known.end / 1e6:.1f} ({known.growth / 1e6:+.1f}), highest {known.highest / 1e6:.1f}"
        )
        lines.append(f"    {points}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", nargs="?", choices=("fleet", "embedded", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the curves there")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
