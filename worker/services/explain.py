"""Why does nothing move, and what does this job wait for? Sentences for people, each with its remedy where there is one."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from worker.clock import Clock
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState, Priority
from worker.domain.runners import RunnerKey, serves, without_window
from worker.errors import CODES, Code, Conflict, NotFound
from worker.services.situation import HostNow, Situation, read_situation
from worker.storage.batches import find_batch
from worker.storage.engine import Connection, Database
from worker.storage.reports import (
    MOST_AHEAD,
    JobNow,
    jobs_ahead,
    jobs_named,
    read_job,
)
from worker.storage.results import AttemptRow, get_result, list_attempts


def span(seconds: float) -> str:
    """A span for people, in its largest unit.

    >>> [span(s) for s in (0, 45, 200, 7300, 200000)]
    ['0 s', '45 s', '3 min', '2 h', '2 d']
    """
    whole = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def moment(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """``at`` as a clock on the wall shows it, with the day where that is another. ``zone`` None: this machine's."""
    there = at.astimezone(zone)
    same_day = there.date() == now.astimezone(zone).date()
    return there.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")


def why_nothing_moves(
    situation: Situation, now: datetime, *, zone: tzinfo | None = None, embedded: bool = False
) -> list[str]:
    """What stands between the jobs and their answers, the nearest cause first; empty where nothing is in the way.

    ``embedded``: hosts are served by ``caravan run`` and ``caravan up``, not by workers of their own.
    """
    progress = situation.progress
    told: list[str] = []
    if progress is not None:
        batch = progress.batch
        match batch.state:
            case BatchState.RECEIVING:
                return [f"batch {batch.id} is still being received; its jobs run when its input is complete"]
            case BatchState.REFUSED:
                return [f"batch {batch.id} was refused: caravan status {batch.id} says why"]
            case BatchState.FINISHED | BatchState.CANCELLED:
                return []
            case BatchState.PAUSED:
                why = f": {situation.pause_reason}" if situation.pause_reason else ""
                told.append(f"batch {batch.id} is paused{why}; caravan resume {batch.id}")
            case BatchState.OPEN:
                pass
    told += _held(situation)
    paused = progress is not None and progress.batch.state is BatchState.PAUSED
    waiting = [model for model in situation.models if model.waiting or model.running]
    if waiting and not paused:
        told += _hosts_in_the_way(situation, now, zone=zone, embedded=embedded)
    queued = situation.counts.get(JobState.QUEUED, 0) + situation.counts.get(JobState.RUNNING, 0)
    if situation.next_retry_at is not None and not queued and not paused:
        told.append(f"waiting for a retry at {_until(situation.next_retry_at, now, zone)}")
    return told


def _held(situation: Situation) -> Iterator[str]:
    if situation.progress is None:
        jobs = situation.counts.get(JobState.HELD, 0)
        if jobs:
            yield f"{_jobs(jobs)} held; caravan explain BATCH says why"
        return
    total = situation.counts.get(JobState.HELD, 0)
    for group in situation.held:
        jobs = total if len(situation.held) == 1 else group.jobs
        why = f": {group.reason}" if group.reason else ""
        yield f"{_jobs(jobs)} held: {group.code}{why}; caravan unhold {situation.progress.batch.id}"


def _jobs(n: int) -> str:
    return f"{n:,} job is" if n == 1 else f"{n:,} jobs are"


def _hosts_in_the_way(
    situation: Situation, now: datetime, *, zone: tzinfo | None, embedded: bool
) -> Iterator[str]:
    if not situation.hosts:
        yield "there are no hosts: caravan hosts add NAME URL"
        return
    concerned: dict[str, HostNow] = {}
    for model in situation.models:
        if not (model.waiting or model.running):
            continue
        having = [host for host in situation.hosts if host.may_have(model.model)]
        if not having:
            yield f"no host has {model.model}: ollama pull {model.model} on one of them"
        concerned.update((host.name, host) for host in having)
    wanted = {key for model in situation.models for key in model.runner_keys}
    yield from in_the_way(list(concerned.values()), wanted, now, zone=zone, embedded=embedded)


def in_the_way(
    hosts: Sequence[HostNow],
    wanted: Collection[str],
    now: datetime,
    *,
    zone: tzinfo | None = None,
    embedded: bool = False,
) -> Iterator[str]:
    """What keeps ``hosts`` from answering jobs of the runner keys ``wanted``."""
    unserved = [host.name for host in hosts if not host.serving and host.unreachable_since is None]
    if unserved:
        remedy = (
            "caravan up" if embedded else "caravan worker" + "".join(f" --host {n}" for n in unserved[:4])
        )
        yield f"no worker serves {_some(unserved)}: {remedy}"
    for host in hosts:
        if host.name not in unserved:
            yield from _host_in_the_way(host, wanted, now, zone)


