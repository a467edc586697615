"""Decides the next step of the loop that serves a host, from what the loop knows without asking anybody.

``policy.choose`` decides which jobs run and which model is loaded, from what the database says; that costs a look. This
module decides when the look is worth it, whom to let in beside full slots, when the slots run dry, and when a pass ends.
"""

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum

from worker.domain.jobs import Priority
from worker.policy.facts import Decision, LoadRunner, RunJobs, Wait
from worker.policy.sharing import must_run_dry
from worker.records import record

AHEAD_BELOW = 0.5
"""Seconds. Shorter jobs are claimed ahead of free slots; a longer one waits where any host may take it."""
SHARED_AHEAD = 10.0
"""Seconds that a claim of jobs which share calls reaches ahead at most."""
CALLS_AHEAD = 8
"""Calls that it reaches ahead where that takes less. A claim, with the look before it, costs as much as some 50 texts."""
GROUPS_AHEAD = 16
"""Jobs a slot that are claimed ahead at most, where jobs that begin alike are kept together."""
PROBE_EVERY = 60.0
SHARED_PROBE_EVERY = 5.0
"""Seconds between two looks at a host, and at one that other people use too; only while nothing runs on it."""
SHORT_CALL = 0.05
"""Seconds. Outcomes of shorter calls are stored in groups."""
STEADY = 10
"""Polls during which a host that found its load not worth it admits nothing more urgent: else the two decisions might
alternate, each with a claim or a release, for as long as both hold."""
LOOK_AGAIN = 2
ADMIT_AGAIN = 4
"""Polls after which busy slots look for work, or admit urgent work, though nothing is known to have changed: what only time
brings about (a starved job, a block that ends) is seen by then."""
NO_WORK = "no work"
"""Why a pass ends: nothing was there to do for as long as it lingers."""


class Step(StrEnum):
    """What the loop does next."""

    MEND = "mend"
    """Unload what fell silent, or leave the host alone: the slots are dry."""
    CHECK_SHARING = "check sharing"
    """See whether somebody else has come to a shared host on which bulk jobs run."""
    FIND_WORK = "find work"
    """Ask ``policy.choose``, and run jobs or load a model as it says."""
    ADMIT = "admit"
    """Let an interactive job in beside full slots, or have them run dry for work that must not wait."""
    COLLECT = "collect"
    """Wait for jobs to end, or for work, and store what ended."""


class Action(StrEnum):
    """What is done about a decision of ``policy.choose``."""

    RUN = "run"
    """Claim jobs and hand them to the slots."""
    LOAD = "load"
    """Decide the load again under the fleet's lock, and do it."""
    RUN_DRY = "run dry"
    """Begin nothing new, so that a load can follow."""
    REST = "rest"


@record
class End:
    """The pass ends, for this reason."""

    reason: str


@record
class HandedOver:
    """The jobs that the slots were given last."""

    low_water: int
    """Jobs that no slot has taken; with fewer, short jobs are claimed again."""
    alone: bool = False
    """It is a suspect: nothing runs beside it."""
    grouped: bool = False
    """Jobs that begin alike are kept together."""
    bulk: bool = False
    """All of them are of the lowest priority."""


@record
class Situation:
    """All that the loop of one host knows at one moment. Times are seconds on one monotonic clock."""

    now: float
    unfinished: int
    """Jobs that were handed over and whose ending has not been taken."""
    ready: int
    """Those of them that no slot has taken."""
    limit: int
    """Slots."""
    handed: HandedOver
    idle_since: float
    linger: float
    """Seconds without work after which the pass ends."""
    ending: str | None = None
    """Why the pass ends although there may be work."""
    leased: bool = True
    """The leases of what was handed over hold, as far as is known."""
    paused: bool = False
    """The host steps back after a failure."""
    broken: bool = False
    """Something has to be mended once the slots are dry."""
    fresh: bool = False
    """A job waits here that begins otherwise than all that run."""
    job_seconds: float | None = None
    """How long a job of the runner in use takes, where that is known."""
    shared: bool = False
    """Other people use the host too."""
    gives_way: bool = False
    """Somebody else does now: nothing new is begun before the slots are dry."""
    intends: bool = False
    """The slots run dry for a load that was published."""
    cares: bool = False
    """An operation on a model goes on here, or waits for the jobs that run."""
    dry_at: float = 0.0
    """When the slots were dry last."""
    sharing_check_at: float = float("-inf")
    admitted_at: float = float("-inf")
    """When it was last tried to let something in; later than ``now`` where that rests for a while."""
    admit_every: float = 0.5
    """Seconds of a poll."""
    looked_for_work_at: float = float("-inf")
    ended: bool = True
    """A job has ended here since work was looked for."""
    changed: bool = True
    """Others have changed the database since it was looked at."""
    tried: Collection[Step] = ()
    """Steps that were done since the last wait."""
    moved: bool = False
    """One of them changed something."""

    @property
    def dry(self) -> bool:
        """Nothing of ours runs on the host, or waits for a slot of it."""
        return not self.unfinished


