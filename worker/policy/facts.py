"""What does a choice depend on, and what can it be? The values that ``policy.choose`` takes and gives.

All times are seconds on one clock, whichever its origin. Nothing here knows a database or a host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from worker.domain.jobs import Priority
from worker.records import record


@record
class Tier:
    """Queued jobs of one runner key at one priority."""

    jobs: int
    """At least 1."""
    oldest_at: float
    """When the oldest of them became eligible."""
    served_at: float | None = None
    """When any of this key and priority was last claimed, by any host."""


@record
class Due:
    """``jobs`` that are to be done by ``at``."""

    at: float
    jobs: int


@record
class Work:
    """What waits for one runner key, and what is known of that key."""

    runner_key: str
    tiers: Mapping[Priority, Tier]
    model: str = ""
    """Normalised name. Two keys of one model are never loaded side by side (``server/sched.go needsReload``); the
    runner key stands in where nothing is given."""
    due: Sequence[Due] = ()
    """The jobs among them that have a deadline, the earliest first, in at most 8 groups."""
    load_seconds: float = 20.0
    service_seconds: float = 1.0
    """How long a job keeps its slot while the other slots are busy too, on a host of speed 1."""
    memory: int | None = None
    """Bytes that the runner takes, as seen; at least those of the model on disk. None where nobody knows either."""
    tried: bool = True
    """Its service time was seen somewhere; False where it is a guess."""
    group: float = 1.0
    """Jobs in a row that share a prefix, on average."""

    @property
    def jobs(self) -> int:
        return sum(tier.jobs for tier in self.tiers.values())


@record
class HostFacts:
    """A host as a choice sees it."""

    name: str
    slots: int = 1
    speed: float = 1.0
    """How many times faster than the fleet's mean its jobs go."""
    resident: Mapping[str, int] = field(default_factory=dict)
    """Runner keys it has loaded → jobs in flight of each."""
    models_at_once: int = 1
    memory: int | None = None
    """Bytes for runners; None where nobody has told."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes that each resident takes, where the host tells."""
    loading: str | None = None
    """The runner key it loads, or runs dry for; of the host that decides, what it runs dry for."""
    loading_until: float | None = None
    """When that load is expected to be done."""
    loading_starved: bool = False
    serving: bool = True
    """Somebody works for it now."""
    models: frozenset[str] | None = None
    """Models it has on disk, by their normalised names; None where nobody has looked, it may have any."""
    blocked: Mapping[str, float] = field(default_factory=dict)
    """Runner keys that failed there lately → when they may be tried again."""
    draining: bool = False
    """It takes nothing new."""
    loads: Mapping[str, float] = field(default_factory=dict)
    """Seconds that a load took here, where it was seen; the key's own estimate holds for the others."""
    loaded_at: float | None = None
    """When its last load ended, and how long that took."""
    loaded_seconds: float = 0.0

    @property
    def in_flight(self) -> int:
        return sum(self.resident.values())


class Order(StrEnum):
    """In which order the jobs of a claim are taken from the queue."""

    GROUP = "group"
    """Those with a deadline by it, the others as they were submitted, jobs that share a prefix together."""
    LONGEST = "longest"
    """The longest first: where little is left, what is started last decides when all is done."""


@record
class RunJobs:
    """Claim up to ``jobs`` of ``runner_key``, which is resident; of ``priorities`` alone where that is given."""

    runner_key: str
    jobs: int
    reason: str
    priorities: tuple[Priority, ...] | None = None
    order: Order = Order.GROUP
    whole: bool = False
    """They belong together: claim them all, though each of them takes long."""


@record
class LoadRunner:
    """Run dry, unload ``evict`` and load ``runner_key``."""

    runner_key: str
    reason: str
    evict: tuple[str, ...] = ()
    starved: bool = False


@record
class Wait:
    """Nothing to do here now."""

    reason: str


Decision = RunJobs | LoadRunner | Wait


@record
class Parameters:
    """The policy's numbers; what they were tuned on is in docs/explanation/scheduling.md."""

    patience: Mapping[Priority, float] = field(
        default_factory=lambda: {
            Priority.INTERACTIVE: float("inf"),
            Priority.HIGH: 300.0,
            Priority.NORMAL: 1200.0,
            Priority.BULK: 7200.0,
        }
    )
    """Seconds that a runner key may wait at a priority without any of it being served. Interactive work is served
    oldest first before all else; a bound on top of that made hosts evict each other's interactive models."""
    payback: Mapping[Priority, float] = field(
        default_factory=lambda: {
            Priority.INTERACTIVE: 0.0,
            Priority.HIGH: 1.0,
            Priority.NORMAL: 3.0,
            Priority.BULK: 3.0,
        }
    )
    """A host that has work at hand leaves it for another key only where that key keeps it busy for this many times
    what the load, and the way back, take."""
    payback_idle: float = 0.5
    """The same for a host that has nothing to do, where another host holds the key."""
    interactive_regret: float = 0.5
    """Seconds of an interactive job's delay that a second of reloading is worth."""
    settle: float = 3.0
    """A host with work at hand loads nothing for this many times what its last load took."""
    deadline_share: float = 0.5
    """Dated work comes first from when it needs this share of what the fleet can do until its deadline."""
    deadline_margin: float = 0.15
    deadline_seconds: float = 30.0
    deadline_tails: float = 3.0
    """Slack kept before a deadline: a share of the need, seconds, and jobs' lengths."""
    claim_seconds: float = 10.0
    """A claim reaches about this far ahead."""
    claim_most: int = 64
    overcommit: int = 1
    """Slots more than there are that an interactive job on a resident runner may take."""
    likely_seconds: float = 600.0
    """A resident runner without work is worth keeping if work for it is likely within this time."""


@record
class Facts:
    """All that a choice depends on."""

    host: HostFacts
    peers: Sequence[HostFacts]
    work: Sequence[Work]
    now: float
    interactive_at: Mapping[str, float] = field(default_factory=dict)
    """Runner key → when interactive work of it was last claimed, by any host: it is likely to come again."""
    parameters: Parameters = Parameters()
