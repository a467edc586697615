"""How long will this take? Work put onto hosts as they would come to it, with the loads that it costs.

Each runner key goes to the host that would be done with it first, the longest key first; then whoever ends last gives of
its work to another host, as long as that pays the other's load. What comes before the quoted jobs is put in front of
them. The order of a real night differs, its length hardly: a host runs dry once for each load, whichever comes first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from worker.records import mutable_record, record

PAYS = 0.5
"""A host joins another one's work where that saves this many times its load; the policy's ``payback_idle``."""
GUESS = 3.0
"""What nobody has seen may take three times as long, or a third."""
LOAD_SPREAD = 1.5
"""A load that was seen: a warm page cache makes the next one shorter, a cold one longer."""


@record
class Pace:
    """How fast a runner key is on a host, in seconds; ``service_seconds`` is how long a job keeps its slot."""

    load_seconds: float
    service_seconds: float
    slots: int = 1
    load_is_guess: bool = False


@record
class Need:
    """Jobs of one runner key: those that are quoted, and others' that are in their way."""

    runner_key: str
    paces: Mapping[str, Pace]
    """By host; one that cannot hold it is not there."""
    jobs: int = 0
    """What is quoted."""
    before: int = 0
    """Others' jobs of a higher priority."""
    beside: int = 0
    """Others' jobs of the same priority: batches of one runner key take turns, other keys may come first."""
    samples: int = 0
    """Jobs of it that were seen to end; 0 where its pace is a guess."""


@record
class Place:
    """A host that may take work, and the runner keys it has loaded."""

    host: str
    resident: frozenset[str] = frozenset()


@record
class Part:
    """Jobs of a runner key that a host does; ``until`` is when it is done with them, seconds from now."""

    runner_key: str
    jobs: int
    load_seconds: float
    """0 where it is loaded already."""
    seconds: float
    """Without the load."""
    until: float


@record
class HostQuote:
    """What one host does, in an order that it might have."""

    host: str
    parts: tuple[Part, ...] = ()

    @property
    def loads(self) -> int:
        return sum(part.load_seconds > 0 for part in self.parts)

    @property
    def jobs(self) -> int:
        return sum(part.jobs for part in self.parts)

    @property
    def busy_seconds(self) -> float:
        return self.parts[-1].until if self.parts else 0.0


@record
class Quote:
    """When the quoted jobs are done, in seconds from now: expected, at the earliest, at the latest."""

    low: float
    expected: float
    high: float
    hosts: tuple[HostQuote, ...] = ()
    """As expected, by name; with what comes before the quoted jobs."""
    unplaced: tuple[str, ...] = ()
    """Runner keys that no host can hold: their jobs are not in the figures."""

    @property
    def loads(self) -> int:
        return sum(host.loads for host in self.hosts)


def quote(needs: Sequence[Need], places: Sequence[Place]) -> Quote:
    """What to expect of ``needs`` on ``places``.

    At the earliest: everything is as quick as it may be, and others' jobs of the same priority come later. At the
    latest: everything is as slow as it may be, and all of them come first.

    >>> one = Need("m:1", {"gpu": Pace(10.0, 2.0, slots=4)}, jobs=100, samples=10_000)
    >>> quote([one], [Place("gpu")]).expected
    60.0
    """
    known = {place.host for place in places}
    able = [
        replace(need, paces={host: pace for host, pace in need.paces.items() if host in known})
        for need in needs
    ]
    unplaced = tuple(sorted(need.runner_key for need in able if need.jobs and not need.paces))
    able = [need for need in able if need.paces]
    keys = frozenset(need.runner_key for need in able if need.jobs)
    expected = _plan([_as_expected(need) for need in able], places, keys)
    low = _end(_plan([_at_best(need) for need in able], places, keys), keys)
    high = _end(_plan([_at_worst(need) for need in able], places, keys), keys)
    middle = _end(expected, keys)
    return Quote(min(low, middle), middle, max(high, middle), tuple(expected), unplaced)


def spread(answers: int) -> float:
    """By which factor a job's mean length may be off, after ``answers`` jobs: lengths vary by about four fifths of their mean.

    >>> [round(spread(samples), 2) for samples in (0, 1, 10, 100, 10_000)]
    [3.0, 1.9, 1.35, 1.18, 1.11]
    """
    return GUESS if answers <= 0 else 1.1 + 0.8 / math.sqrt(answers)


def _as_expected(need: Need) -> "_Work":
    beside = min(need.beside, need.jobs) if need.jobs else need.beside
    return _Work(need.runner_key, need.before + beside + need.jobs, need.paces)


def _at_best(need: Need) -> "_Work":
    return _Work(need.runner_key, need.before + need.jobs, _scaled(need, 1 / spread(need.samples), best=True))


def _at_worst(need: Need) -> "_Work":
    jobs = need.before + need.beside + need.jobs
    return _Work(need.runner_key, jobs, _scaled(need, spread(need.samples), best=False))


