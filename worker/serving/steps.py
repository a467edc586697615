"""The steps of the loop that serves a host. Each returns the situation as it is afterwards.

A step sets ``moved`` where it changed something: jobs were handed over, or a runner was loaded.
"""

from collections.abc import Sequence
from dataclasses import replace

from worker.domain.jobs import ClaimedJob
from worker.errors import DatabaseFailure
from worker.kinds.registry import KINDS, kind_of
from worker.observability.events import emit, emit_failure
from worker.policy.choose import choose
from worker.policy.facts import LoadRunner, RunJobs
from worker.policy.picture import Picture
from worker.policy.serving import (
    STEADY,
    Action,
    Situation,
    action,
    admission,
    claim_limit,
    drains_to_share,
    hand_over,
    look_due,
    share_limit,
    suspect_first,
)
from worker.policy.sharing import LET_IN, STEP_BACK
from worker.serving.parts import Parts
from worker.serving.view import Snapshot


def mend(parts: Parts) -> bool:
    """Unload runners that fell silent; False where the host goes into quarantine. Raises HostLost."""
    try:
        return parts.breaker.mend()
    except DatabaseFailure as error:
        emit_failure(error, host=parts.session.host)
        return True


def check_sharing(parts: Parts, now: Situation) -> Situation:
    """Bulk jobs run on a host that people use too. Once somebody else does, nothing new is started: what runs goes to its
    end, what has no slot yet goes back, and with dry slots the host is left to them."""
    now = replace(now, sharing_check_at=now.now)
    if not parts.machine.look_for_strangers():
        return now
    parts.claims.give_back()
    return replace(now, gives_way=True)


def find_work(parts: Parts, now: Situation) -> Situation:
    """Ask the policy once and do what it says; nothing where the database is away. Raises HostLost."""
    after = replace(now, dry_at=now.now, gives_way=False) if now.dry else now
    try:
        if not parts.outbox.flush():
            return after  # a rescued job must not be asked again while its answer waits here
        parts.claims.release_strays()
        parts.view.exchange_paces()
        if now.dry and not _look_again(parts, now):
            return after
        if parts.reuse.look(dry=now.dry):
            return replace(after, moved=True)
        after = _follow(parts, after)
        parts.history.refusals.reason = None
        return after
    except DatabaseFailure as error:
        return _without_database(parts, after, error)


def admit(parts: Parts, now: Situation) -> Situation:
    """The host has jobs enough: begin an interactive job beside them, or have the slots run dry for work that must not
    wait. Raises HostLost."""
    after = replace(now, admitted_at=now.now)
    try:
        snapshot = parts.read()
        decision = choose(snapshot.facts)
        match admission(now, decision), decision:
            case Action.RUN, RunJobs() as run:
                return _run_jobs(parts, after, run, snapshot)
            case Action.RUN_DRY, LoadRunner() as load:
                _run_dry(parts, load)
    except DatabaseFailure as error:
        return _without_database(parts, after, error)
    return after


def _without_database(parts: Parts, now: Situation, error: DatabaseFailure) -> Situation:
    parts.claims.doubt()
    parts.history.add_refusal(error)
    emit_failure(error, host=parts.session.host)
    return now


def _look_again(parts: Parts, now: Situation) -> bool:
    """Nothing runs: the time to see what the host has become. False where it cannot be used now."""
    due = look_due(now, parts.machine.last_look.at)
    if drains_to_share(now):
        # A request that waits for another model gets in only if none of ours follows at once.
        parts.context.stop.wait(LET_IN)
    if due and (error := parts.machine.look()) is not None:
        parts.pause(error)
        return False
    strangers = parts.machine.strangers
    if strangers.are_at_work(shared=now.shared, now=now.now):
        parts.history.step_back(now.now, STEP_BACK)
        emit("host.yielded", host=parts.session.host, models=strangers.names, seconds=STEP_BACK)
        return False
    return True


def _follow(parts: Parts, now: Situation) -> Situation:
    """Do what the policy decides."""
    snapshot = parts.read()
    decision = choose(snapshot.facts)
    if not isinstance(decision, LoadRunner) and parts.machine.intent is not None:
        _intend(parts, None)  # the load that the slots ran dry for is no longer worth it
        if isinstance(decision, RunJobs):
            now = replace(now, admitted_at=now.now + STEADY * now.admit_every)
    match action(now, decision), decision:
        case Action.RUN, RunJobs() as run:
            return _run_jobs(parts, now, run, snapshot)
        case Action.LOAD, _:
            return replace(now, moved=_switch(parts))
        case Action.RUN_DRY, LoadRunner() as load:
            _run_dry(parts, load)
            return replace(now, moved=True)
    if snapshot.facts.host.draining:
        parts.claims.give_back()
    return now