def _some(names: Sequence[str]) -> str:
    """Some of the names, and how many more.

    >>> _some(["a", "b"]), _some(list("abcdefg"))
    ('a, b', 'a, b, c, d and 3 more')
    """
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _host_in_the_way(
    host: HostNow, wanted: Collection[str], now: datetime, zone: tzinfo | None
) -> Iterator[str]:
    if host.unreachable_since is not None:
        since = moment(host.unreachable_since, now, zone)
        ago = span((now - host.unreachable_since).total_seconds())
        why = f": {host.error}" if host.error else ""
        yield f"{host.name} cannot be reached since {since} ({ago}){why}"
        return
    if host.draining:
        yield f"{host.name} is drained and takes no new jobs: caravan hosts resume {host.name}"
        return
    for block in host.blocks:
        if any(serves(block.runner_key, key) for key in wanted) and block.until > now:
            times = "once" if block.failures == 1 else f"{block.failures} times"
            yield (
                f"{_short(block.runner_key)} does not load on {host.name}: {block.reason}; "
                f"tried {times}, next try at {_until(block.until, now, zone)}"
            )
    if host.intent is not None:
        yield f"{host.name} is loading {_short(host.intent)}{_for(host.intent_at, now)}"
    elif host.running and host.resident is not None and not _holds(host, wanted):
        yield f"{host.name} works on other jobs, with {_short(host.resident)} loaded"


def _holds(host: HostNow, wanted: Collection[str]) -> bool:
    """Whether it has a runner loaded for one of these queued keys."""
    return any(serves(host.resident, key) for key in wanted)


def _short(runner_key: str) -> str:
    """A runner key with its options in brackets.

    >>> _short("qwen3:8b num_ctx=8192")
    'qwen3:8b (num_ctx=8192)'
    """
    model, _, options = without_window(runner_key).partition(" ")
    return f"{model} ({options})" if options else model


def _for(since: datetime | None, now: datetime) -> str:
    return "" if since is None else f" ({span((now - since).total_seconds())})"


def _until(at: datetime, now: datetime, zone: tzinfo | None) -> str:
    left = (at - now).total_seconds()
    return f"{moment(at, now, zone)} ({f'in {span(left)}' if left >= 1 else 'now'})"


@dataclass(frozen=True, slots=True)
class Explained:
    """Where a job or a batch stands, as a list of sentences, and the attempts of a job."""

    batch_id: int
    job_id: int | None
    custom_id: str | None
    state: str
    sentences: tuple[str, ...]
    attempts: tuple[AttemptRow, ...] = ()


def explain(
    database: Database, reference: str, *, clock: Clock, zone: tzinfo | None = None, embedded: bool = False
) -> Explained:
    """Explain a batch (in any form ``find_batch`` takes), or a job: its number, or BATCH:custom_id.

    A number of a job is above 2**24, so it is never a batch's. Raises NotFound; Conflict where several batches
    begin so, or several jobs (one per model) have the custom_id.
    """
    now = clock.now()
    with database.read() as conn:
        job = _find_job(conn, reference)
        if job is None:
            return _explain_batch(conn, reference, now, zone=zone, embedded=embedded)
        return _explain_job(conn, job, now, zone=zone, embedded=embedded)


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
        found = find_batch(conn, reference)
    except (NotFound, Conflict):
        found = None
    if found is not None:
        return None  # a batch whose name has a colon in it
    within = find_batch(conn, batch)
    ids = jobs_named(conn, within.id, custom_id)
    if not ids:
        raise NotFound(f"batch {within.id} ({within.name}) has no job {custom_id!r}")
    if len(ids) > 1:
        several = [read_job(conn, one) for one in ids]
        told = ", ".join(f"{job.id} ({job.model})" for job in several)
        raise Conflict(f"batch {within.id} has several jobs {custom_id!r}, one per model: {told}")
    return read_job(conn, ids[0])


def _explain_batch(
    conn: Connection, reference: str, now: datetime, *, zone: tzinfo | None, embedded: bool
) -> Explained:
    batch = find_batch(conn, reference)
    found = read_situation(conn, batch.id, now=now)
    assert found.progress is not None
    counts = found.counts
    told = [
        f"batch {batch.id} ({batch.name}) is {batch.state}: "
        + (", ".join(f"{n:,} {state}" for state, n in sorted(counts.items()) if n) or "no jobs")
    ]
    told += [f"{n:,} failed with {_advised(code)}" for code, n in found.failures.items()]
    told += why_nothing_moves(found, now, zone=zone, embedded=embedded)
    if found.progress.batch.state is BatchState.OPEN and found.progress.open:
        told += _at_work(found)
    elif found.progress.batch.state is BatchState.OPEN and not counts.get(JobState.HELD):
        told.append("nothing is left to do; it is settled within seconds, where something serves")
    return Explained(batch.id, None, None, str(batch.state), tuple(told))


def _at_work(found: Situation) -> Iterator[str]:
    wanted = {key for model in found.models for key in model.runner_keys}
    for host in found.hosts:
        if host.serving and host.running and _holds(host, wanted):
            yield f"{host.name} holds {_short(host.resident or '')} and runs {host.running}{_speed(host)}"


def _speed(host: HostNow) -> str:
    return f", {host.tokens_per_second:,.0f} tok/s" if host.tokens_per_second else ""


