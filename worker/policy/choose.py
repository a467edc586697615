"""What a host does next: run jobs of a runner it has, load another one, or wait.

A host that drains takes nothing. The rules, in their order, each a function of its own that says why:

1. **starved**: a runner key and priority that nobody has served within its patience comes first.
2. **interactive**: oldest first, on a runner that is here; else where it is done soonest.
3. **deadlines**: work that its deadline does not let wait, the earliest first (``policy.deadlines``).
4. **priorities**: more urgent work first, but a load has to pay itself back.

The pseudocode, the numbers and what they were tuned on are in docs/explanation/scheduling.md.
"""

from worker.domain.jobs import Priority
from worker.domain.numbers import count_of
from worker.policy.claim_size import claim
from worker.policy.deadlines import by_deadline
from worker.policy.facts import Decision, Facts, LoadRunner, RunJobs, Wait, Work
from worker.policy.picture import Picture, can_hold, jobs_up_to, load_seconds, rate

LOADS_PER_TURN = 4.0
"""Patience is at least this many times what loading every waiting runner key takes: with more keys than that one host
could only ever load, and the starved would take turns in starving each other."""

UNDER_WAY = 0.5
"""A load that another host has begun is not overtaken for less than half of the wait: estimates are not that good."""


def choose(facts: Facts) -> Decision:
    """Decide what ``facts.host`` does next.

    The result depends on the arguments alone; a caller that means to load must ask again under the fleet's lock,
    so that two hosts never decide for the same runner key from the same picture.
    """
    if facts.host.draining:
        return Wait("draining")
    picture = Picture(facts)
    if not picture.candidates:
        return Wait("no work this host could do" if facts.work else "no work")
    return (
        _starved(picture)
        or _interactive(picture)
        or by_deadline(picture)
        or _by_priority(picture)
        or Wait("others hold what waits, and a load here would not pay")
    )


# -- starved ------------------------------------------------------------------------------------------------------


def _starved(picture: Picture) -> Decision | None:
    """Whoever waited past the patience of its priority is served, the longest first.

    The clock starts again with each claim of that key and priority, so a starved key gets a share, not the host.
    """
    facts, host = picture.facts, picture.host
    patience = facts.parameters.patience
    least = LOADS_PER_TURN * sum(load_seconds(host, work) for work in picture.candidates)
    starved = [
        (since, work, priority)
        for work in picture.candidates
        for priority, tier in work.tiers.items()
        if facts.now - (since := max(tier.oldest_at, tier.served_at or tier.oldest_at))
        > max(patience[priority], least)
    ]
    for since, work, priority in sorted(starved, key=lambda entry: (entry[0], entry[1].runner_key)):
        waited = facts.now - since
        reason = f"starved: {priority.name.lower()} work waited {waited:.0f} s"
        if work.runner_key in host.resident:
            jobs = min(host.slots, work.tiers[priority].jobs)
            return RunJobs(work.runner_key, jobs, reason, (priority,))
        loading = sum(1 for other in facts.peers if other.loading is not None and other.loading_starved)
        if not picture.holders(work.runner_key) and loading < max(1, (1 + len(facts.peers)) / 2):
            return LoadRunner(work.runner_key, reason, picture.setup(work).evict, starved=True)
    return None


# -- interactive --------------------------------------------------------------------------------------------------


def _interactive(picture: Picture) -> Decision | None:
    """Somebody waits for these: at once where the runner is, else loaded where they are done soonest."""
    host = picture.host
    waiting = [work for work in picture.candidates if Priority.INTERACTIVE in work.tiers]
    waiting.sort(key=lambda work: (work.tiers[Priority.INTERACTIVE].oldest_at, work.runner_key))
    for work in waiting:
        jobs = work.tiers[Priority.INTERACTIVE].jobs
        if work.runner_key in host.resident:
            free = host.slots + picture.parameters.overcommit - host.in_flight
            reason = f"interactive: {jobs} wait"
            return RunJobs(work.runner_key, max(1, min(jobs, free)), reason, (Priority.INTERACTIVE,))
        setup = picture.setup(work)
        reason = f"interactive: {jobs} wait and no host would have them done sooner"
        if host.loading == work.runner_key and not picture.holders(
            work.runner_key
        ):  # its slots run dry for it already: to begin anew elsewhere takes longer
            return LoadRunner(work.runner_key, reason, setup.evict)
        soonest = _soonest_elsewhere(picture, work, jobs)
        if any(other.loading == work.runner_key for other in picture.facts.peers):
            soonest *= UNDER_WAY
        if setup.seconds + work.service_seconds / host.speed >= soonest:
            continue
        if picture.has_local and _cheaper_elsewhere(picture, work):
            continue
        return LoadRunner(work.runner_key, reason, setup.evict)
    return None


