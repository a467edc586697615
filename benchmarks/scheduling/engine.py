"""A night, event by event: submissions, ends of jobs, ends of loads, a tick every five seconds.

Busy slots of a host share it: each of ``n`` goes at ``n ** (SHARING - 1)`` of the host's speed, so a job's end is known
in the host's own virtual time. A load begins only when nothing runs on the host, and nothing starts while it loads.
A request more than there are slots waits at the host for the next of them: slots are what a host can do at once.
"""

import heapq
import math
import random
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.scheduling.night import SHARING, HostSpec, Job, Night
from worker.domain.jobs import Priority

TICK = 5.0
LOAD_NOISE = 0.15
"""Log-sigma of a load's duration."""


@dataclass
class Slot:
    prefix: tuple[str, int] | None = None
    """What it evaluated last."""


@dataclass
class Running:
    job: Job
    slot: int
    began: float


@dataclass
class SimHost:
    """One host, as it is."""

    spec: HostSpec
    resident: dict[str, float] = field(default_factory=dict)
    """Key → when it was used last."""
    loading: str | None = None
    loading_until: float = 0.0
    starved: bool = False
    intent: str | None = None
    """What the slots run dry for."""
    running: dict[int, Running] = field(default_factory=dict)
    knocking: list[Job] = field(default_factory=list)
    """Sent to the host while all its slots were busy: theirs is the next slot."""
    buffer: list[Job] = field(default_factory=list)
    """Claimed and not started."""
    slots: list[Slot] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)
    virtual: float = 0.0
    at: float = 0.0
    version: int = 0
    loaded_at: float | None = None
    loaded_seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.spec.name

    def advance(self, now: float) -> None:
        if self.running:
            self.virtual += (now - self.at) * self.rate
        self.at = now

    @property
    def rate(self) -> float:
        return float(self.spec.speed * len(self.running) ** (SHARING - 1))

    @property
    def claimed(self) -> list[Job]:
        """Jobs that are this host's now: running, sent, or waiting for a slot."""
        return [*(running.job for running in self.running.values()), *self.knocking, *self.buffer]


@dataclass(frozen=True, slots=True)
class Load:
    key: str
    evict: tuple[str, ...] = ()
    starved: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Jobs that were taken from the queue for this host, in the order they are to be run in."""

    jobs: Sequence[Job]


Act = Load | Take | None
Policy = Callable[["Sim", SimHost], Act]
"""What a host does next, asked while it has a slot to spare; None for nothing."""


@dataclass
class Outcome:
    """What a night came to."""

    seconds: float = 0.0
    loads: int = 0
    load_seconds: float = 0.0
    waits: dict[Priority, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Submission to end."""
    longest_wait: float = 0.0
    """Submission to start."""
    missed: set[int] = field(default_factory=set)
    dated: int = 0
    prefixes: int = 0
    """Times that a prefix was evaluated."""


