"""What people run today, as policies of the simulation. Each of them knows lengths and loads as little as it needs to."""

from collections.abc import Callable, Iterable

from benchmarks.scheduling.engine import Act, Load, Policy, Sim, SimHost, Take
from benchmarks.scheduling.night import Job
from worker.domain.jobs import Priority

VISIT = 16


def first_come(sim: Sim, host: SimHost) -> Act:
    """The oldest job next, whatever it needs."""
    return _next_of(sim, host, _oldest(sim, host, urgent_first=False))


def first_come_urgent(sim: Sim, host: SimHost) -> Act:
    """The oldest urgent job, else the oldest."""
    return _next_of(sim, host, _oldest(sim, host, urgent_first=True))


def _next_of(sim: Sim, host: SimHost, job: Job | None) -> Act:
    if job is None:
        return None
    if job.key in host.resident:
        return Take(sim.take([job]))
    return _load(sim, host, job.key)


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


def urgent_preempts(sim: Sim, host: SimHost) -> Act:
    """Exhaustive, and an urgent job goes before all else."""
    urgent = _oldest(sim, host, urgent_first=True)
    if urgent is not None and urgent.priority == Priority.INTERACTIVE:
        return _next_of(sim, host, urgent)
    return longest_queue(sim, host)


def earliest_deadline(sim: Sim, host: SimHost) -> Act:
    """Strictly the job that is due first; without dated work exhaustive."""
    dated = [
        job
        for key, tiers in sim.queued.items()
        if any(sim.dated[key].values()) and _can(sim, host, key)
        for jobs in tiers.values()
        for job in jobs
        if job.deadline is not None
    ]
    if not dated:
        return longest_queue(sim, host)
    return _next_of(sim, host, min(dated, key=lambda job: (job.deadline, job.key, job.number)))


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
    "first come": lambda: first_come,
    "first come, urgent first": lambda: first_come_urgent,
    "round robin 16": RoundRobin,
    "plain Celery": CeleryPull,
    "exhaustive": lambda: longest_queue,
    "exhaustive, urgent preempts": lambda: urgent_preempts,
    "collate (llama-swap)": lambda: collate,
    "strict EDF": lambda: earliest_deadline,
}