def _soonest_elsewhere(picture: Picture, work: Work, jobs: int) -> float:
    """Seconds until a host that holds it, or loads it, could have the jobs done."""
    soonest = float("inf")
    for other in picture.holders(work.runner_key):
        if not can_hold(other, work, picture.now):
            continue
        ready = picture.next_free(other)
        if work.runner_key not in other.resident:
            until = other.loading_until
            ready = load_seconds(other, work) if until is None else max(0.0, until - picture.now)
        soonest = min(soonest, ready + work.service_seconds / other.speed + (jobs - 1) / rate(other, work))
    return soonest


def _cheaper_elsewhere(picture: Picture, work: Work) -> bool:
    """Whether another host gives up less for it."""

    def price(seconds: float, regret: float) -> float:
        return seconds + picture.parameters.interactive_regret * regret

    mine = picture.setup(work)
    own = (price(mine.seconds, mine.regret), picture.host.name)
    for other in picture.facts.peers:
        if not other.serving or other.loading is not None or not can_hold(other, work, picture.now):
            continue
        theirs = picture.setup(work, other)
        if (price(theirs.seconds, theirs.regret), other.name) < own:
            return True
    return False


# -- priorities ---------------------------------------------------------------------------------------------------


def _by_priority(picture: Picture) -> Decision | None:
    """What is here before what would have to be loaded, at each priority; and a load only where it pays."""
    may_load = not (picture.has_local and _just_loaded(picture))
    for priority in (Priority.HIGH, Priority.NORMAL, Priority.BULK):
        here = [work for work in picture.local if jobs_up_to(work, priority)]
        if here:
            work = min(
                here, key=lambda entry: (_first_due(entry), _clear_seconds(picture, entry), entry.runner_key)
            )
            jobs = jobs_up_to(work, priority)
            return claim(picture, work, f"resident, {count_of(jobs, 'job waits', 'jobs wait')}")
        decision = _load(picture, priority) if may_load else None
        if decision is not None:
            return decision
    return None


def _just_loaded(picture: Picture) -> bool:
    host = picture.host
    if host.loaded_at is None:
        return False
    return picture.now - host.loaded_at < picture.parameters.settle * host.loaded_seconds


def _first_due(work: Work) -> float:
    return work.due[0].at if work.due else float("inf")


def _clear_seconds(picture: Picture, work: Work) -> float:
    """Until nothing of it waits, if this host and those that serve it go on."""
    return work.jobs / (picture.served_rate(work) + rate(picture.host, work))


def _load(picture: Picture, priority: Priority) -> LoadRunner | None:
    """The runner key that is worth a load: one that nobody holds first, then the one where help is worth most."""
    unheld: list[tuple[Work, int]] = []
    joins: list[tuple[float, Work, int]] = []
    for work in picture.candidates:
        jobs = jobs_up_to(work, priority)
        if not jobs or work.runner_key in picture.host.resident:
            continue
        useful = useful_seconds(picture, work, jobs)
        held = bool(picture.holders(work.runner_key))
        if not _pays(picture, work, useful, priority, held=held):
            continue
        if held:
            joins.append((useful, work, jobs))
        else:
            unheld.append((work, jobs))
    name = priority.name.lower()
    if unheld:
        work, jobs = min(unheld, key=lambda entry: _urgency(picture, *entry))
        return _loading(
            picture, work, f"{name}: {count_of(jobs, 'job waits', 'jobs wait')} and no host holds it"
        )
    if joins:
        useful, work, jobs = max(joins, key=lambda entry: (entry[0], entry[1].runner_key))
        return _loading(picture, work, f"join: {useful:.0f} s of {name} work left to share")
    return None


def _loading(picture: Picture, work: Work, reason: str) -> LoadRunner:
    return LoadRunner(work.runner_key, reason, picture.setup(work).evict)


def useful_seconds(picture: Picture, work: Work, jobs: int) -> float:
    """For how long this host would have jobs of it after a load, while those who serve it go on."""
    theirs = picture.served_rate(work)
    return (jobs - theirs * picture.setup(work).seconds) / (theirs + rate(picture.host, work))


def _pays(picture: Picture, work: Work, useful: float, priority: Priority, *, held: bool) -> bool:
    setup = picture.setup(work)
    price = setup.seconds + setup.regret
    if not picture.has_local:
        if not held:
            return useful > 0
        has_work = any(picture.has_demand(key) for key in setup.evict)
        limits = picture.parameters
        return useful >= (limits.payback[priority] if has_work else limits.payback_idle) * price
    if useful < picture.parameters.payback[priority] * price:
        return False
    return not any(
        other.serving
        and other.loading is None
        and can_hold(other, work, picture.now)
        and picture.dry_in(other) <= setup.seconds
        for other in picture.facts.peers
    )


def _urgency(picture: Picture, work: Work, jobs: int) -> tuple[float, int, float, int, str]:
    """Which of the keys that nobody holds is loaded first."""
    capable = 1 + sum(1 for other in picture.facts.peers if can_hold(other, work, picture.now))
    oldest = min(tier.oldest_at for tier in work.tiers.values())
    return _first_due(work), capable, oldest, -jobs, work.runner_key
