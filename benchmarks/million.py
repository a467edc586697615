"""A million rows of a generator, submitted from Python: how fast beside ``delay``, and in how much memory?

``python -m benchmarks.million`` takes some six minutes; ``--jobs 200000`` less. ``delay`` sends a fiftieth as many
messages before and after each submission, since this machine may slow down for a while: only the ratio to these counts.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import PARKED, Submission, baseline_environ, caravan_environ, submit
from benchmarks.places import Place, Servers, fresh_place, open_servers
from worker.storage.migrate import upgrade

JOBS = 1_000_000
SHARE = 50
"""One message of ``delay`` for so many jobs."""
TARGET = 10.0
"""Jobs submitted per second, of those sent with ``delay``: no less than this."""
LIMIT = 250e6
"""Bytes of memory that the producer may take."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A submission into one database, between two of ``delay``."""

    database: str
    caravan: Submission
    delays: tuple[Submission, Submission]

    @property
    def ratio(self) -> float:
        """Jobs per second by those of ``delay`` in both of its turns.

        >>> delays = (Submission(10, 1.0, 1.0), Submission(10, 3.0, 1.0))
        >>> Compared("sqlite", Submission(1000, 20.0, 1.0), delays).ratio
        10.0
        """
        sent, seconds = sum(one.jobs for one in self.delays), sum(one.seconds for one in self.delays)
        return self.caravan.rate * seconds / sent

    @property
    def problems(self) -> list[str]:
        found = []
        if self.ratio < TARGET:
            found.append(
                f"{self.database}: submitted {self.ratio:.1f} times as fast as delay, not {TARGET:g}"
            )
        if self.caravan.peak_rss > LIMIT:
            found.append(
                f"{self.database}: {self.caravan.peak_rss / 1e6:.0f} MB of memory, more than {LIMIT / 1e6:.0f}"
            )
        return found

    def __str__(self) -> str:
        ours = self.caravan
        rates = " and ".join(f"{one.rate:,.0f}" for one in self.delays)
        return (
            f"{self.database}: {ours.jobs:,} rows in {ours.seconds:.1f} s, {ours.rate:,.0f} a second, "
            f"{ours.cpu_seconds / ours.jobs * 1e6:.1f} µs of CPU each, {ours.peak_rss / 1e6:.0f} MB; "
            f"delay {rates} a second: {self.ratio:.1f} times as fast"
        )


def compare(databases: Sequence[str], jobs: int, servers: Servers, scratch: Path) -> list[Compared]:
    found = []
    for database in databases:
        with fresh_place(database, servers, scratch) as place:
            upgrade(place.url)
            before = _delay(place, jobs // SHARE)
            ours = submit("python", jobs, caravan_environ(place))
            found.append(Compared(database, ours, (before, _delay(place, jobs // SHARE))))
        print(found[-1], flush=True)
    return found


def _delay(place: Place, jobs: int) -> Submission:
    found = submit("delay", jobs, baseline_environ(place, [], queue=PARKED))
    place.drop(PARKED)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--json", type=Path, help="Write the figures there too.")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a target is missed.")
    given = parser.parse_args()
    databases = ("sqlite", "postgresql") if given.database == "both" else (given.database,)
    with (
        tempfile.TemporaryDirectory(prefix="caravan-bench-") as scratch,
        open_servers(postgres="postgresql" in databases) as servers,
    ):
        found = compare(databases, given.jobs, servers, Path(scratch))
    if given.json is not None:
        plain = [
            {
                "database": one.database,
                "jobs": one.caravan.jobs,
                "seconds": one.caravan.seconds,
                "cpu_seconds": one.caravan.cpu_seconds,
                "peak_rss": one.caravan.peak_rss,
                "delays_per_second": [delay.rate for delay in one.delays],
                "ratio": one.ratio,
            }
            for one in found
        ]
        given.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    problems = [problem for one in found for problem in one.problems]
    for problem in problems:
        print(f"missed: {problem}")
    return 1 if problems and given.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