def _explain_job(
    conn: Connection, job: JobNow, now: datetime, *, zone: tzinfo | None, embedded: bool
) -> Explained:
    attempts = list_attempts(conn, job.id)
    found = read_situation(conn, job.batch_id, now=now)
    told = [f"job {job.id} ({job.custom_id}, {job.model}) of batch {job.batch_id} {_state_in_words(job)}"]
    match job.state:
        case JobState.QUEUED:
            told += _explain_queued(conn, job, found, now, zone=zone, embedded=embedded)
        case JobState.SCHEDULED | JobState.WAITING:
            told += _explain_scheduled(job, found, attempts, now, zone=zone, embedded=embedded)
        case JobState.RUNNING:
            told += _explain_running(job, found, now, zone)
        case JobState.HELD:
            code = job.hold_code or ""
            told.append(f"{_advised(code)}" + (f": {job.hold_reason}" if job.hold_reason else ""))
            told.append(f"then: caravan unhold {job.batch_id}")
        case JobState.FAILED:
            result = get_result(conn, job.id)
            told.append(_advised(result.error_code or "") + f": {result.error_message or ''}")
            told.append(f"to try it again: caravan retry {job.batch_id}")
        case JobState.SUCCEEDED:
            result = get_result(conn, job.id)
            cut = "; the answer was cut" if result.cut else ""
            told.append(
                f"{result.output_tokens or 0:,} tokens from {result.host} in {span(result.total_seconds or 0)}{cut}"
            )
        case JobState.CANCELLED | JobState.EXPIRED:
            pass
    return Explained(
        job.batch_id, job.id, job.custom_id, str(job.state), tuple(told), attempts=tuple(attempts)
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


def _advised(code: str) -> str:
    """A code with its meaning and what to do.

    >>> _advised("model_missing")
    'model_missing (the host does not have the model: ollama pull it there)'
    >>> _advised("other")
    'other'
    """
    if code not in set(Code):
        return code
    facts = CODES[Code(code)]
    advice = "" if facts.advice == "none" else f": {facts.advice}"
    return f"{code} ({facts.meaning}{advice})"


def _explain_queued(
    conn: Connection, job: JobNow, found: Situation, now: datetime, *, zone: tzinfo | None, embedded: bool
) -> Iterator[str]:
    ahead = jobs_ahead(conn, job)
    priority = Priority(job.priority).name.lower()
    if ahead:
        more = "at least " if ahead >= MOST_AHEAD else ""
        before = "1 job is" if ahead == 1 else f"{ahead:,} jobs are"
        yield f"{more}{before} before it with {_short(job.runner_key)} (its priority is {priority})"
    else:
        yield f"it is the next with {_short(job.runner_key)}"
    yield from _what_hosts_do(job, found, now, zone=zone, embedded=embedded)


def _what_hosts_do(
    job: JobNow, found: Situation, now: datetime, *, zone: tzinfo | None, embedded: bool
) -> Iterator[str]:
    model = RunnerKey.parse(job.runner_key).model
    having = [host for host in found.hosts if host.may_have(model)]
    if not having:
        yield (
            f"no host has {model}: ollama pull {model} on one of them"
            if found.hosts
            else "there are no hosts: caravan hosts add NAME URL"
        )
    yield from in_the_way(having, {job.runner_key}, now, zone=zone, embedded=embedded)
    for host in having:
        if not host.serving or any(_host_in_the_way(host, {job.runner_key}, now, zone)):
            continue
        if serves(host.resident, job.runner_key):
            yield f"{host.name} holds it and runs {host.running}{_speed(host)}"
        elif host.resident is not None:
            yield f"{host.name} holds {_short(host.resident)}; it loads {_short(job.runner_key)} when that pays"
        else:
            yield f"{host.name} holds nothing yet"


def _explain_scheduled(
    job: JobNow,
    found: Situation,
    attempts: Sequence[AttemptRow],
    now: datetime,
    *,
    zone: tzinfo | None,
    embedded: bool,
) -> Iterator[str]:
    progress = found.progress
    if progress is not None and progress.batch.state in (BatchState.PAUSED, BatchState.RECEIVING):
        yield from why_nothing_moves(found, now, zone=zone, embedded=embedded)
    elif job.eligible_at is not None:
        last = f" after {attempts[-1].error_code}" if attempts and attempts[-1].error_code else ""
        yield f"it is tried again{last} at {_until(job.eligible_at, now, zone)}"
    else:
        yield "its batch was sealed; the next tick queues it, where something serves"


def _explain_running(job: JobNow, found: Situation, now: datetime, zone: tzinfo | None) -> Iterator[str]:
    since = f" since {moment(job.started_at, now, zone)}" if job.started_at is not None else ""
    yield f"attempt {job.attempt} on {job.host}{since}{_for(job.started_at, now)}"
    if job.cancelling:
        yield "its producer asked to cancel it; the worker hangs up within seconds"
    host = next((host for host in found.hosts if host.name == job.host), None)
    if host is not None and host.unreachable_since is not None:
        yield from _host_in_the_way(host, {job.runner_key}, now, zone)