def begin(now: float, *, slots: int, linger: float, shared: bool, admit_every: float) -> Situation:
    """The situation at the start of a pass."""
    return Situation(
        now,
        unfinished=0,
        ready=0,
        limit=slots,
        handed=HandedOver(slots),
        idle_since=now,
        linger=linger,
        shared=shared,
        dry_at=now,
        sharing_check_at=now,
        admit_every=admit_every,
    )


def after_step(now: Situation, step: Step) -> Situation:
    """What the loop remembers once a step is done; ``now`` says how many jobs are unfinished by then."""
    if step is Step.FIND_WORK:
        now = replace(now, looked_for_work_at=now.now, ended=False, changed=False)
    if step is Step.ADMIT:
        now = replace(now, changed=False)
    if step is Step.COLLECT:
        return replace(
            now, tried=frozenset(), moved=False, idle_since=now.now if now.unfinished else now.idle_since
        )
    if now.moved and now.dry:  # a model was loaded: there is no job to wait for
        return replace(now, tried=frozenset(), moved=False, idle_since=now.now)
    busy = now.moved or bool(now.unfinished)
    return replace(now, tried=frozenset({*now.tried, step}), idle_since=now.now if busy else now.idle_since)


def next_step(now: Situation) -> Step | End:
    """The first that applies; ``COLLECT`` where nothing else does."""
    if now.ending is not None:
        return End(now.ending)
    if now.broken and now.dry and Step.MEND not in now.tried:
        return Step.MEND
    if _checks_sharing(now):
        return Step.CHECK_SHARING
    if not now.moved:
        if _looks_for_work(now):
            return Step.FIND_WORK
        if _admits(now):
            return Step.ADMIT
        if now.dry and not now.cares and now.now - now.idle_since >= now.linger:
            return End(NO_WORK)
    return Step.COLLECT


def wants_jobs(now: Situation) -> bool:
    """Whether jobs should be claimed: short ones before a slot idles, long ones when one is free."""
    if now.broken or (now.handed.alone and now.unfinished):
        return False
    if now.unfinished and (now.gives_way or drains_to_share(now)):
        return False
    if now.handed.grouped and now.unfinished <= GROUPS_AHEAD * now.limit:
        return not now.fresh
    if claims_ahead(now.job_seconds):
        return now.ready < now.handed.low_water
    return now.unfinished < now.limit


def claims_ahead(job_seconds: float | None) -> bool:
    """Whether jobs of this length are claimed before a slot is free for them; None: nobody knows it."""
    return job_seconds is not None and job_seconds < AHEAD_BELOW


def drains_to_share(now: Situation) -> bool:
    """Whether the slots of a shared host run dry, so that a stranger's request that waits in it gets in."""
    return must_run_dry(now.shared, dry_at=now.dry_at, now=now.now, bulk=now.handed.bulk)


def action(now: Situation, decision: Decision) -> Action:
    """What the host does about a decision, when it asked for work.

    Ollama never ends a busy runner: a load that is sent while jobs run would wait for them, with the host's whole queue
    behind it. So the slots run dry first.
    """
    match decision:
        case RunJobs():
            return Action.RUN
        case LoadRunner():
            return Action.LOAD if now.dry else Action.RUN_DRY
        case Wait():
            return Action.REST


