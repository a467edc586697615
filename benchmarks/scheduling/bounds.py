"""No schedule is shorter than this, and none does with fewer loads.

Each bound leaves out something that a real schedule cannot (loads, the end of a run, who can hold what); the largest counts.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

from benchmarks.scheduling.night import Night, together


def work_by_key(night: Night) -> dict[str, float]:
    """Host-seconds at speed 1 with all slots busy, a prefix counted once."""
    slots = max(host.slots for host in night.hosts)
    work: dict[str, float] = defaultdict(float)
    prefixes = set()
    for job in night.jobs:
        work[job.key] += job.work
        if job.prefix is not None and (job.key, job.prefix) not in prefixes:
            prefixes.add((job.key, job.prefix))
            work[job.key] += job.prefix_work
    return {key: seconds / together(slots) for key, seconds in work.items()}


def shortest(night: Night) -> float:
    """Seconds from the first submission until all is done, at least."""
    return max(_area(night), _path(night), _capability(night), _set_ups(night))


def fewest_loads(night: Night, until: float) -> int:
    """Loads, at least, of a schedule that ends after ``until`` seconds, from empty hosts: one host can give a key no
    more than what is left of the night after its load."""
    work = _by_runner(night, work_by_key(night))
    fastest = _capacity(night, most=True)
    loads = 0
    for key, seconds in work.items():
        left = until - night.by_key[key].load_seconds
        loads += max(1, math.ceil(seconds / (fastest * left) - 1e-9)) if left > 0 else 1
    return loads


def _by_runner(night: Night, work: Mapping[str, float]) -> dict[str, float]:
    """Windows of one model put together: the largest runner serves them all."""
    largest: dict[str, str] = {}
    for model in night.models:
        name = model.of or model.key
        if model.window and (name not in largest or night.by_key[largest[name]].window < model.window):
            largest[name] = model.key
    found: dict[str, float] = defaultdict(float)
    for key, seconds in work.items():
        model = night.by_key[key]
        found[largest.get(model.of or key, key) if model.window else key] += seconds
    return dict(found)


def _capacity(night: Night, *, most: bool = False) -> float:
    """Host-seconds of work done in a second: of all hosts, or of the fastest."""
    return max(_capacities(night)) if most else sum(_capacities(night))


def _capacities(night: Night) -> list[float]:
    slots = max(host.slots for host in night.hosts)
    return [host.speed * together(host.slots) / together(slots) for host in night.hosts]


def _area(night: Night) -> float:
    """What is submitted late has to be done after that."""
    slots = max(host.slots for host in night.hosts)
    capacity = _capacity(night)
    left = sum(work_by_key(night).values())
    best = 0.0
    seen = set()
    for job in sorted(night.jobs, key=lambda job: job.release):
        best = max(best, job.release + left / capacity)
        fresh = job.prefix is not None and (job.key, job.prefix) not in seen
        seen.add((job.key, job.prefix))
        left -= (job.work + (job.prefix_work if fresh else 0.0)) / together(slots)
    return best


def _path(night: Night) -> float:
    """No job is faster than alone on the fastest host, after its submission and a load of its model."""
    fastest = max(host.speed for host in night.hosts)
    return max(
        max(job.release, night.by_key[job.key].load_seconds) + job.work / fastest for job in night.jobs
    )


def _capability(night: Night) -> float:
    """A model's work is done by those that can hold it, after a load."""
    slots = max(host.slots for host in night.hosts)
    best = 0.0
    for key, seconds in work_by_key(night).items():
        model = night.by_key[key]
        able = [host for host in night.hosts if model.hosts is None or host.name in model.hosts]
        speed = sum(host.speed * together(host.slots) / together(slots) for host in able)
        best = max(best, model.load_seconds + seconds / speed)
    return best


def _set_ups(night: Night) -> float:
    """Each key needs so many loads that each of them leaves one host time enough; the smallest T for which it fits.

    While a host loads it does nothing else, however many models it holds: that is a law of the simulation, since a request
    that needs a load is never sent to a host that runs (it would wait there, with the queue behind it).
    """
    work = _by_runner(night, work_by_key(night))
    capacity, fastest = _capacity(night), _capacity(night, most=True)
    slowest = min(_capacities(night))  # the host that is missed least while it loads
    loads = {key: night.by_key[key].load_seconds for key in work}

    def fits(until: float) -> bool:
        total = 0.0
        for key, seconds in work.items():
            if until <= loads[key]:
                return False
            times = math.ceil(seconds / (fastest * (until - loads[key])) - 1e-9)
            total += seconds + times * loads[key] * slowest
        return total <= capacity * until

    low, high = 0.0, (sum(work.values()) + sum(loads.values())) / min(slowest, capacity) + max(loads.values())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