def _scaled(need: Need, factor: float, *, best: bool) -> dict[str, Pace]:
    scaled = {}
    for host, pace in need.paces.items():
        load = GUESS if pace.load_is_guess else LOAD_SPREAD
        scaled[host] = replace(
            pace,
            service_seconds=pace.service_seconds * factor,
            load_seconds=pace.load_seconds * (1 / load if best else load),
        )
    return scaled


@record
class _Work:
    """All jobs of a runner key that count in one view of the night."""

    runner_key: str
    jobs: int
    paces: Mapping[str, Pace]

    def seconds(self, host: str, jobs: int) -> float:
        pace = self.paces[host]
        return math.ceil(jobs / pace.slots) * pace.service_seconds

    def each(self, host: str) -> float:
        """Seconds of the host that a job more costs."""
        pace = self.paces[host]
        return pace.service_seconds / pace.slots


@mutable_record
class _Host:
    """A host while work is put onto it."""

    place: Place
    works: Mapping[str, _Work]
    jobs: dict[str, int] = field(default_factory=dict)
    """Runner key → jobs."""

    @property
    def name(self) -> str:
        return self.place.host

    def setup(self, key: str) -> float:
        """Seconds until jobs of ``key`` could start here, once it is its turn."""
        if key in self.jobs or key in self.place.resident:
            return 0.0
        return self.works[key].paces[self.name].load_seconds

    def cost(self, key: str) -> float:
        load = 0.0 if key in self.place.resident else self.works[key].paces[self.name].load_seconds
        return load + self.works[key].seconds(self.name, self.jobs[key])

    @property
    def end(self) -> float:
        return sum(self.cost(key) for key in self.jobs)

    def changed(self, key: str, by: int) -> float:
        """Its end with so many jobs of ``key`` more, or fewer."""
        before = self.cost(key) if key in self.jobs else 0.0
        jobs = self.jobs.get(key, 0) + by
        if not jobs:
            return self.end - before
        load = 0.0 if key in self.place.resident else self.works[key].paces[self.name].load_seconds
        return self.end - before + load + self.works[key].seconds(self.name, jobs)

    def add(self, key: str, by: int) -> None:
        self.jobs[key] = self.jobs.get(key, 0) + by
        if not self.jobs[key]:
            del self.jobs[key]


def _plan(works: Sequence[_Work], places: Sequence[Place], keys: frozenset[str]) -> list[HostQuote]:
    by_key = {work.runner_key: work for work in works if work.jobs > 0}
    hosts = [_Host(place, by_key) for place in sorted(places, key=lambda place: place.host)]
    longest = sorted(
        by_key.values(),
        key=lambda work: (-min(work.seconds(host, work.jobs) for host in work.paces), work.runner_key),
    )
    for work in longest:
        able = [host for host in hosts if host.name in work.paces]
        best = min(able, key=lambda host: (host.changed(work.runner_key, work.jobs), host.name))
        best.add(work.runner_key, work.jobs)
    for _ in range(8 * len(hosts) + len(by_key)):
        if not _evened(hosts, keys):
            break
    return [_written(host, keys) for host in hosts]


def _evened(hosts: Sequence[_Host], keys: frozenset[str]) -> bool:
    """Have the host that ends last with wanted work give some of its work away; False where nothing is gained by that."""
    concerned = [host for host in hosts if not keys.isdisjoint(host.jobs)]
    if not concerned:
        return False
    last = max(concerned, key=lambda host: (host.end, host.name))
    end = last.end
    best: tuple[float, _Host, str, int] | None = None
    for key, there in last.jobs.items():
        work = last.works[key]
        for other in hosts:
            if other is last or other.name not in work.paces:
                continue
            setup = other.setup(key)
            even = (end - other.end - setup) / (work.each(last.name) + work.each(other.name))
            jobs = min(there, math.floor(even))
            if jobs < 1:
                continue
            after = max(last.changed(key, -jobs), other.changed(key, jobs))
            if end - after >= max(PAYS * setup, end / 1000) and (best is None or after < best[0]):
                best = after, other, key, jobs
    if best is None:
        return False
    _, other, key, jobs = best
    last.add(key, -jobs)
    other.add(key, jobs)
    return True


def _written(host: _Host, keys: frozenset[str]) -> HostQuote:
    """What is in the way first, what is loaded before what is not."""
    parts: list[Part] = []
    at = 0.0
    for key in sorted(host.jobs, key=lambda key: (key in keys, key not in host.place.resident, key)):
        work = host.works[key]
        load = 0.0 if key in host.place.resident else work.paces[host.name].load_seconds
        seconds = work.seconds(host.name, host.jobs[key])
        at += load + seconds
        parts.append(Part(key, host.jobs[key], load, seconds, at))
    return HostQuote(host.name, tuple(parts))


def _end(hosts: Sequence[HostQuote], keys: frozenset[str]) -> float:
    return max((part.until for host in hosts for part in host.parts if part.runner_key in keys), default=0.0)