# -- running ------------------------------------------------------------------------------------------------------


def _run_jobs(parts: Parts, now: Situation, decision: RunJobs, snapshot: Snapshot) -> Situation:
    key, machine = decision.runner_key, parts.machine
    if not parts.accept(key, machine.confirm(key, dry=now.dry)):
        return now
    if key not in machine.held:
        return replace(now, moved=True)  # it has gone while others run: to be decided anew
    machine.use(key)
    limit = parts.slots.limit = 1 if parts.history.quarantines else parts.view.slots_of(key)
    members, most = snapshot.members.get(key, (key,)), snapshot.facts.parameters.claim_most
    claimed, alone = _claim(parts, now, decision, members, most)
    priorities = [job.priority for job in claimed]
    handed = hand_over(now.handed, priorities, limit=limit, alone=alone, whole=decision.whole)
    if claimed:
        machine.keep_hints(claimed)
        parts.reuse.track(claimed)
        parts.slots.hand_over(claimed, key)
    return replace(now, handed=handed, moved=bool(claimed))


def _claim(
    parts: Parts, now: Situation, decision: RunJobs, members: tuple[str, ...], most: int
) -> tuple[Sequence[ClaimedJob], bool]:
    """Jobs of these runner keys, and whether it is a suspect, which runs alone. A claim of ``most`` jobs goes on with as many
    as the calls carry that come next."""
    if suspect_first(dry=now.dry, after_suspect=now.handed.alone, priorities=decision.priorities) and (
        claimed := parts.claims.claim_suspect(members)
    ):
        return claimed, True
    free = parts.slots.limit - parts.slots.unfinished
    seconds = parts.history.paces.service_seconds(decision.runner_key)
    limit = claim_limit(decision, free=free, job_seconds=seconds)
    claimed = parts.claims.claim(decision, members, limit=limit)
    if len(claimed) == most and claimed[0].kind in KINDS:
        sharing = kind_of(claimed[0].kind).jobs_a_call
        more = share_limit(sharing, slots=parts.slots.limit, job_seconds=seconds)
        if more:
            claimed = [*claimed, *parts.claims.claim(decision, members, limit=more)]
    if claimed or not now.dry:
        return claimed, False
    claimed = parts.claims.claim_suspect(members)
    return claimed, bool(claimed)


# -- loading ------------------------------------------------------------------------------------------------------


def _run_dry(parts: Parts, decision: LoadRunner) -> None:
    """Begin nothing new. The other hosts see for which load, else they would all run dry for the same one."""
    if parts.machine.intent != decision.runner_key:
        _intend(parts, decision.runner_key)
        parts.claims.give_back()


def _intend(parts: Parts, runner_key: str | None) -> None:
    """Publish the load that the slots run dry for, if it is still the right one seen under the fleet's lock."""
    with parts.session.write(fleet=True) as conn:
        if runner_key is None:
            parts.machine.intend(conn, None)
            return
        snapshot = parts.read(conn)
        decision = choose(snapshot.facts)
        if isinstance(decision, LoadRunner):
            seconds = _load_seconds(snapshot, decision)
            parts.machine.intend(conn, decision.runner_key, seconds=seconds, starved=decision.starved)


def _switch(parts: Parts) -> bool:
    """Decide a load under the fleet's lock, publish it, and do it. Whether there is something to run by then."""
    with parts.session.write(fleet=True) as conn:
        snapshot = parts.read(conn)
        decision = choose(snapshot.facts)
        if not isinstance(decision, LoadRunner):
            return isinstance(decision, RunJobs)
        parts.machine.begin(conn, decision, seconds=_load_seconds(snapshot, decision))
    return parts.accept(decision.runner_key, parts.machine.load(decision.runner_key))


def _load_seconds(snapshot: Snapshot, decision: LoadRunner) -> float:
    """Seconds until the load is done, as it is expected."""
    picture = Picture(snapshot.facts)
    work = picture.work.get(decision.runner_key)
    return 0.0 if work is None else picture.setup(work).seconds
