"""How many jobs a host claims at once, and in which order."""

import math

from worker.domain.jobs import Priority
from worker.policy.facts import Order, RunJobs, Work
from worker.policy.picture import Picture

LAST_WAVES = 3
"""From when so many jobs a slot are left, the longest go first."""


def claim(
    picture: Picture, work: Work, reason: str, *, priorities: tuple[Priority, ...] | None = None
) -> RunJobs:
    """Enough to keep all slots busy for a while, not so many that others find none.

    At most half of a server's share of the rest, so that the end of a backlog is spread evenly (guided self-scheduling);
    whole prefix groups where there are any; one job a slot as long as nobody knows how long they take.
    """
    slots = picture.host.slots
    rest = work.jobs if priorities is None else sum(work.tiers[priority].jobs for priority in priorities)
    servers = 1 + len(picture.servers(work.runner_key))
    order = Order.LONGEST if rest <= LAST_WAVES * slots * servers and work.group <= 1 else Order.GROUP
    whole = work.group > 1
    alike = min(math.ceil(slots * work.group), picture.parameters.claim_most)
    if not work.tried:
        return RunJobs(work.runner_key, min(rest, alike), reason, priorities, order, whole)
    per_job = max(work.service_seconds / slots / picture.host.speed, 1e-4)
    ahead = math.ceil(picture.parameters.claim_seconds / per_job)
    jobs = max(slots, min(ahead, picture.parameters.claim_most), alike)
    share = rest if servers == 1 else math.ceil(rest / (2 * servers))
    free = max(1, slots - picture.host.in_flight)
    jobs = max(1, min(rest, jobs, max(free, share)))
    return RunJobs(work.runner_key, jobs, reason, priorities, order, whole)
