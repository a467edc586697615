"""Caravan's own planner in the simulation: the same functions that serve real hosts, on simulated facts."""

import heapq
from collections.abc import Sequence

from benchmarks.scheduling.engine import Act, Load, Sim, SimHost, Take
from benchmarks.scheduling.night import Job, Night
from worker.domain.jobs import Priority
from worker.policy.choose import choose
from worker.policy.coalesce import coalesce
from worker.policy.facts import (
    Due,
    Facts,
    HostFacts,
    LoadRunner,
    Order,
    Parameters,
    RunJobs,
    Tier,
    Wait,
    Work,
)
from worker.serving.pace import Paces
from worker.storage.paces import StoredPace

EXCHANGE = 10.0
"""Seconds between two looks at what the other hosts learned."""
MOST_DUE = 8


class Planner:
    """One for the whole fleet, as the database is; what each host learned of speeds is its own."""

    def __init__(self, night: Night, parameters: Parameters | None = None) -> None:
        self._night, self._parameters = night, parameters or Parameters()
        self._paces = {host.name: Paces(host.name) for host in night.hosts}
        self._seen: dict[tuple[str, str], StoredPace] = {}
        self._learned: dict[str, float] = {}
        self._served: dict[tuple[str, Priority], float] = {}

    def attach(self, sim: Sim) -> None:
        sim.finished.append(
            lambda host, job, seconds: self._paces[host.name].add_job(sim.runner_of(host, job), seconds)
        )
        sim.loaded.append(lambda host, key, seconds: self._paces[host.name].add_load(key, seconds))

    def __call__(self, sim: Sim, host: SimHost) -> Act:
        facts, members = self._facts(sim, host)
        decision = choose(facts)
        if isinstance(decision, LoadRunner):
            self._exchange(sim, host)  # a load is decided by what is known now
            facts, members = self._facts(sim, host)
            decision = choose(facts)
        match decision:
            case RunJobs() if sim.only_urgent and decision.priorities != (Priority.INTERACTIVE,):
                return None
            case RunJobs():
                return Take(self._claim(sim, decision, members[decision.runner_key]))
            case LoadRunner():
                return Load(decision.runner_key, decision.evict, decision.starved)
            case Wait():
                return None

    def _exchange(self, sim: Sim, host: SimHost) -> None:
        for paces in self._paces.values():
            for seen in paces.unsaved():
                self._seen[seen.host, seen.runner_key] = seen
        self._paces[host.name].learn(self._seen.values())
        self._learned[host.name] = sim.now

    # -- the facts ------------------------------------------------------------------------------------------------

    def _facts(self, sim: Sim, host: SimHost) -> tuple[Facts, dict[str, tuple[str, ...]]]:
        if sim.now - self._learned.get(host.name, -EXCHANGE) >= EXCHANGE:
            self._exchange(sim, host)
        paces = self._paces[host.name]
        queued = [key for key, tiers in sim.queued.items() if tiers]
        groups = coalesce(
            queued,
            resident=list(host.resident),
            elsewhere={
                key
                for other in sim.hosts
                if other is not host
                for key in (*other.resident, other.loading or other.intent)
                if key
            },
        )
        work = [self._work(sim, group.runner_key, group.members, paces) for group in groups]
        facts = Facts(
            host=self._host(sim, host, host, paces),
            peers=[self._host(sim, other, host, paces) for other in sim.hosts if other is not host],
            work=work,
            now=sim.now,
            interactive_at={
                key: at for (key, priority), at in self._served.items() if priority == Priority.INTERACTIVE
            },
            parameters=self._parameters,
        )
        return facts, {group.runner_key: group.members for group in groups}

    def _work(self, sim: Sim, key: str, members: Sequence[str], paces: Paces) -> Work:
        tiers: dict[Priority, Tier] = {}
        due: dict[float, int] = {}
        group = 1.0
        for member in members:
            for deadline, count in sim.dated[member].items():
                if count:
                    due[deadline] = due.get(deadline, 0) + count
            for priority, jobs in sim.queued[member].items():
                served = self._served.get((member, priority))
                before = tiers.get(priority)
                count = len(jobs) + (before.jobs if before else 0)
                oldest = min(jobs[0].release, before.oldest_at if before else jobs[0].release)
                tiers[priority] = Tier(count, oldest, served)
                if jobs[0].prefix is not None:
                    first = min(job.prefix or 0 for job in jobs)
                    group = max(group, sum(1 for job in jobs if job.prefix == first))
        model = self._night.by_key.get(key)
        estimate = paces.estimate(key)
        dates = sorted(due.items())
        each = -(-len(dates) // MOST_DUE) or 1
        grouped = [
            Due(dates[n][0], sum(jobs for _, jobs in dates[n : n + each])) for n in range(0, len(dates), each)
        ]
        return Work(
            key,
            tiers,
            model=(model.of or model.key) if model else key,
            due=grouped,
            load_seconds=estimate.load_seconds,
            service_seconds=estimate.service_seconds,
            tried=estimate.tried,
            group=group,
        )

    def _host(self, sim: Sim, host: SimHost, mine: SimHost, paces: Paces) -> HostFacts:
        resident = dict.fromkeys(host.resident, 0)
        for job in host.claimed:
            resident[sim.runner_of(host, job)] += 1
        models = frozenset(
            model.of or model.key
            for model in self._night.models
            if model.hosts is None or host.name in model.hosts
        )
        loading = host.loading or host.intent
        return HostFacts(
            name=host.name,
            slots=host.spec.slots,
            speed=paces.speed(host.name),
            resident=resident,
            models_at_once=host.spec.models_at_once,
            loading=loading,
            loading_until=host.loading_until if host.loading else None,
            loading_starved=host.starved and loading is not None,
            models=models,
            loads=paces.loads(host.name),
            loaded_at=host.loaded_at,
            loaded_seconds=host.loaded_seconds,
        )

    # -- a claim --------------------------------------------------------------------------------------------------

    def _claim(self, sim: Sim, decision: RunJobs, members: Sequence[str]) -> list[Job]:
        found: list[Job] = []
        for priority in sorted(decision.priorities or Priority):
            for member in members:
                jobs = sim.queued.get(member, {}).get(priority)
                if not jobs or len(found) >= decision.jobs:
                    continue
                longest = decision.order is Order.LONGEST
                picked = heapq.nsmallest(
                    decision.jobs - len(found),
                    jobs,
                    key=lambda job: (
                        float("inf") if job.deadline is None else job.deadline,
                        -job.estimate if longest else 0.0,
                        -1 if job.prefix is None else job.prefix,
                        job.number,
                    ),
                )
                self._served[member, priority] = sim.now
                found += picked
        return sim.take(found)
