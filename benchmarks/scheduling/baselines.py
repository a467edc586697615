"""What people run today, as policies of the simulation. Each of them knows lengths and loads as little as it needs to."""

from collections.abc import Callable, Iterable

from benchmarks.scheduling.engine import Act, Load, Policy, Sim, SimHost, Take
from benchmarks.scheduling.night import Job
from worker.domain.jobs import Priority

VISIT = 16


class Next:
    """One job after another, as ``pick`` chooses; a host that has to load for its job holds it meanwhile."""

    def __init__(self, pick: Callable[[Sim, SimHost], Job | None], otherwise: Policy | None = None) -> None:
        self._pick, self._otherwise = pick, otherwise
        self._held: dict[str, Job] = {}

    def __call__(self, sim: Sim, host: SimHost) -> Act:
        held = self._held.get(host.name)
        if held is not None:
            if held.key not in host.resident:
                return _load(sim, host, held.key)
            del self._held[host.name]
            sim.waiting -= 1
            return Take([held])
        job = self._pick(sim, host)
        if job is None:
            return None if self._otherwise is None else self._otherwise(sim, host)
        sim.take([job])
        if job.key in host.resident:
            return Take([job])
        self._held[host.name] = job
        sim.waiting += 1  # it still has to be served
        return _load(sim, host, job.key)


def oldest(sim: Sim, host: SimHost) -> Job | None:
    """First come, first served."""
    return _oldest(sim, host, urgent_first=False)


def oldest_urgent_first(sim: Sim, host: SimHost) -> Job | None:
    """The oldest of the most urgent."""
    return _oldest(sim, host, urgent_first=True)


def urgent(sim: Sim, host: SimHost) -> Job | None:
    """The oldest interactive job."""
    job = _oldest(sim, host, urgent_first=True)
    return job if job is not None and job.priority == Priority.INTERACTIVE else None


def due_first(sim: Sim, host: SimHost) -> Job | None:
    """The job that is due first; of those, one whose model is here."""
    dated = [
        job
        for key, tiers in sim.queued.items()
        if any(sim.dated[key].values()) and _can(sim, host, key)
        for jobs in tiers.values()
        for job in jobs
        if job.deadline is not None
    ]
    return min(dated, key=lambda job: (job.deadline, job.key not in host.resident, job.number), default=None)


class RoundRobin:
    """So many jobs of each model in turn."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[str, int]] = {}

    def __call__(self, sim: Sim, host: SimHost) -> Act:
        keys = sorted(key for key in sim.queued if sim.queued[key] and _can(sim, host, key))
        if not keys:
            return None
        key, left = self._at.get(host.name, ("", 0))
        if key not in keys or left <= 0:
            key, left = next((one for one in keys if one > key), keys[0]), VISIT
        if key not in host.resident:
            self._at[host.name] = (key, left)
            return _load(sim, host, key)
        jobs = _first(sim, key, min(left, host.spec.slots))
        self._at[host.name] = (key, left - len(jobs))
        return Take(sim.take(jobs))


class CeleryPull:
    """A worker for each slot takes the oldest message; Ollama loads what that needs when nothing runs, LRU out.

    A request whose model is loaded passes those that wait for another (``server/sched.go``).
    """

    def __init__(self) -> None:
        self._taken: dict[str, list[Job]] = {}

    def __call__(self, sim: Sim, host: SimHost) -> Act:
        taken = self._taken.setdefault(host.name, [])
        while len(taken) + len(host.running) < host.spec.slots:
            job = _oldest(sim, host, urgent_first=False)
            if job is None:
                break
            taken += sim.take([job])
            sim.waiting += 1  # it still has to be served
        ready = [job for job in taken if job.key in host.resident]
        if ready:
            self._taken[host.name] = [job for job in taken if job.key not in host.resident]
            sim.waiting -= len(ready)
            return Take(ready)
        return _load(sim, host, taken[0].key) if taken else None


def longest_queue(sim: Sim, host: SimHost) -> Act:
    """Exhaustive: a model's jobs until there are none, then the model with most."""
    return _exhaustive(sim, host, lambda key: sum(map(len, sim.queued[key].values())))


def collate(sim: Sim, host: SimHost) -> Act:
    """Exhaustive as llama-swap collates: then the model whose job is the oldest."""
    return _exhaustive(sim, host, lambda key: -min(jobs[0].number for jobs in sim.queued[key].values()))


def _exhaustive(sim: Sim, host: SimHost, worth: Callable[[str], float]) -> Act:
    keys = [key for key in sim.queued if sim.queued[key] and _can(sim, host, key)]
    here = [key for key in keys if key in host.resident]
    if here:
        key = max(here, key=lambda one: (worth(one), one))
        return Take(sim.take(_first(sim, key, host.spec.slots)))
    return _load(sim, host, max(keys, key=lambda one: (worth(one), one))) if keys else None


def _first(sim: Sim, key: str, count: int) -> list[Job]:
    found: list[Job] = []
    for _, jobs in sorted(sim.queued[key].items()):
        found += jobs[: count - len(found)]
    return found


def _can(sim: Sim, host: SimHost, key: str) -> bool:
    hosts = sim.night.by_key[key].hosts
    return hosts is None or host.name in hosts


def _oldest(sim: Sim, host: SimHost, *, urgent_first: bool) -> Job | None:
    def heads() -> Iterable[Job]:
        for key, tiers in sim.queued.items():
            if _can(sim, host, key):
                for jobs in tiers.values():
                    yield jobs[0]

    order = (
        (lambda job: (job.priority, job.release, job.number))
        if urgent_first
        else (lambda job: (job.release, job.number))
    )
    return min(heads(), key=order, default=None)


def _load(sim: Sim, host: SimHost, key: str) -> Load:
    """The least recently used makes room, and always another window of the same model."""
    model = sim.night.by_key[key]
    evict = [one for one in host.resident if model.of and sim.night.by_key[one].of == model.of]
    rest = sorted((at, one) for one, at in host.resident.items() if one not in evict)
    while len(rest) >= host.spec.models_at_once:
        evict.append(rest.pop(0)[1])
    return Load(key, tuple(evict))


BASELINES: dict[str, Callable[[], Policy]] = {
    "first come": lambda: Next(oldest),
    "first come, urgent first": lambda: Next(oldest_urgent_first),
    "round robin 16": RoundRobin,
    "plain Celery": CeleryPull,
    "exhaustive": lambda: longest_queue,
    "exhaustive, urgent preempts": lambda: Next(urgent, longest_queue),
    "collate (llama-swap)": lambda: collate,
    "strict EDF": lambda: Next(due_first, longest_queue),
}