def admission(now: Situation, decision: Decision) -> Action:
    """What the host does about a decision while its slots are full: an interactive job whose runner is here is asked beside
    the running ones; for one that needs a load, or work that must not wait, the slots run dry."""
    match decision:
        case RunJobs(priorities=(Priority.INTERACTIVE,)) if now.unfinished <= now.limit:
            return Action.RUN
        case LoadRunner():
            return Action.RUN_DRY
        case _:
            return Action.REST


def claim_limit(decision: RunJobs, *, free: int, job_seconds: float | None) -> int:
    """Jobs to claim at most: as many as the decision says, where they may wait here; else one for each ``free`` slot."""
    if decision.whole or claims_ahead(job_seconds):
        return decision.jobs
    return min(decision.jobs, max(1, free))


def share_limit(jobs_a_call: int, *, slots: int, job_seconds: float | None) -> int:
    """Jobs to claim beyond a whole claim where they share calls: ``CALLS_AHEAD`` calls, or one for each slot and the next one
    where that is more, but no more than this host asks in ``SHARED_AHEAD`` seconds; none where each job has a call of its own.

    >>> [share_limit(256, slots=2, job_seconds=seconds) for seconds in (0.001, 0.1)], share_limit(1, slots=2, job_seconds=0.1)
    ([2048, 100], 0)
    """
    if jobs_a_call == 1:
        return 0
    calls = jobs_a_call * max(CALLS_AHEAD, slots + 1)
    return calls if not job_seconds else min(calls, int(SHARED_AHEAD / job_seconds))


def hand_over(
    before: HandedOver, priorities: Collection[Priority], *, limit: int, alone: bool, whole: bool
) -> HandedOver:
    """What is remembered of the jobs that were claimed last, of these priorities; there may be none."""
    return HandedOver(
        low_water=max(limit, len(priorities) // 2) if priorities else before.low_water,
        alone=alone,
        grouped=whole and bool(priorities) and not alone,
        bulk=all(priority is Priority.BULK for priority in priorities),
    )


def look_due(now: Situation, looked_at: float) -> bool:
    """Whether the host is looked at again, now that its slots are dry."""
    if drains_to_share(now):
        return True
    return now.now - looked_at > (SHARED_PROBE_EVERY if now.shared else PROBE_EVERY)


def suspect_first(*, dry: bool, after_suspect: bool, priorities: tuple[Priority, ...] | None) -> bool:
    """Whether a suspect is claimed before other jobs: only onto dry slots, and never two in a row, since many suspects
    must not hold up everything else. ``priorities``: those that the decision is limited to, as for urgent work."""
    return dry and not after_suspect and priorities is None


def group_waits(handed: HandedOver, *, seconds: float, ready: int) -> bool:
    """Whether the outcome of a call that took ``seconds`` waits for others to be stored with: while enough jobs are ready
    here for the slots to stay busy."""
    return seconds < SHORT_CALL and ready > handed.low_water // 2


def _looks_for_work(now: Situation) -> bool:
    """Work is wanted, and looking for it may find something: a look costs some milliseconds."""
    if Step.FIND_WORK in now.tried or now.paused or not now.leased or not wants_jobs(now):
        return False
    if now.dry or now.ended or now.changed:
        return True
    return now.now - now.looked_for_work_at >= LOOK_AGAIN * now.admit_every


def _checks_sharing(now: Situation) -> bool:
    """Bulk jobs run on a host that people use too."""
    if Step.CHECK_SHARING in now.tried or now.gives_way:
        return False
    if not (now.shared and now.handed.bulk and now.unfinished):
        return False
    return now.now - now.sharing_check_at >= SHARED_PROBE_EVERY


def _admits(now: Situation) -> bool:
    """The host has jobs enough; but an interactive one whose runner is here may be asked beside them."""
    if Step.ADMIT in now.tried or now.unfinished < now.limit or now.intends:
        return False
    if now.handed.alone or now.broken or not now.leased:
        return False
    polls = 1 if now.changed else ADMIT_AGAIN
    return now.now - now.admitted_at >= polls * now.admit_every
