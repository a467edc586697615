"""What follows from the facts: who holds and serves a runner key, what a load costs here, what leaving costs.

Computed once for a choice; every rule reads it.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cached_property

from worker.domain.jobs import Priority
from worker.policy.facts import Facts, HostFacts, Parameters, Work
from worker.records import record

ELSEWHERE_SHARE = 0.3
"""What a resident runner is worth, of its load, where another host holds it too."""
DRAIN = 0.7
"""Share of a job's length until the last of some that run has ended, about."""


@record
class SetUp:
    """What it takes until a host can run a key."""

    seconds: float = 0.0
    """The running jobs' ends and the load."""
    evict: tuple[str, ...] = ()
    regret: float = 0.0
    """Seconds that will be spent on loading again what is evicted."""


class Picture:
    """The facts, with what the rules derive from them. Nothing of it changes."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.host = facts.host
        self.now = facts.now
        self.work = {work.runner_key: work for work in facts.work}
        self._holders: dict[str, list[HostFacts]] = {}
        self._servers: dict[str, list[HostFacts]] = {}
        for other in facts.peers:
            if not other.serving:
                continue
            held = set(other.resident)
            if other.loading is not None:
                held.add(other.loading)
            for key in held:
                self._holders.setdefault(key, []).append(other)
                if other.loading == key or other.resident.get(key):
                    self._servers.setdefault(key, []).append(other)
        self._setups: dict[tuple[str, str], SetUp] = {}

    @property
    def parameters(self) -> Parameters:
        return self.facts.parameters

    @cached_property
    def candidates(self) -> Sequence[Work]:
        """The work that this host could do now."""
        return [work for work in self.facts.work if work.tiers and can_hold(self.host, work, self.now)]

    @cached_property
    def local(self) -> Sequence[Work]:
        """The work whose runner is here."""
        return [work for work in self.candidates if work.runner_key in self.host.resident]

    @property
    def has_local(self) -> bool:
        return bool(self.local)

    def holders(self, key: str) -> Sequence[HostFacts]:
        """The other hosts that have it loaded, or load it."""
        return self._holders.get(key, ())

    def servers(self, key: str) -> Sequence[HostFacts]:
        """The other hosts that run its jobs now, or load it."""
        return self._servers.get(key, ())

    def served_rate(self, work: Work) -> float:
        """Jobs per second that the other hosts do of it."""
        return sum(rate(other, work) for other in self.servers(work.runner_key))

    def setup(self, work: Work, host: HostFacts | None = None) -> SetUp:
        """What it takes to have ``work`` run on ``host``, this one where none is given."""
        host = host or self.host
        cached = self._setups.get((host.name, work.runner_key))
        if cached is None:
            cached = self._setups[host.name, work.runner_key] = self._set_up(work, host)
        return cached

    def _set_up(self, work: Work, host: HostFacts) -> SetUp:
        if work.runner_key in host.resident:
            return SetUp()
        evict = self._victims(work, host)
        seconds = load_seconds(host, work) + self.drain(host)
        return SetUp(seconds, evict, sum(self._worth(host, key) for key in evict))

    def drain(self, host: HostFacts) -> float:
        """Until the host's running jobs have ended: nothing that needs a load is sent while a run goes on."""
        lengths = [self._length(key) for key, jobs in host.resident.items() if jobs]
        return DRAIN * max(lengths, default=0.0) / host.speed

    def next_free(self, host: HostFacts) -> float:
        """Seconds until a slot of the host is free, about."""
        if host.in_flight < host.slots:
            return 0.0
        lengths = [self._length(key) for key, jobs in host.resident.items() if jobs]
        return max(lengths, default=0.0) / host.speed / (host.in_flight + 1)

    def dry_in(self, host: HostFacts) -> float:
        """Seconds until another host has no work for what it holds."""
        waits = 0.0
        for key in host.resident:
            work = self.work.get(key)
            if work is not None and work.tiers:
                servers = self.served_rate(work) + (
                    rate(self.host, work) if self.host.resident.get(key) else 0.0
                )
                waits = max(waits, work.jobs / max(servers, rate(host, work)))
        return waits + self.drain(host)

    def _length(self, key: str) -> float:
        work = self.work.get(key)
        return 1.0 if work is None else work.service_seconds

    def _victims(self, work: Work, host: HostFacts) -> tuple[str, ...]:
        """Another variant of the model first, then what is worth least, until there is room."""
        model = work.model or work.runner_key
        evict = [key for key in host.resident if self._model(key) == model]
        rest = [key for key in host.resident if key not in evict]
        rest.sort(key=lambda key: (self._worth(host, key), key))
        while rest and not _fits(host, rest, work):
            evict.append(rest.pop(0))
        return tuple(evict)

    def _model(self, key: str) -> str:
        work = self.work.get(key)
        return work.model or key if work is not None else key.split(" ", 1)[0]

    def _worth(self, host: HostFacts, key: str) -> float:
        """Seconds that will be spent on loading it again."""
        work = self.work.get(key)
        seconds = load_seconds(host, work) if work is not None else host.loads.get(key, 20.0)
        elsewhere = any(other is not host for other in self._all_holders(key))
        share = ELSEWHERE_SHARE if elsewhere else 1.0
        if work is not None and work.tiers:
            return seconds * share
        last = self.facts.interactive_at.get(key)
        if last is None:
            return 0.0
        likely = self.parameters.likely_seconds
        return seconds * share * likely / (likely + max(0.0, self.now - last))

    def has_demand(self, key: str) -> bool:
        """Whether people asked for it lately and no other host has it: without it here, the next one waits for a load."""
        last = self.facts.interactive_at.get(key)
        return last is not None and self.now - last < self.parameters.likely_seconds and not self.holders(key)

    def _all_holders(self, key: str) -> Iterable[HostFacts]:
        yield from self.holders(key)
        if key in self.host.resident:
            yield self.host


