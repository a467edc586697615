"""What a host does next: run jobs of the runner it has, load another one, or wait.

A host that drains takes nothing. The rules, in their order; each is a function below and gives its reason with the
decision:

1. **starved**: a runner key and priority that nobody has served within its patience comes first.
2. **priority**: more urgent work first; at one priority the resident runner stays as long as it has work
   (a switch costs a load), and only then a runner key that no other host holds is loaded, the largest first.
3. **join**: a host with nothing of its own helps another host's runner key if what is left there outlasts a load.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.domain.backlog import Waiting
from worker.domain.hosts import HostView
from worker.domain.jobs import Priority


@dataclass(frozen=True, slots=True)
class RunJobs:
    """Claim ``jobs`` of ``runner_key``, which is resident; of ``priorities`` alone where that is given."""

    runner_key: str
    jobs: int
    reason: str
    priorities: tuple[Priority, ...] | None = None


@dataclass(frozen=True, slots=True)
class LoadRunner:
    """Drain, unload what is resident and load ``runner_key``."""

    runner_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do here now."""

    reason: str


Decision = RunJobs | LoadRunner | Wait


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a runner key's speed: seconds a load takes, seconds one job keeps a slot."""

    load_seconds: float = 20.0
    service_seconds: float = 1.0


PATIENCE: Mapping[Priority, timedelta] = {
    Priority.INTERACTIVE: timedelta(seconds=60),
    Priority.HIGH: timedelta(minutes=5),
    Priority.NORMAL: timedelta(minutes=20),
    Priority.BULK: timedelta(hours=2),
}
"""How long work of a runner key may wait without any of it being served."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a choice depends on."""

    host: HostView
    slots: int
    others: Sequence[HostView]
    backlog: Sequence[Waiting]
    now: datetime
    paces: Mapping[str, Pace] = field(default_factory=dict)
    patience: Mapping[Priority, timedelta] = field(default_factory=lambda: PATIENCE)


LOADS_PER_TURN = 4.0
"""Patience is at least this many times what loading every waiting runner key takes: with more keys than that one host
could only ever load, and the starved would take turns in starving each other."""
CLAIM_AHEAD_SECONDS = 2.0
"""A claim reaches about this far ahead: short jobs are claimed many at a time, long ones as slots free."""
CLAIM_MOST = 64
JOIN_FACTOR = 2.0
"""A second host joins a runner key if the work left there would take this many loads' time."""


def choose(facts: Facts) -> Decision:
    """Decide what ``facts.host`` does next.

    The result depends on the arguments alone; a caller that means to load must ask again under the fleet's lock,
    so that two hosts never decide for the same runner key from the same picture.
    """
    if facts.host.draining:
        return Wait("draining")
    servable = [waiting for waiting in facts.backlog if _can_serve(facts, waiting)]
    if not servable:
        return Wait("no work this host could do" if facts.backlog else "no work")
    return _starved(facts, servable) or _by_priority(facts, servable) or _join(facts, servable)


def _can_serve(facts: Facts, waiting: Waiting) -> bool:
    """The model is there (or nobody has looked yet) and this runner key is not backing off here."""
    host = facts.host
    until = host.blocked.get(waiting.runner_key)
    return host.may_have(waiting.model) and (until is None or until <= facts.now)


def _starved(facts: Facts, servable: Sequence[Waiting]) -> Decision | None:
    """Whoever waited past the patience of its priority is served, the longest first.

    The clock starts anew with each claim of that key and priority, so a starved key gets a share, not the host.
    """

    def waited(waiting: Waiting) -> timedelta:
        return facts.now - max(waiting.oldest_at, waiting.served_at or waiting.oldest_at)

    least = LOADS_PER_TURN * sum(_pace(facts, key).load_seconds for key in {w.runner_key for w in servable})
    starved = [w for w in servable if waited(w).total_seconds() > max(_patience(facts, w), least)]
    held = _held_elsewhere(facts)
    for waiting in sorted(starved, key=waited, reverse=True):
        reason = (
            f"starved: {waiting.priority.name.lower()} work waited {waited(waiting).total_seconds():.0f} s"
        )
        if waiting.runner_key == facts.host.resident:
            return RunJobs(waiting.runner_key, min(facts.slots, waiting.jobs), reason, (waiting.priority,))
        if waiting.runner_key not in held:
            return LoadRunner(waiting.runner_key, reason)
    return None


def _patience(facts: Facts, waiting: Waiting) -> float:
    return facts.patience[waiting.priority].total_seconds()


def _pace(facts: Facts, runner_key: str) -> Pace:
    return facts.paces.get(runner_key, Pace())


def _by_priority(facts: Facts, servable: Sequence[Waiting]) -> Decision | None:
    """More urgent work first; the resident runner before a load; the largest unheld key before smaller ones."""
    held = _held_elsewhere(facts)
    for priority in Priority:
        urgent = [w for w in servable if w.priority <= priority]
        at_hand = [w for w in urgent if w.runner_key == facts.host.resident]
        if at_hand:
            key = at_hand[0].runner_key
            rest = sum(w.jobs for w in at_hand)
            return RunJobs(key, claim_size(facts, key, rest), f"resident, {rest} jobs wait")
        totals = _jobs_by_key(w for w in urgent if w.runner_key not in held)
        if totals:
            key = max(totals, key=lambda k: (totals[k], k))
            return LoadRunner(key, f"{priority.name.lower()}: {totals[key]} jobs and no host holds it")
    return None


def _join(facts: Facts, servable: Sequence[Waiting]) -> Decision:
    """Help with a runner key that others hold, if what is left outlasts a load by ``JOIN_FACTOR``."""
    gains: dict[str, float] = {}
    for key, jobs in _jobs_by_key(servable).items():
        pace = _pace(facts, key)
        slots = sum(
            other.slots for other in facts.others if other.serving and key in (other.resident, other.intent)
        )
        left = jobs * pace.service_seconds / max(1, slots)
        if left > JOIN_FACTOR * pace.load_seconds:
            gains[key] = left
    if not gains:
        return Wait("others hold what waits, and a load here would not pay")
    key = max(gains, key=lambda k: (gains[k], k))
    return LoadRunner(key, f"join: about {gains[key]:.0f} s of work left for those who hold it")


def claim_size(facts: Facts, runner_key: str, rest: int) -> int:
    """How many jobs to claim at once: enough to keep all slots busy, not so many that others find none.

    At most half of a server's share of the rest, so that the end of a backlog is spread evenly (guided
    self-scheduling); at least one job a slot.
    """
    pace = facts.paces.get(runner_key)
    servers = 1 + sum(1 for other in facts.others if other.resident == runner_key and other.serving)
    ahead = facts.slots
    if pace is not None:
        ahead = math.ceil(CLAIM_AHEAD_SECONDS / max(pace.service_seconds, 1e-3)) * facts.slots
    share = math.ceil(rest / (2 * servers)) if servers > 1 else rest
    return max(1, min(rest, max(facts.slots, min(ahead, CLAIM_MOST, share))))


def _held_elsewhere(facts: Facts) -> frozenset[str]:
    """Runner keys that another serving host has loaded or is loading."""
    return frozenset(
        key
        for other in facts.others
        if other.serving
        for key in (other.resident, other.intent)
        if key is not None
    )


def _jobs_by_key(waiting: Iterable[Waiting]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for row in waiting:
        totals[row.runner_key] = totals.get(row.runner_key, 0) + row.jobs
    return totals