class Sim:
    """The state of a night under a policy."""

    def __init__(self, night: Night, policy: Policy, *, seed: int, sees_urgent: bool = False) -> None:
        self.night, self.policy, self.sees_urgent = night, policy, sees_urgent
        self.now = 0.0
        self.only_urgent = False
        """The host has jobs enough: only an interactive one, or a load, is worth a thought."""
        self.chance = random.Random(seed)
        self.hosts = [SimHost(spec, slots=[Slot() for _ in range(spec.slots)]) for spec in night.hosts]
        self.queued: dict[str, dict[Priority, list[Job]]] = defaultdict(lambda: defaultdict(list))
        self.waiting = 0
        self.outcome = Outcome()
        self.finished: list[Callable[[SimHost, Job, float], None]] = []
        """Told of each end: host, job, seconds in its slot."""
        self.loaded: list[Callable[[SimHost, str, float], None]] = []
        self._events: list[tuple[float, int, str, object]] = []
        self._count = 0
        self._left = len(night.jobs)
        self._fit = night.by_key
        self.dated: dict[str, Counter[float]] = defaultdict(Counter)
        """Queued jobs by key and deadline."""

    # -- the queue ------------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        jobs = self.queued[job.key][job.priority]
        if jobs and jobs[-1].number > job.number:
            insort(jobs, job, key=lambda one: one.number)  # given back: the oldest stays in front
        else:
            jobs.append(job)
        if job.deadline is not None:
            self.dated[job.key][job.deadline] += 1
        self.waiting += 1

    def take(self, jobs: Iterable[Job]) -> list[Job]:
        """Take these jobs from the queue."""
        wanted = list(jobs)
        by_place: dict[tuple[str, Priority], set[int]] = defaultdict(set)
        for job in wanted:
            by_place[job.key, job.priority].add(job.number)
            if job.deadline is not None:
                self.dated[job.key][job.deadline] -= 1
        for (key, priority), numbers in by_place.items():
            jobs = self.queued[key][priority]
            if all(job.number in numbers for job in jobs[: len(numbers)]):
                del jobs[: len(numbers)]
            else:
                jobs[:] = [job for job in jobs if job.number not in numbers]
            if not jobs:
                del self.queued[key][priority]
        self.waiting -= len(wanted)
        return wanted

    def give_back(self, host: SimHost) -> None:
        for job in host.buffer:
            self.submit(job)
        host.buffer = []

    # -- events ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        for job in self.night.jobs:
            self._at(job.release, "submit", job)
        self._at(TICK, "tick", None)
        while self._left and self._events:
            self.now, _, kind, what = heapq.heappop(self._events)
            touched = self._happen(kind, what)
            while self._events and self._events[0][0] == self.now:
                _, _, kind, what = heapq.heappop(self._events)
                touched |= self._happen(kind, what)
            for host in self.hosts:
                if host.name in touched or "" in touched:
                    self._serve(host)
        self.outcome.seconds = self.now
        return self.outcome

    def _at(self, when: float, kind: str, what: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, kind, what))

    def _happen(self, kind: str, what: object) -> set[str]:
        match kind, what:
            case "submit", Job() as job:
                self.submit(job)
                return {""}
            case "tick", _:
                self._at(self.now + TICK, "tick", None)
                return {""}
            case "end", (SimHost() as host, int() as version):
                if version != host.version:
                    return set()
                return self._ended(host)
            case "loaded", SimHost() as host:
                return self._has_loaded(host)
            case _:
                raise AssertionError(kind)

    def _ended(self, host: SimHost) -> set[str]:
        host.advance(self.now)
        while host.ends and host.ends[0][0] <= host.virtual + 1e-9:
            _, number = heapq.heappop(host.ends)
            running = host.running.pop(number)
            job = running.job
            host.resident[job.key if job.key in host.resident else self.runner_of(host, job)] = self.now
            self.outcome.waits[job.priority].append(self.now - job.release)
            if job.deadline is not None and self.now > job.deadline:
                self.outcome.missed.add(job.number)
            self._left -= 1
            for hear in self.finished:
                hear(host, job, self.now - running.began)
            if host.knocking:
                self._start(host, host.knocking.pop(0), running.slot)
        self._next_end(host)
        return {host.name}

    def runner_of(self, host: SimHost, job: Job) -> str:
        """Which of the host's runners serves the job."""
        model = self._fit[job.key]
        for key in host.resident:
            there = self._fit[key]
            if key == job.key or (model.window and there.of == model.of and there.window >= model.window):
                return key
        raise AssertionError(f"{job.key} is not resident on {host.name}")

    def _next_end(self, host: SimHost) -> None:
        host.version += 1
        if host.ends:
            left = max(0.0, host.ends[0][0] - host.virtual)
            self._at(self.now + left / host.rate, "end", (host, host.version))

    def _has_loaded(self, host: SimHost) -> set[str]:
        key = host.loading
        assert key is not None
        host.resident[key] = self.now
        host.loading, host.loaded_at = None, self.now
        for hear in self.loaded:
            hear(host, key, host.loaded_seconds)
        return {""}

    # -- what a host does -----------------------------------------------------------------------------------------

    def _serve(self, host: SimHost) -> None:
        while host.loading is None:
            self._start_buffered(host)
            urgent = self.sees_urgent and any(Priority.INTERACTIVE in tiers for tiers in self.queued.values())
            free = host.spec.slots - len(host.running) - len(host.knocking)
            self.only_urgent = bool(host.buffer) and not self._only_doubled(host)
            if self.only_urgent and not urgent:
                return
            if free <= 0 and not (urgent and free > -1):
                return
            if not self.waiting:
                host.intent = None
                return
            match self.policy(self, host):
                case Take(jobs=jobs):
                    host.intent = None
                    if not jobs:
                        return
                    host.buffer = self._with_urgent_first([*host.buffer, *jobs])
                case Load() as load:
                    self.give_back(host)
                    if host.running:
                        host.intent, host.starved = load.key, load.starved
                        return
                    self._load(host, load)
                case None:
                    host.intent = None
                    if not host.buffer:
                        return
                    self._start_buffered(host, doubled=True)
                    return

    @staticmethod
    def _with_urgent_first(jobs: list[Job]) -> list[Job]:
        return sorted(jobs, key=lambda job: job.priority != Priority.INTERACTIVE)

    def _only_doubled(self, host: SimHost) -> bool:
        """Whether all that is claimed begins like what runs: another claim before a prefix is evaluated twice."""
        at = {(r.job.key, r.job.prefix) for r in host.running.values() if r.job.prefix is not None}
        more = any(key in host.resident for key, tiers in self.queued.items() if tiers)
        return bool(at) and more and all((job.key, job.prefix) in at for job in host.buffer)

    def _start_buffered(self, host: SimHost, *, doubled: bool = False) -> None:
        while host.buffer:
            if len(host.running) >= host.spec.slots:
                if host.buffer[0].priority == Priority.INTERACTIVE and not host.knocking:
                    host.knocking.append(host.buffer.pop(0))
                return
            busy = {running.slot for running in host.running.values()}
            idle = [n for n in range(len(host.slots)) if n not in busy]
            at = {(r.job.key, r.job.prefix) for r in host.running.values()}
            picked = self._pick(host, idle, at)
            if picked is None:
                if not doubled and self._only_doubled(host):
                    return
                picked = host.buffer[0], idle[0]
            host.buffer.remove(picked[0])
            self._start(host, *picked)

    def _pick(
        self, host: SimHost, idle: list[int], at: set[tuple[str, int | None]]
    ) -> tuple[Job, int] | None:
        first = host.buffer[0]
        alike = [
            job for job in host.buffer if job.priority == first.priority and job.deadline == first.deadline
        ]
        for job in alike:
            if job.prefix is None:
                return job, idle[-1]
            for slot in idle:
                if host.slots[slot].prefix == (job.key, job.prefix):
                    return job, slot
        for job in alike:
            if (job.key, job.prefix) not in at:
                return job, idle[0]
        return None

    def _start(self, host: SimHost, job: Job, slot: int) -> None:
        host.advance(self.now)
        work = job.work
        if job.prefix is not None:
            if host.slots[slot].prefix != (job.key, job.prefix):
                work += job.prefix_work
                self.outcome.prefixes += 1
            host.slots[slot].prefix = (job.key, job.prefix)
        else:
            host.slots[slot].prefix = None
        host.running[job.number] = Running(job, slot, self.now)
        heapq.heappush(host.ends, (host.virtual + work, job.number))
        self.outcome.longest_wait = max(self.outcome.longest_wait, self.now - job.release)
        self._next_end(host)

    def _load(self, host: SimHost, load: Load) -> None:
        for key in load.evict:
            host.resident.pop(key, None)
        for slot in host.slots:
            if slot.prefix is not None and slot.prefix[0] not in host.resident:
                slot.prefix = None
        seconds = self._fit[load.key].load_seconds * math.exp(self.chance.gauss(0, LOAD_NOISE))
        host.loading, host.loading_until, host.starved = load.key, self.now + seconds, load.starved
        host.intent, host.loaded_seconds = None, seconds
        self.outcome.loads += 1
        self.outcome.load_seconds += seconds
        self._at(self.now + seconds, "loaded", host)
