"""What a comparison says to a reader: a table of spreads, the ratios within the rounds, and the same as JSON. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.contenders import Submission
from benchmarks.figures import Figures, Spread, ratios

BASELINE = "celery task per job"
CARAVAN = "caravan"
BEFORE = "caravan before"
"""An older version, where one is named."""
LOOP = "requests loop"

CPU_TARGET = 0.60
"""Worker CPU per job, of the baseline's: no more than this."""
SUBMIT_TARGET = 5.0
"""Jobs submitted per second, of the baseline's: no less than this."""


@dataclass
class Results:
    """All that was measured. A contender is (name, database); the database is empty where there is none."""

    served: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    submitted: dict[tuple[str, str], list[Submission]] = field(default_factory=dict)

    def serve(self, name: str, database: str, found: Figures) -> None:
        self.served.setdefault((name, database), []).append(found)

    def submit(self, name: str, database: str, found: Submission) -> None:
        self.submitted.setdefault((name, database), []).append(found)

    def cpu_ratio(self, database: str) -> Spread:
        """Worker CPU per job of Caravan by that of the baseline on the same database, within the rounds."""
        return ratios(*(_worker_cpu(self.served[name, database]) for name in (CARAVAN, BASELINE)))

    def rate_ratio(self, database: str) -> Spread:
        """Jobs per second of Caravan by those of the baseline on the same database, within the rounds."""
        return ratios(*(_rates(self.served[name, database]) for name in (CARAVAN, BASELINE)))

    def submit_ratio(self, database: str) -> Spread:
        """Jobs submitted per second into ``database`` by those sent with ``delay``, within the rounds."""
        ours = [found.rate for found in self.submitted[CARAVAN, database]]
        return ratios(ours, [found.rate for found in self.submitted[BASELINE, ""]])

    @property
    def databases(self) -> list[str]:
        return [database for name, database in self.served if name == CARAVAN]


def _worker_cpu(runs: Iterable[Figures]) -> list[float]:
    return [run.cpu_ms["worker"] for run in runs]


def _rates(runs: Iterable[Figures]) -> list[float]:
    return [run.jobs_per_second for run in runs]


def missed(results: Results) -> list[str]:
    """The targets that were missed by the middle round, in words."""
    found = []
    for database in results.databases:
        cpu = results.cpu_ratio(database).middle
        if cpu >= CPU_TARGET:
            found.append(
                f"{database}: {cpu:.0%} of the baseline's worker CPU per job, not under {CPU_TARGET:.0%}"
            )
        if (CARAVAN, database) in results.submitted:
            rate = results.submit_ratio(database).middle
            if rate < SUBMIT_TARGET:
                found.append(
                    f"{database}: submitted {rate:.1f} times as fast as delay, not {SUBMIT_TARGET:g}"
                )
    return found


def text(results: Results) -> str:
    """The whole report for a terminal."""
    lines = [*_table(_serving(results)), "", *_table(_submitting(results)), "", *_table(_memory(results)), ""]
    return "\n".join([*lines, *_ratio_lines(results)])


def _serving(results: Results) -> Iterator[Sequence[str]]:
    yield ("SERVING", "database", "jobs/s", "worker CPU ms/job", "other CPU ms/job")
    for (name, database), runs in results.served.items():
        yield (
            name,
            database or "–",
            _spread(Spread.of(_rates(runs)), "{:,.0f}"),
            _spread(Spread.of(_worker_cpu(runs)), "{:.2f}"),
            _others(runs),
        )


def _others(runs: Sequence[Figures]) -> str:
    names = [name for name in runs[0].cpu_ms if name != "worker"]
    return (
        ", ".join(f"{name} {Spread.of(run.cpu_ms[name] for run in runs).middle:.2f}" for name in names) or "–"
    )


def _submitting(results: Results) -> Iterator[Sequence[str]]:
    yield ("SUBMITTING", "into", "jobs/s", "CPU ms/job", "")
    for (name, database), runs in results.submitted.items():
        cpu = Spread.of(run.cpu_seconds * 1000 / run.jobs for run in runs)
        rate = _spread(Spread.of(run.rate for run in runs), "{:,.0f}")
        yield (name, database or "redis", rate, _spread(cpu, "{:.3f}"), "")


def _memory(results: Results) -> Iterator[Sequence[str]]:
    yield ("PEAK MEMORY", "database", "MB of each process", "", "")
    for (name, database), runs in results.served.items():
        kinds = sorted({kind for run in runs for kind in run.peak_rss})
        peaks = (f"{kind} {max(run.peak_rss.get(kind, 0) for run in runs) / 1e6:.0f}" for kind in kinds)
        yield (name, database or "–", ", ".join(peaks), "", "")


def _ratio_lines(results: Results) -> Iterator[str]:
    yield "CARAVAN BY THE BASELINE, within a round: least – middle – most"
    for database in results.databases:
        cpu, rate = results.cpu_ratio(database), results.rate_ratio(database)
        yield f"  {database:<11} worker CPU per job  {_spread(cpu, '{:.0%}')}   (target: under {CPU_TARGET:.0%})"
        yield f"  {'':<11} jobs/s              {_spread(rate, '{:.2f}')}"
        if (CARAVAN, database) in results.submitted:
            told = _spread(results.submit_ratio(database), "{:.1f}")
            yield f"  {'':<11} submitted per s     {told}   (target: {SUBMIT_TARGET:g} or more)"
    for database in results.databases:
        if (BEFORE, database) in results.served:
            both = (_worker_cpu(results.served[name, database]) for name in (CARAVAN, BEFORE))
            told = _spread(ratios(*both), "{:.2f}")
            yield f"  {database:<11} worker CPU per job by the older version's  {told}"
    loops = results.served.get((LOOP, ""))
    for database in results.databases if loops else []:
        assert loops is not None
        beside = ratios(_worker_cpu(results.served[CARAVAN, database]), _worker_cpu(loops))
        yield f"  {database:<11} worker CPU per job by the requests loop's  {_spread(beside, '{:.2f}')}"


def _spread(spread: Spread, form: str) -> str:
    return " – ".join(form.format(value) for value in (spread.low, spread.middle, spread.high))


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows in columns as wide as their widest cell.

    >>> _table([("A", "bb"), ("ccc", "d")])
    ['A    bb', 'ccc  d']
    """
    known = [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in known) for column in range(len(known[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in known
    ]


def as_json(results: Results, about: Mapping[str, Any]) -> dict[str, Any]:
    """Every round and the ratios, for a file."""
    summary = {
        database: {
            "worker_cpu_ratio": asdict(results.cpu_ratio(database)),
            "rate_ratio": asdict(results.rate_ratio(database)),
        }
        | (
            {"submit_ratio": asdict(results.submit_ratio(database))}
            if (CARAVAN, database) in results.submitted
            else {}
        )
        for database in results.databases
    }
    return {
        "about": dict(about),
        "served": [
            {"contender": name, "database": database, "rounds": [asdict(run) for run in runs]}
            for (name, database), runs in results.served.items()
        ],
        "submitted": [
            {"contender": name, "into": database or "redis", "rounds": [asdict(run) for run in runs]}
            for (name, database), runs in results.submitted.items()
        ],
        "summary": summary,
        "missed": missed(results),
    }
