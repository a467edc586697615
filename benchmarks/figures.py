"""What do the samples of a run say? Pure: counts and clock readings in, figures out."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


class NoWindow(ValueError):
    """A run that was over before it could be looked at twice."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a run: when, how many results were stored by then, and the CPU seconds spent by then per group."""

    at: float
    stored: int
    cpu: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run showed. CPU is in milliseconds per stored job, memory in bytes, by group of processes."""

    jobs: int
    seconds: float
    jobs_per_second: float
    cpu_ms: Mapping[str, float]
    peak_rss: Mapping[str, int] = field(default_factory=dict)


def figures(samples: Sequence[Sample], *, jobs: int, warm: float, peak_rss: Mapping[str, int]) -> Figures:
    """Figures of the window from the first sample with more than ``warm`` (a share) of ``jobs`` stored to the last.

    Starting up, connecting and loading a model lie before the window. Raises NoWindow where the samples hold none.

    >>> looks = [Sample(0.0, 0, {"worker": 1.0}), Sample(1.0, 10, {"worker": 1.5}), Sample(3.0, 110, {"worker": 1.7})]
    >>> found = figures(looks, jobs=110, warm=0.05, peak_rss={})
    >>> found.jobs, found.seconds, found.jobs_per_second, round(found.cpu_ms["worker"], 3)
    (100, 2.0, 50.0, 2.0)
    """
    first = next((sample for sample in samples if sample.stored > warm * jobs), None)
    last = next((sample for sample in samples if sample.stored >= jobs), None)
    if first is None or last is None or last.stored <= first.stored:
        raise NoWindow(f"{len(samples)} samples of {jobs} jobs hold no window: take more jobs")
    done, seconds = last.stored - first.stored, last.at - first.at
    cpu = {group: (last.cpu[group] - first.cpu.get(group, 0.0)) * 1000 / done for group in last.cpu}
    return Figures(done, seconds, done / seconds, cpu, peak_rss)


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the most of several rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Raises ValueError where there are none."""
        known = sorted(values)
        if not known:
            raise ValueError("no values")
        return cls(known[0], statistics.median(known), known[-1])


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours by theirs, round by round: a machine that slows down for a while slows both.

    >>> ratios([10.0, 30.0], [5.0, 10.0])
    Spread(low=2.0, middle=2.5, high=3.0)
    """
    return Spread.of(mine / other for mine, other in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Curve:
    """How memory went over a long run, in bytes. ``growth`` is the median of the last third less that of the middle."""

    start: int
    middle: int
    end: int
    highest: int

    @property
    def growth(self) -> int:
        return self.end - self.middle


def curve(sizes: Sequence[int]) -> Curve:
    """The curve of memory sizes that were taken at even steps. Raises ValueError for fewer than three.

    >>> curve([10, 50, 60, 61, 60, 62])
    Curve(start=10, middle=60, end=61, highest=62)
    """
    if len(sizes) < 3:
        raise ValueError(f"{len(sizes)} sizes make no curve")
    third = len(sizes) // 3
    middle, last = sizes[third:-third], sizes[-third:]
    return Curve(sizes[0], int(statistics.median(middle)), int(statistics.median(last)), max(sizes))
