"""Serves a host: observes it, asks the policy for the next step, does it, until there is no work.

One thread decides, claims and stores; the slots' threads only ask the host. So there is one writer per host, and
no lock between a claim and a finish. Messages never carry work: whoever calls :func:`serve_host` finds it in SQL.
"""

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

from worker.errors import DatabaseFailure, HostLost, in_words
from worker.observability.events import emit, emit_failure
from worker.policy.choose import choose
from worker.policy.facts import RunJobs
from worker.policy.serving import End, Situation, Step, after_step, begin, next_step
from worker.records import record
from worker.serving.endings import collect, take
from worker.serving.heartbeat import Heartbeat
from worker.serving.history import HostHistory
from worker.serving.outbox import Outbox
from worker.serving.pace import Paces
from worker.serving.parts import Parts, open_parts
from worker.serving.session import ServingContext
from worker.serving.steps import admit, check_sharing, find_work, mend
from worker.storage.hosts import get_host, quarantine_of
from worker.storage.leases import leave_host, take_host
from worker.storage.pulses import count_defect

SERVED_ELSEWHERE = "served by another worker"
CHANGED = "host changed"
LEASES_LOST = "leases lost"
"""Why a pass ended."""


@record
class PassResult:
    """What one pass over a host did."""

    host: str
    jobs: int
    loads: int
    reason: str
    """Why it ended."""


def serve_host(
    context: ServingContext, *, history: HostHistory | None = None, outbox: Outbox | None = None
) -> PassResult:
    """Serve a host until it has no work for ``timings.linger`` seconds or has to stop, however long that takes.

    Returns at once when somebody else serves it, where it steps back after a failure, and where the database has other
    settings for it by now (``CHANGED``: to be called again with these). ``history`` is what this process knows of the
    host from earlier passes.
    A defect, in whatever thread, is raised once the running calls have ended and are stored, and the host was given back.
    Never raises for what a host does; raises DatabaseFailure when the database is away before anything was
    claimed.
    """
    database, clock, host = context.database, context.clock, context.host
    history = history or HostHistory(Paces(host.name))
    if history.paused(clock.monotonic()):
        return PassResult(host.name, 0, 0, "stepping back")
    token = uuid.uuid4().hex
    now = clock.now()
    with database.write() as conn:
        history.quarantines, until = quarantine_of(conn, host.name)
        if until is not None and until > now:
            return PassResult(host.name, 0, 0, "in quarantine")
        leased_until = now + timedelta(seconds=context.timings.lease)
        if history.refusals.lease is not None:
            leave_host(conn, host=host.name, token=history.refusals.lease, now=now)
        if not take_host(conn, host=host.name, token=token, now=now, until=leased_until):
            return PassResult(host.name, 0, 0, SERVED_ELSEWHERE)
        if get_host(conn, host.name) != host:
            leave_host(conn, host=host.name, token=token, now=now)
            return PassResult(host.name, 0, 0, CHANGED)
    history.refusals.lease, history.refusals.reason = token, None
    parts = open_parts(context, token, history, outbox or Outbox(database, host.name, clock=clock))
    try:
        reason = _serve(parts)
        return PassResult(host.name, parts.slots.finished, parts.machine.loads, reason)
    finally:
        _leave(parts)


def _serve(parts: Parts) -> str:
    """Run the loop under a heartbeat. Returns why it ended; raises a defect once what the host generated is safe."""
    with Heartbeat(parts.session, parts.slots, parts.claims):
        try:
            return _loop(parts)
        except HostLost:
            _drain(parts)
            return SERVED_ELSEWHERE
        except Exception as error:
            emit("serving.failed", host=parts.session.host, message=in_words(error)[:300])
            _drain(parts, learn=False)
            with suppress(Exception):  # whatever is broken, the runners leave when their jobs asked for it
                _apply_keep_alive(parts)
            _count(parts, error)
            raise


def _count(parts: Parts, defect: Exception) -> None:
    """Count a defect, for ``caravan health``."""
    with suppress(DatabaseFailure), parts.context.database.write() as conn:
        count_defect(conn, parts.session.host, error=defect, now=parts.context.clock.now())


