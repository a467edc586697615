"""Explains where a job or a batch stands, what it waits for, and what helps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from worker.clock import Clock
from worker.domain.batches import BatchProgress, BatchState
from worker.domain.hosts import LoadedModel
from worker.domain.jobs import FINAL, JobState, Priority
from worker.domain.numbers import count_of
from worker.domain.runners import RunnerKey, serves
from worker.errors import CODES, Code, Conflict, NotFound
from worker.explain.costs import read_costs, what_costs_time
from worker.explain.reasons import (
    for_so_long,
    holds,
    host_in_the_way,
    in_the_way,
    moment,
    no_host_has,
    short,
    span,
    until,
    why_nothing_moves,
    without_the_model,
)
from worker.explain.situation import Server, Situation, read_situation
from worker.policy.answers import ROOMY, Room, room_for, truncating
from worker.policy.retry import is_suspect
from worker.records import record
from worker.replies.vectors import BYTES as VECTOR_BYTES
from worker.storage.answers import room_needed
from worker.storage.batches import find_batch
from worker.storage.engine import Connection, Database
from worker.storage.follows.parents import Before, parents_of
from worker.storage.host_rows import HostRow
from worker.storage.reports import (
    MOST_AHEAD,
    JobNow,
    jobs_ahead,
    jobs_named,
    read_job,
)
from worker.storage.results import AttemptRow, ResultRow, get_result, list_attempts


@record
class Explained:
    """Where a job or a batch stands, as a list of sentences, and the attempts of a job."""

    batch_id: int
    job_id: int | None
    custom_id: str | None
    state: str
    sentences: tuple[str, ...]
    attempts: tuple[AttemptRow, ...] = ()


def explain(
    database: Database,
    reference: str,
    *,
    clock: Clock,
    server: Server = Server.WORKERS,
    loaded: Callable[[], Mapping[str, Sequence[LoadedModel]]] | None = None,
) -> Explained:
    """Explain a batch (in any form ``find_batch`` takes), or a job: its number, or BATCH:custom_id.

    A number of a job is above 2**24, so it is never a batch's. ``server``: which processes serve the hosts. ``loaded``
    asks the hosts what they have loaded; it is called for a batch that runs. Raises NotFound; Conflict where several batches
    begin so, or several jobs (one per model) have the custom_id.
    """
    now = clock.now()
    with database.read() as conn:
        job = _find_job(conn, reference)
        if job is None:
            explained, situation = _explain_batch(conn, reference, now, server=server)
        else:
            return _explain_job(conn, job, now, server=server)
    # no transaction is open while hosts are asked
    running = explained.state == BatchState.OPEN and bool(situation.counts.get(JobState.RUNNING))
    there = loaded() if running and loaded is not None else {}
    keys = [key for model in situation.models for key in model.runner_keys]
    with database.read() as conn:
        costs = read_costs(conn, explained.batch_id, now=now, runner_keys=keys, loaded=there)
    return replace(explained, sentences=(*explained.sentences, *what_costs_time(costs)))


def _find_job(conn: Connection, reference: str) -> JobNow | None:
    if reference.isascii() and reference.isdigit() and 2**24 <= int(reference) < 2**62:
        try:
            return read_job(conn, int(reference))
        except NotFound:
            pass  # digits may be a batch's key or name
    batch, colon, custom_id = reference.partition(":")
    if not colon or not batch:
        return None
    try:
        batch_named = find_batch(conn, reference)
    except (NotFound, Conflict):
        batch_named = None
    if batch_named is not None:
        return None  # a batch whose name has a colon in it
    within = find_batch(conn, batch)
    ids = jobs_named(conn, within.id, custom_id)
    if not ids:
        raise NotFound(f"batch {within.id} ({within.name}) has no job {custom_id!r}")
    if len(ids) > 1:
        several = [read_job(conn, job_id) for job_id in ids]
        message = ", ".join(f"{job.id} ({job.model})" for job in several)
        raise Conflict(f"batch {within.id} has several jobs {custom_id!r}, one per model: {message}")
    return read_job(conn, ids[0])


def _explain_batch(
    conn: Connection, reference: str, now: datetime, *, server: Server
) -> tuple[Explained, Situation]:
    batch = find_batch(conn, reference)
    situation = read_situation(conn, batch.id, now=now, server=server)
    assert situation.progress is not None
    counts = situation.counts
    lines = [
        f"batch {batch.id} ({batch.name}) is {batch.state}: "
        + (", ".join(_counted(situation.progress)) or "no jobs")
    ]
    for code, n in situation.failures.items():
        remedy, room = None, Room()
        if code == Code.CONTEXT_OVERFLOW:
            room = room_needed(conn, batch.id)
            remedy = _overflow_remedy(room, f"{batch.id} --code {code}")
        lines.append(f"{n:,} failed with {_advised(code, remedy)}")
        lines += truncating(room, batch.id)
    lines += why_nothing_moves(situation, now)
    if situation.progress.batch.state is BatchState.OPEN and situation.progress.open:
        lines += _at_work(situation)
    elif situation.progress.batch.state is BatchState.OPEN and not counts.get(JobState.HELD):
        lines.append("nothing is left to do; it is settled within seconds, where something serves")
    return Explained(batch.id, None, None, str(batch.state), tuple(lines)), situation


def _counted(progress: BatchProgress) -> Iterator[str]:
    """Its jobs by state, those that are claimed ahead apart from those that run."""
    for state, jobs in sorted(progress.counts.items()):
        claimed = progress.claimed if state is JobState.RUNNING else 0
        if claimed:
            yield f"{claimed:,} claimed"
        if jobs > claimed:
            yield f"{jobs - claimed:,} {state}"


def _at_work(situation: Situation) -> Iterator[str]:
    keys = {key for model in situation.models for key in model.runner_keys}
    for host in situation.hosts:
        if host.serving and host.running and holds(host, keys):
            yield f"{host.name} holds {short(host.resident or '')} and runs {_at_once(host)}{_speed(host)}"


def _at_once(host: HostRow) -> str:
    """The jobs that it answers, and those that it has claimed ahead."""
    return f"{host.running - host.claimed:,}" + (f", {host.claimed:,} claimed" if host.claimed else "")


def _speed(host: HostRow) -> str:
    return f", {host.tokens_per_second:,.0f} tok/s" if host.tokens_per_second else ""


def _explain_job(conn: Connection, job: JobNow, now: datetime, *, server: Server) -> Explained:
    attempts = list_attempts(conn, job.id)
    situation = read_situation(conn, job.batch_id, now=now, server=server)
    lines = [f"job {job.id} ({job.custom_id}, {job.model}) of batch {job.batch_id} {_state_in_words(job)}"]
    match job.state:
        case JobState.QUEUED:
            lines += _explain_queued(conn, job, situation, now)
        case JobState.WAITING:
            lines += _explain_waiting(parents_of(conn, job.id, limit=MOST_PARENTS))
        case JobState.SCHEDULED:
            lines += _explain_scheduled(job, situation, attempts, now)
        case JobState.RUNNING:
            lines += _explain_running(job, len(attempts) + 1, situation, now)
        case JobState.HELD:
            code = job.hold_code or ""
            lines.append(f"{_advised(code)}" + (f": {job.hold_reason}" if job.hold_reason else ""))
            lines.append(f"then: caravan retry {job.batch_id} --state held")
        case JobState.FAILED:
            lines += _failed(conn, job)
        case JobState.SUCCEEDED:
            result = get_result(conn, job.id)
            made = count_of(result.output_tokens or 0, "token")
            if result.embedding is not None:
                made = f"a vector of {len(result.embedding) // VECTOR_BYTES:,} numbers"
            lines.append(f"{made} from {result.host} in {span(result.total_seconds or 0)}")
            lines += _flaws(result, job)
        case JobState.CANCELLED | JobState.EXPIRED:
            pass
    if job.finished_at is None and get_result(conn, job.id).state is JobState.SUCCEEDED:
        lines.append("it is asked again; its old answer stays until a new one is stored")
    return Explained(
        job.batch_id, job.id, job.custom_id, str(job.state), tuple(lines), attempts=tuple(attempts)
    )


def _failed(conn: Connection, job: JobNow) -> Iterator[str]:
    result = get_result(conn, job.id)
    code, message = result.error_code or "", result.error_message or ""
    if code != Code.CONTEXT_OVERFLOW:
        yield f"{_advised(code)}: {message}"
        yield f"to try it again: caravan retry {job.batch_id}"
        return
    room = room_needed(conn, job.batch_id, job_id=job.id)
    yield f"{_advised(code, '')}: {message}"
    yield _overflow_remedy(room, f"--job {job.batch_id}:{job.custom_id}")
    yield from truncating(room, job.batch_id)


def _overflow_remedy(room: Room, jobs: str) -> str:
    """What helps prompts that did not fit; ``jobs`` names them for ``caravan retry``."""
    return f"caravan retry {jobs}{room.larger_window}" if room.fits else room.beyond


def _flaws(result: ResultRow, job: JobNow) -> Iterator[str]:
    """What somebody should know of an answer."""
    name = f"{job.batch_id}:{job.custom_id}"
    if result.cut:
        room = room_for(answer=result.output_tokens or 0)
        yield f"the answer was cut: caravan retry --job {name} --cut --set num_predict={room.num_predict}"
    if result.empty:
        yield f"the answer is empty: caravan retry --job {name} --empty"
    if result.prompt_fit == "no":
        yield (
            f"only a part of the prompt was read: caravan retry --job {name} --prompt-fit no --set num_ctx={ROOMY}"
        )


_WORDS = {
    JobState.SCHEDULED: "is not eligible yet",
    JobState.WAITING: "waits for another job",
    JobState.QUEUED: "is queued",
    JobState.RUNNING: "is running",
    JobState.HELD: "is held until somebody lets it go",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "expired: its deadline passed",
}


def _state_in_words(job: JobNow) -> str:
    return _WORDS[job.state]


def _advised(code: str, remedy: str | None = None) -> str:
    """A code with its meaning and what to do; ``remedy``: what to do in this case, where the code alone does not say it.

    >>> _advised("model_missing")
    'model_missing (the host does not have the model: caravan models pull it)'
    >>> _advised("other")
    'other'
    """
    if code not in set(Code):
        return code
    facts = CODES[Code(code)]
    advice = ("" if facts.advice == "none" else facts.advice) if remedy is None else remedy
    return f"{code} ({facts.meaning}{advice and f': {advice}'})"


def _explain_queued(conn: Connection, job: JobNow, situation: Situation, now: datetime) -> Iterator[str]:
    if is_suspect(job.losses):
        yield (
            f"its host or worker died {count_of(job.losses, 'time')} while it ran: it runs alone, on a host on which "
            "nothing else runs, after other work or between two loads"
        )
        yield from _what_hosts_do(job, situation, now)
        return
    ahead = jobs_ahead(conn, job)
    priority = Priority(job.priority).name.lower()
    if ahead:
        more = "at least " if ahead >= MOST_AHEAD else ""
        before = count_of(ahead, "job is", "jobs are")
        yield f"{more}{before} before it with {short(job.runner_key)} (its priority is {priority})"
    else:
        yield f"it is the next with {short(job.runner_key)}"
    yield from _what_hosts_do(job, situation, now)


def _what_hosts_do(job: JobNow, situation: Situation, now: datetime) -> Iterator[str]:
    model = RunnerKey.parse(job.runner_key).model
    having = [host for host in situation.hosts if host.may_have(model)]
    if not having:
        yield (
            no_host_has(model, situation)
            if situation.hosts
            else "there are no hosts: caravan hosts add NAME URL"
        )
    yield from in_the_way(situation, having, {job.runner_key}, now)
    yield from without_the_model(model, situation)
    for host in having:
        if not host.serving or any(host_in_the_way(situation, host, {job.runner_key}, now)):
            continue
        if serves(host.resident, job.runner_key):
            yield f"{host.name} holds it and runs {_at_once(host)}{_speed(host)}"
        elif host.resident is not None:
            yield f"{host.name} holds {short(host.resident)}; it loads {short(job.runner_key)} when that pays"
        else:
            yield f"{host.name} holds nothing yet"


MOST_PARENTS = 5


def _explain_waiting(parents: Sequence[Before]) -> Iterator[str]:
    for parent in parents:
        if parent.state not in FINAL:
            yield f"it waits for {parent.custom_id} (job {parent.id}), which {_WORDS[parent.state]}"
    if all(parent.state in FINAL for parent in parents):
        yield "what it waited for has ended; the next tick takes it up, where something serves"


def _explain_scheduled(
    job: JobNow, situation: Situation, attempts: Sequence[AttemptRow], now: datetime
) -> Iterator[str]:
    progress = situation.progress
    if progress is not None and progress.batch.state in (BatchState.PAUSED, BatchState.RECEIVING):
        yield from why_nothing_moves(situation, now)
    elif job.eligible_at is not None:
        last = f" after {attempts[-1].error_code}" if attempts and attempts[-1].error_code else ""
        yield f"it is tried again{last} at {until(job.eligible_at, now)}"
    else:
        yield "its batch was sealed; the next tick queues it, where something serves"


def _explain_running(job: JobNow, attempt: int, situation: Situation, now: datetime) -> Iterator[str]:
    since = f" since {moment(job.started_at, now)}" if job.started_at is not None else ""
    yield f"attempt {attempt} on {job.host}{since}{for_so_long(job.started_at, now)}"
    if job.cancelling:
        yield "its producer asked to cancel it; the worker hangs up within seconds"
    host = next((host for host in situation.hosts if host.name == job.host), None)
    if host is not None and host.unreachable_since is not None:
        yield from host_in_the_way(situation, host, {job.runner_key}, now)
