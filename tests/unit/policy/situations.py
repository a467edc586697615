"""Short ways to write down hosts and backlogs for the policy."""

from typing import Any

from worker.domain.jobs import Priority
from worker.policy.choose import choose
from worker.policy.facts import Decision, Facts, HostFacts, Tier, Work

NOW = 1_000_000.0


def host(name: str = "gpu-1", *resident: str, **fields: Any) -> HostFacts:
    """A host of two slots that holds ``resident``, idle where nothing else is said."""
    return HostFacts(name=name, **{"slots": 2, "resident": dict.fromkeys(resident, 0), **fields})


def busy(name: str, key: str, **fields: Any) -> HostFacts:
    """A host whose slots run ``key``."""
    return host(name, **{"resident": {key: 2}, **fields})


def work(
    key: str,
    jobs: int = 10,
    priority: Priority = Priority.NORMAL,
    *,
    waited: float = 1.0,
    served: float | None = None,
    **fields: Any,
) -> Work:
    """``jobs`` of one priority, the oldest of which ``waited`` so many seconds."""
    tier = Tier(jobs, NOW - waited, None if served is None else NOW - served)
    return Work(key, {priority: tier}, **{"model": key.split(" ", 1)[0], **fields})


def decide(
    *waiting: Work, on: HostFacts | None = None, peers: tuple[HostFacts, ...] = (), **more: Any
) -> Decision:
    return choose(Facts(host=on or host(), peers=peers, work=waiting, now=NOW, **more))