class Obstacle(StrEnum):
    """Why a host does not take jobs of a runner key, whatever it would pay."""

    RESTS = "rests"
    """It takes nothing new: it is drained, outside of its hours, or in quarantine."""
    STEPS_BACK = "steps back"
    """The runner failed there lately and is left alone for a while."""
    NO_MODEL = "no model"
    """The model is not on its disk."""
    NO_ROOM = "no room"
    """The runner alone takes more memory than there is for models."""


def obstacle(host: HostFacts, work: Work, now: float) -> Obstacle | None:
    """The first thing that keeps a host from jobs of a runner key; None where nothing does."""
    if host.draining:
        return Obstacle.RESTS
    if host.blocked.get(work.runner_key, now) > now:
        return Obstacle.STEPS_BACK
    if host.models is not None and work.model and work.model not in host.models:
        return Obstacle.NO_MODEL
    if work.runner_key in host.resident or host.memory is None or work.memory is None:
        return None
    return Obstacle.NO_ROOM if work.memory > host.memory else None


def can_hold(host: HostFacts, work: Work, now: float) -> bool:
    """Whether a host has the model (or nobody has looked), room for it, and does not step back from this key."""
    return obstacle(host, work, now) is None


def rate(host: HostFacts, work: Work) -> float:
    """Jobs per second of ``work`` on a host that does nothing else."""
    return host.speed * host.slots / max(work.service_seconds, 1e-3)


def load_seconds(host: HostFacts, work: Work) -> float:
    return host.loads.get(work.runner_key, work.load_seconds)


def jobs_up_to(work: Work, priority: Priority) -> int:
    """Jobs of this priority and of more urgent ones."""
    jobs = 0
    for (
        of,
        tier,
    ) in work.tiers.items():  # not a sum over a generator: it is asked of each key, in each decision
        if of <= priority:
            jobs += tier.jobs
    return jobs


def _fits(host: HostFacts, beside: Sequence[str], work: Work) -> bool:
    if len(beside) >= host.models_at_once:
        return False
    if host.memory is None or work.memory is None:
        return True
    return sum(host.sizes.get(key, 0) for key in beside) + work.memory <= host.memory
