"""How long does a night take? Caravan beside a plain Celery task per job, on simulated hosts ten times as fast as real ones.

``python -m benchmarks.nights`` takes about five minutes: Caravan a minute for each workload, one after the other; the
plain worker an eighth of the jobs of each, all three at the same time, as its processes do little but wait.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.nights.contenders import Contender, Night, caravan, plain_celery
from benchmarks.nights.hosts import simulated
from benchmarks.nights.report import MARKER, Compared, markdown, missed, with_section
from benchmarks.nights.workloads import WORKLOADS, Workload
from benchmarks.places import Servers, fresh_place, open_servers

SHARE = 1 / 8
QUICK = 0.25
RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"
LIMIT_SECONDS = 600.0


def main() -> int:
    given = _arguments()
    workloads = [WORKLOADS[name](QUICK if given.quick else 1.0, given.seed) for name in given.workloads]
    with (
        tempfile.TemporaryDirectory(prefix="caravan-nights-") as scratch,
        open_servers(postgres=True) as servers,
    ):
        found = compare(workloads, servers, Path(scratch), plain=not given.only_caravan)
    print(markdown(found))
    if given.results is not None:
        _write(given.results, found)
    misses = missed(found)
    for miss in misses:
        print(f"missed: {miss}")
    return 1 if misses and given.check else 0


def compare(workloads: Sequence[Workload], servers: Servers, scratch: Path, *, plain: bool) -> list[Compared]:
    """Every workload with Caravan, and with the plain worker before that unless not ``plain``."""
    beside = _plain_nights(workloads, servers, scratch) if plain else {}
    found = []
    for workload in workloads:
        _say(f"caravan: {workload.name}, {workload.about}")
        night = _night(caravan, workload, servers, scratch)
        found.append(Compared(workload, night, beside.get(workload.name), SHARE))
    _say("")
    return found


def _plain_nights(workloads: Sequence[Workload], servers: Servers, scratch: Path) -> Mapping[str, Night]:
    _say(f"plain Celery: {', '.join(workload.name for workload in workloads)}, an eighth of the jobs")
    with ThreadPoolExecutor(len(workloads)) as pool:
        nights = {
            workload.name: pool.submit(_night, plain_celery, workload.part(SHARE), servers, scratch)
            for workload in workloads
        }
        return {name: night.result() for name, night in nights.items()}


def _night(contender: Contender, workload: Workload, servers: Servers, scratch: Path) -> Night:
    with (
        fresh_place("postgresql", servers, scratch) as place,
        simulated(workload.fleet, workload.models, place.folder / "hosts") as hosts,
    ):
        return contender(place, workload, hosts, LIMIT_SECONDS)


def _write(path: Path, found: Sequence[Compared]) -> None:
    """Put the tables into the page of results, in place of those of an earlier run."""
    command = shlex.join(["python", "-m", "benchmarks.nights", *sys.argv[1:]])
    body = f"## End to end\n\n`{command}`\n\n{markdown(found)}\n\n{_HOW}"
    page = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    path.write_text(with_section(page, MARKER, body), encoding="utf-8")


_HOW = """\
Real processes, a real Redis and a real PostgreSQL; hosts that are simulated and ten times as fast as real ones. Caravan:
`caravan submit`, a `caravan worker` for each host, `control`, `beat`. Plain Celery: a task per job, a prefork worker for
each host with a process for each slot, on the first eighth of the same jobs, its rate taken while its queue was long. The
clock runs from when the first job may be taken until the last answer is stored.

LB is the time that no schedule can go below: the work with all slots busy, each document read once, and the loads that are
needed. Hosts that hold two models might load one while they serve the other, so there only the first load counts."""


def _say(what: str) -> None:
    """Where it is, on one line of a terminal; nothing in a log."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workloads",
        type=_names,
        default=list(WORKLOADS),
        metavar="W1,W2",
        help=f"default: {','.join(WORKLOADS)}",
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the jobs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-caravan", action="store_true", help="leave plain Celery out")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="FILE",
        help="put the tables there (default: benchmarks/RESULTS.md)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",")]
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
