"""From nights to figures: what each policy came to on each workload, as ratios to the bounds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.scheduling.baselines import BASELINES
from benchmarks.scheduling.bounds import fewest_loads, shortest
from benchmarks.scheduling.engine import Outcome, Policy, Sim
from benchmarks.scheduling.night import Night
from benchmarks.scheduling.ours import Planner
from benchmarks.scheduling.workloads import WORKLOADS
from worker.domain.jobs import Priority

OURS = "Caravan"
EDF = "strict EDF"
URGENT = ("exhaustive, urgent preempts", "first come, urgent first")


@dataclass
class Figures:
    """A policy on a workload, over all seeds."""

    workload: str
    policy: str
    about: str = ""
    time: list[float] = field(default_factory=list)
    """T/LB of each seed."""
    loads: list[int] = field(default_factory=list)
    fewest: list[int] = field(default_factory=list)
    """Of any schedule that takes as long."""
    share: list[float] = field(default_factory=list)
    """Load seconds, of all host seconds."""
    missed: int = 0
    dated: int = 0
    missed_but_met: int = 0
    """Deadlines missed that strict EDF meets."""
    prefixes: int = 0
    documents: int = 0
    wait: float = 0.0
    flows: dict[Priority, list[float]] = field(default_factory=dict)
    """Seconds from submission to end of every job."""

    @property
    def time_ratio(self) -> float:
        return fmean(self.time)

    @property
    def load_ratio(self) -> float:
        return sum(self.loads) / sum(self.fewest)

    @property
    def urgent(self) -> list[float]:
        """Of the interactive jobs."""
        return self.flows.get(Priority.INTERACTIVE, [])

    def urgent_at(self, share: float) -> float | None:
        return percentile(self.urgent, share) if self.urgent else None

    def mean_flow(self, priority: Priority) -> float | None:
        flows = self.flows.get(priority)
        return fmean(flows) if flows else None

    @property
    def prefix_ratio(self) -> float | None:
        return self.prefixes / self.documents if self.documents else None


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def measure(
    workloads: Sequence[str],
    seeds: Sequence[int],
    *,
    size: float = 1.0,
    policies: Sequence[str] | None = None,
    heard: Callable[[str], None] = lambda _: None,
) -> list[Figures]:
    """Every policy on every workload; ``heard`` is told of each."""
    found: dict[tuple[str, str], Figures] = {}
    for workload in workloads:
        heard(workload)
        for seed in seeds:
            night = WORKLOADS[workload](seed, size)
            bound = shortest(night)
            met: set[int] = set()
            for policy in policies or _policies_for(night):
                outcome = simulate(night, policy, seed)
                one = found.setdefault((workload, policy), Figures(workload, policy, night.about))
                _add(one, night, outcome, bound)
                if policy == EDF:
                    met = {job.number for job in night.jobs if job.deadline is not None} - outcome.missed
                if policy == OURS:
                    one.missed_but_met += len(outcome.missed & met)
    return list(found.values())


def simulate(night: Night, policy: str, seed: int) -> Outcome:
    """One night under a policy."""
    if policy == OURS:
        planner = Planner(night)
        sim = Sim(night, planner, seed=seed, sees_urgent=True)
        planner.attach(sim)
        return sim.run()
    decide: Policy = BASELINES[policy]()
    return Sim(night, decide, seed=seed, sees_urgent=policy in URGENT).run()


def _policies_for(night: Night) -> list[str]:
    """Those that make sense for it; strict EDF before ours, to compare what it meets."""
    urgent = any(job.priority == Priority.INTERACTIVE for job in night.jobs)
    dated = any(job.deadline is not None for job in night.jobs)
    left_out = {EDF} - ({EDF} if dated else set()) | (set() if urgent else set(URGENT))
    return [*(name for name in BASELINES if name not in left_out), OURS]


def _add(one: Figures, night: Night, outcome: Outcome, bound: float) -> None:
    one.time.append(outcome.seconds / bound)
    one.loads.append(outcome.loads)
    one.fewest.append(fewest_loads(night, outcome.seconds))
    one.share.append(outcome.load_seconds / (len(night.hosts) * outcome.seconds))
    for priority, flows in outcome.waits.items():
        one.flows.setdefault(priority, []).extend(flows)
    one.missed += len(outcome.missed)
    one.dated += sum(1 for job in night.jobs if job.deadline is not None)
    one.prefixes += outcome.prefixes
    one.documents += len({(job.key, job.prefix) for job in night.jobs if job.prefix is not None})
    one.wait = max(one.wait, outcome.longest_wait)