def _loop(parts: Parts) -> str:
    """Observe, decide, act, until the pass ends. Raises HostLost, and what a thread of the pass failed with."""
    if (error := parts.machine.look()) is not None:
        parts.pause(error)
        return "unreachable"
    host, timings = parts.context.host, parts.context.timings
    emit("host.serving", host=host.name, slots=host.slots)
    now = begin(
        parts.context.clock.monotonic(),
        slots=host.slots,
        linger=timings.linger,
        shared=host.shared,
        admit_every=timings.idle_poll,
    )
    while True:
        if (failure := parts.session.failure or parts.slots.failure) is not None:
            raise failure
        parts.care.turn(paused=parts.history.paused(parts.context.clock.monotonic()))
        now = _observe(parts, now)
        if not now.paused:
            parts.slots.resume()
        step = next_step(now)
        match step:
            case End(reason):
                return _end(parts, reason)
            case Step.MEND:
                if not mend(parts):
                    return "in quarantine"
            case Step.CHECK_SHARING:
                now = check_sharing(parts, now)
            case Step.FIND_WORK:
                now = find_work(parts, now)
            case Step.ADMIT:
                now = admit(parts, now)
            case Step.COLLECT:
                now = collect(parts, now, _wait(parts))
        if now.moved:
            parts.view.changed()  # our own claim is no news
        now = after_step(replace(now, unfinished=parts.slots.unfinished), step)


def _observe(parts: Parts, before: Situation) -> Situation:
    """The situation at this moment; what the loop remembers of its steps stays as it was."""
    now, slots, cares = parts.context.clock.monotonic(), parts.slots, parts.care.busy
    return replace(
        before,
        now=now,
        unfinished=slots.unfinished,
        ready=slots.ready,
        limit=slots.limit,
        ending=_ending(parts),
        leased=slots.leased,
        paused=parts.history.paused(now),
        broken=parts.breaker.due,
        fresh=before.handed.grouped and slots.fresh,
        job_seconds=parts.history.paces.service_seconds(parts.machine.used),
        intends=parts.machine.intent is not None,
        cares=cares,
        # jobs may have waited for a model that is here now: they are looked for before the pass ends
        tried=() if before.cares and not cares else before.tried,
    )


def _ending(parts: Parts) -> str | None:
    """Why the pass ends although there may be work; None where it goes on."""
    session = parts.session
    if session.lost.is_set():
        return SERVED_ELSEWHERE
    if parts.context.stop.is_set():
        return "stopped"
    if session.changed.is_set():
        return CHANGED
    return LEASES_LOST if session.leases_lost.is_set() else None


def _wait(parts: Parts) -> float:
    """Seconds to wait for a job to end. Where none runs, wait here for a wake-up or a stop, and not for a job."""
    context = parts.context
    if parts.slots.unfinished:
        return context.timings.idle_poll
    if context.wake is None:
        context.stop.wait(context.timings.idle_poll)
    else:
        context.wake.wait(context.timings.idle_poll)
        context.wake.clear()
    return 0.0


def _end(parts: Parts, reason: str) -> str:
    _drain(parts)
    if parts.session.lost.is_set():
        return SERVED_ELSEWHERE
    _apply_keep_alive(parts)
    return reason


def _drain(parts: Parts, *, learn: bool = True) -> None:
    """Give back what no slot has taken, let the running calls end and store them, and ``learn`` from them."""
    parts.claims.give_back()
    while parts.slots.unfinished:
        completions = parts.slots.completions(parts.context.timings.idle_poll)
        if completions and learn:
            take(parts, completions)
        elif completions:
            parts.store(completions)


def _apply_keep_alive(parts: Parts) -> None:
    """The pass ends: runners stay as long as their jobs asked for, but those that the next pass goes on with.

    A run that was stopped has no next pass.
    """
    context, machine = parts.context, parts.machine
    if context.stop.is_set() and context.batch_id is not None:
        machine.apply_keep_alive()
        return
    needed = frozenset(machine.held)
    try:
        decision = choose(parts.read().facts)
        needed = frozenset({decision.runner_key} if isinstance(decision, RunJobs) else ())
    except DatabaseFailure as error:
        emit_failure(error, host=parts.session.host)
    machine.apply_keep_alive(needed)


def _leave(parts: Parts) -> None:
    """Give the serving lease back. What cannot be stored now is in the spool by then. A defect of a step is counted, and
    raised after the others."""
    defect: Exception | None = None
    for step in (parts.care.close, parts.slots.close, parts.outbox.close, partial(_give_back, parts)):
        try:
            step()
        except DatabaseFailure as error:
            emit_failure(error, host=parts.session.host)
        except HostLost:
            pass  # there is nothing to give back
        except Exception as error:
            emit("serving.failed", host=parts.session.host, message=in_words(error)[:300])
            defect = defect or error
    emit("host.left", host=parts.session.host, jobs=parts.slots.finished, loads=parts.machine.loads)
    if defect is not None:
        _count(parts, defect)
        raise defect


def _give_back(parts: Parts) -> None:
    session, context = parts.session, parts.context
    parts.claims.release_strays()
    if session.lost.is_set():
        return
    try:
        parts.view.keep_paces()
    finally:
        with context.database.write() as conn:
            leave_host(conn, host=session.host, token=session.token, now=context.clock.now())
        parts.history.refusals.lease = None
