"""What follows from the endings of jobs: they are stored, the host is judged by them, and its pace is learned."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from worker.domain.attempts import Finish, Retried, Succeeded
from worker.domain.replies import Result
from worker.errors import CODES, Code, DatabaseFailure, HostError, HostLost
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit, emit_failure
from worker.policy.parallel import Waited
from worker.policy.serving import Situation, group_waits
from worker.serving.brake import apply_brakes
from worker.serving.parts import Parts
from worker.serving.slots import Completion, RunningCall


def collect(parts: Parts, now: Situation, wait: float) -> Situation:
    """Wait up to ``wait`` seconds for jobs to end, and take in how they did; short calls in groups."""
    completions = parts.slots.completions(wait)
    if completions:
        clock = parts.context.clock
        until = clock.monotonic() + parts.context.timings.group
        seconds = completions[-1].endings[-1].seconds
        while (
            group_waits(now.handed, seconds=seconds, ready=parts.slots.ready)
            and (left := until - clock.monotonic()) > 0
        ):
            completions += parts.slots.completions(left)
    changed = parts.view.changed()  # before our own outcomes change the database
    if completions:
        take(parts, completions)
    stored = not parts.outbox.is_empty
    parts.outbox.flush()
    if completions or stored:
        parts.view.changed()
    return replace(now, changed=now.changed or changed, ended=now.ended or bool(completions))


def take(parts: Parts, completions: Sequence[Completion]) -> None:
    """Store how jobs ended, then learn from it and let the host answer for its faults.

    In that order: what a host generated must be safe before anything else may fail. What it answered before it failed forgives
    earlier failures, also in the call in which it failed; what it answered after that was asked before.
    """
    for runner_key in {completion.call.runner_key for completion in completions}:
        parts.machine.mark_used(runner_key)
    parts.store(completions)
    failures = {
        id(ending.error): (completion.call.runner_key, ending.error)
        for completion in completions
        for ending in completion.endings
        if ending.is_the_hosts and ending.error is not None
    }
    before = next(
        (n for n, one in enumerate(completions, 1) if any(ending.is_the_hosts for ending in one.endings)),
        len(completions),
    )
    _judge(parts, completions[:before])
    if failures:  # the jobs of one call share the error: the host is blamed for it once
        parts.machine.doubt()
        parts.breaker.add_failures(list(failures.values()))
        parts.claims.give_back()
    _judge(parts, completions[before:])
    endings = [ending for completion in completions for ending in completion.endings]
    try:
        parts.claims.answer_alike(ending.finish.job_id for ending in endings)
        _brake(parts, {ending.finish.batch_id for ending in endings if ending.has_failed})
    except DatabaseFailure as error:
        emit_failure(error, host=parts.session.host)
    except HostLost:
        pass  # the outcomes are stored; the loop ends at its next turn


def _judge(parts: Parts, completions: Sequence[Completion]) -> None:
    """Learn from the first answer of each call, since all that went in it say the same; let the runner rest that is to blame
    for another end."""
    try:
        for completion in completions:
            call, learned = completion.call, False
            for job, ending in zip(call.jobs, completion.endings, strict=True):
                if isinstance(ending.finish.outcome, Succeeded):
                    if not learned:
                        _learn(parts, call, ending.seconds, ending.finish.outcome.result)
                    learned = True
                elif ending.error is not None:
                    _blame(parts, call.runner_key, job.custom_id, ending.finish, ending.error)
    except DatabaseFailure as error:
        emit_failure(error, host=parts.session.host)
    except HostLost:
        pass  # the loop ends at its next turn


def _brake(parts: Parts, batch_ids: Collection[int]) -> None:
    """Pause batches whose jobs only fail, before more of them is tried."""
    database = parts.context.database
    if batch_ids and apply_brakes(database, batch_ids, clock=parts.context.clock):
        parts.claims.give_back()
        withdraw(database)  # what was given back is queued, and its batch is paused


def _learn(parts: Parts, call: RunningCall, seconds: float, result: Result) -> None:
    key, host, paces = call.runner_key, parts.context.host, parts.history.paces
    parts.breaker.add_answer(key, result.output_tokens, result.tokens_per_second)
    paces.add_job(key, seconds)
    if parts.machine.add_wait(key, result.load_seconds):
        emit("runner.reloaded", host=host.name, runner_key=key, seconds=result.load_seconds)
    if not result.output_tokens or call.at_once < parts.view.slots_of(key):
        # nothing was generated, which would tell work from waiting; or not all slots were in use, so that nobody can tell
        # whether there are as many
        return
    slots = paces.add_waits(key, [_waited(result)], limit=host.slots, is_set=not host.auto_slots)
    if slots is not None:
        emit("host.slots_learned", host=host.name, runner_key=key, slots=slots)
        if key == parts.machine.used:
            parts.slots.limit = slots


def _waited(result: Result) -> Waited:
    """What the reply's total says beyond its parts: the request waited for a place."""
    spent = result.load_seconds + result.prompt_eval_seconds + result.eval_seconds
    return Waited(max(0.0, result.total_seconds - spent), result.total_seconds)


def _blame(parts: Parts, runner_key: str, custom_id: str, finish: Finish, error: HostError) -> None:
    """Have the runner key rest on this host where its runner is at fault."""
    if error.code is Code.WORKER_LOST:  # whoever stops the worker knows
        return
    emit(
        "job.failed",
        host=parts.session.host,
        job=finish.job_id,
        custom_id=custom_id,
        attempt=finish.attempt,
        code=error.code,
        message=error.message[:300],
    )
    if not isinstance(finish.outcome, Retried):
        return
    if CODES[error.code].fault == "runner":
        parts.block(runner_key, error)
