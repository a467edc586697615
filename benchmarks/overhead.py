"""What does Caravan cost per job? Beside a plain Celery task per job and a bare loop, on hosts that answer at once.

``python -m benchmarks.overhead`` takes some two minutes; ``--full`` the sizes that ``docs/explanation/benchmarks.md`` reports.
All contenders run in one go, in rounds: this machine may slow down for a while, so only ratios within a round count.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender, Hosts, Serve, Submission, baseline_environ, caravan_environ
from benchmarks.figures import NoWindow
from benchmarks.places import Place, Servers, answering, fresh_place, open_servers
from benchmarks.report import BASELINE, BEFORE, CARAVAN, LOOP, Results, as_json, missed, text
from benchmarks.workload import write_jobs
from worker.storage.migrate import upgrade


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. ``submits`` are the jobs of a submission, ``jobs`` those of a run."""

    jobs: int
    submits: int
    rounds: int
    hosts: int = 2
    slots: int = 1


QUICK = Size(jobs=2_000, submits=10_000, rounds=3)
FULL = Size(jobs=10_000, submits=100_000, rounds=3)
WARM_UP = 200
"""Jobs of the round before the first."""


def main() -> int:
    given = _arguments()
    size, databases = _size(given), _databases(given.database)
    with (
        tempfile.TemporaryDirectory(prefix="caravan-bench-") as scratch,
        open_servers(postgres="postgresql" in databases) as servers,
    ):
        results = compare(size, databases, servers, Path(scratch), old=given.old)
    about = _about(size)
    print(f"{about['machine']}; {_in_words(size)}\n\n{text(results)}")
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(results, about), indent=1) + "\n", encoding="utf-8")
    misses = missed(results)
    for miss in misses:
        print(f"missed: {miss}")
    return 1 if misses and given.check else 0


def compare(
    size: Size, databases: Sequence[str], servers: Servers, scratch: Path, *, old: str | None = None
) -> Results:
    """Run all contenders ``size.rounds`` times, every other round in reverse order, after a round that is not counted."""
    results = Results()
    with ExitStack() as exits:
        hosts = Hosts(exits.enter_context(answering(size.hosts, scratch)), size.slots)
        programme: list[tuple[str, str, Serve]] = []
        for name, database, contender in _contenders(databases, old):
            _say(f"starting {name}{_on(database)}")
            place = exits.enter_context(fresh_place(database or "sqlite", servers, scratch))
            programme.append((name, database, exits.enter_context(contender(place, hosts))))
        warm = write_jobs(scratch, "warm-up", WARM_UP)
        for _, _, serve in programme:
            with suppress(NoWindow):
                serve(warm, WARM_UP)
        for number in range(1, size.rounds + 1):
            file = write_jobs(scratch, f"round-{number}", size.jobs)
            for name, database, serve in programme if number % 2 else reversed(programme):
                _say(f"round {number} of {size.rounds}: {name}{_on(database)}")
                results.serve(name, database, serve(file, size.jobs))
    file = write_jobs(scratch, "submitted", size.submits) if size.submits else scratch
    for number in range(1, size.rounds + 1 if size.submits else 1):
        for database in ["", *databases] if number % 2 else [*reversed(databases), ""]:
            _say(f"round {number} of {size.rounds}: submitting{_on(database or 'redis')}")
            with fresh_place(database or "sqlite", servers, scratch) as place:
                results.submit(CARAVAN if database else BASELINE, database, _submit(file, database, place))
    _say("")
    return _in_order(results, databases, old)


def _submit(file: Path, database: str, place: Place) -> Submission:
    if database:
        upgrade(place.url)
        return contenders.submit("caravan", file, caravan_environ(place))
    found = contenders.submit("celery", file, baseline_environ(place, [], queue=contenders.PARKED))
    place.drop(contenders.PARKED)
    return found


def _on(database: str) -> str:
    return f" on {database}" if database else ""


def _contenders(databases: Sequence[str], old: str | None) -> list[tuple[str, str, Contender]]:
    found: list[tuple[str, str, Contender]] = []
    for database in databases:
        caravan = contenders.caravan_embedded if database == "sqlite" else contenders.caravan_fleet
        found += [(BASELINE, database, contenders.celery_per_job), (CARAVAN, database, caravan)]
        if old is not None:
            found.append((BEFORE, database, partial(caravan, python=old)))
    return [*found, (LOOP, "", contenders.requests_loop)]


def _in_order(results: Results, databases: Sequence[str], old: str | None) -> Results:
    served = [(name, database) for name, database, _ in _contenders(databases, old)]
    submitted = (
        [(BASELINE, ""), *((CARAVAN, database) for database in databases)] if results.submitted else []
    )
    return Results(
        {key: results.served[key] for key in served}, {key: results.submitted[key] for key in submitted}
    )


def _say(what: str) -> None:
    """Where it is, on one line of a terminal; nothing in a log."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def _about(size: Size) -> dict[str, Any]:
    return {"machine": _machine(), "size": asdict(size)}


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _in_words(size: Size) -> str:
    return (
        f"{size.rounds} rounds of {size.jobs:,} jobs on {size.hosts} hosts with {size.slots} requests each at a time; "
        f"{size.submits:,} jobs submitted; least – middle – most"
    )


def _size(given: argparse.Namespace) -> Size:
    base = FULL if given.full else QUICK
    wanted: Mapping[str, int | None] = {
        "jobs": given.jobs,
        "submits": given.submits,
        "rounds": given.rounds,
        "hosts": given.hosts,
        "slots": given.slots,
    }
    return Size(**{**asdict(base), **{name: value for name, value in wanted.items() if value is not None}})


def _databases(given: str) -> list[str]:
    return ["sqlite", "postgresql"] if given == "both" else [given]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, help=f"jobs of a run (default: {QUICK.jobs:,})")
    parser.add_argument("--submits", type=int, help=f"jobs of a submission (default: {QUICK.submits:,})")
    parser.add_argument("--rounds", type=int, help=f"rounds (default: {QUICK.rounds})")
    parser.add_argument("--hosts", type=int, help=f"answering hosts (default: {QUICK.hosts})")
    parser.add_argument("--slots", type=int, help=f"requests a host gets at a time (default: {QUICK.slots})")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--full", action="store_true", help=f"{FULL.jobs:,} jobs, {FULL.submits:,} submitted")
    parser.add_argument("--old", metavar="PYTHON", help="of an older version's environment, to stand beside")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
