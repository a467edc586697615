"""Why does nothing move? Sentences for people, the nearest cause first, each with its remedy where there is one."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.domain.model_operations import BRINGS, ModelPart
from worker.domain.numbers import count_of, names_of
from worker.domain.runners import serves, without_window
from worker.errors import Code
from worker.explain.obstacles import barred
from worker.explain.situation import Server, Situation
from worker.policy.picture import Obstacle
from worker.storage.host_rows import HostRow, pull_command


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


def moment(at: datetime, now: datetime) -> str:
    """``at`` as a clock on the wall shows it, with the day where that is another."""
    there = at.astimezone()
    same_day = there.date() == now.astimezone().date()
    return there.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")


def why_nothing_moves(situation: Situation, now: datetime) -> list[str]:
    """What stands between the jobs and their answers, the nearest cause first; empty where nothing is in the way."""
    progress = situation.progress
    reasons: list[str] = []
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
                remedy = f"caravan resume {batch.id}"
                reasons.append(f"batch {batch.id} is paused{why}{'' if remedy in why else f'; {remedy}'}")
            case BatchState.OPEN:
                pass
        if situation.hours is not None and situation.hours.closed:
            reasons.append(
                f"batch {batch.id} is outside of its window ({situation.hours.text}), which opens "
                f"{_opens(situation.hours.opens_at, now)}; caravan edit {batch.id} --no-window"
            )
    reasons += _held(situation)
    paused = progress is not None and progress.batch.state is BatchState.PAUSED
    waiting = [model for model in situation.models if model.waiting or model.running]
    closed = situation.hours is not None and situation.hours.closed
    queued = situation.counts.get(JobState.QUEUED, 0) + situation.counts.get(JobState.RUNNING, 0)
    retry_at = None if queued else situation.next_retry_at
    # one process that does everything lets a host go while all that is left waits for its time
    idle = situation.server is not Server.WORKERS and retry_at is not None and retry_at > now
    if waiting and not paused and not closed and not idle:
        reasons += _hosts_in_the_way(situation, now)
    if retry_at is not None and not paused:
        reasons.append(f"the next retry is at {until(retry_at, now)}")
    return reasons


def _held(situation: Situation) -> Iterator[str]:
    if situation.progress is None:
        jobs = situation.counts.get(JobState.HELD, 0)
        if jobs:
            yield f"{_jobs(jobs)} held; caravan explain BATCH says why"
        return
    total = situation.counts.get(JobState.HELD, 0)
    for group in situation.held:
        jobs = total if len(situation.held) == 1 else group.jobs
        remedy = f"caravan retry {situation.progress.batch.id} --state held"
        if group.code == Code.OUTSIDE_LIMIT:
            yield (
                f"{_jobs(jobs)} outside of --limit or --sample: give the same command without it, or {remedy}"
            )
            continue
        why = f": {group.reason}" if group.reason else ""
        otherwise = "if it comes otherwise, " if group.code == Code.MODEL_MISSING else ""
        yield f"{_jobs(jobs)} held: {group.code}{why}; {otherwise}{remedy}"


def no_host_has(model: str, situation: Situation) -> str:
    """That the hosts lack a model, and how far it is on its way, or what brings it."""
    coming = _coming(model, situation)
    if not coming:
        return f"no host has {model}: {pull_command(model, situation.hosts)}"
    return f"no host has {model} yet: {max(coming, key=lambda part: part.completed).progress}"


def _coming(model: str, situation: Situation) -> list[ModelPart]:
    return [part for part in situation.parts if part.verb in BRINGS and part.model == model]


def _jobs(n: int) -> str:
    return count_of(n, "job is", "jobs are")


def _hosts_in_the_way(situation: Situation, now: datetime) -> Iterator[str]:
    if not situation.hosts:
        yield "there are no hosts: caravan hosts add NAME URL"
        return
    concerned: dict[str, HostRow] = {}
    models = [model for model in situation.models if model.waiting or model.running]
    for model in models:
        having = [host for host in situation.hosts if host.may_have(model.model)]
        if not having:
            yield no_host_has(model.model, situation)
        concerned.update((host.name, host) for host in having)
    keys = {key for model in situation.models for key in model.runner_keys}
    yield from in_the_way(situation, list(concerned.values()), keys, now)
    for model in models:
        yield from without_the_model(model.model, situation)


def without_the_model(model: str, situation: Situation) -> Iterator[str]:
    """The hosts that answer and lack a model of which every host that has it is away: one of them could get it."""
    away = {host.name for host in situation.hosts if host.unreachable_since is not None}
    having = {host.name for host in situation.hosts if host.may_have(model)}
    lacking = [host.name for host in situation.hosts if host.name not in away | having]
    if lacking and having and having <= away and not _coming(model, situation):
        verbs = "answers, but has" if len(lacking) == 1 else "answer, but have"
        yield f"{names_of(lacking)} {verbs} no {model}: caravan models pull {model} --host {lacking[0]}"


def in_the_way(
    situation: Situation, hosts: Sequence[HostRow], keys: Collection[str], now: datetime
) -> Iterator[str]:
    """What keeps ``hosts`` from answering jobs of the runner keys ``keys``."""
    server = situation.server
    unserved = [host for host in hosts if _lacks_server(host, server)]
    if unserved:
        yield f"{_lack_of(server)} {names_of([host.name for host in unserved])}: {_remedy(unserved, server)}"
    for host in hosts:
        if host not in unserved:
            yield from host_in_the_way(situation, host, keys, now)


def _lacks_server(host: HostRow, server: Server) -> bool:
    """Whether the host would take work now, and no process serves it."""
    if (
        host.serving
        or host.unreachable_since is not None
        or host.takes_nothing
        or host.rests_after is not None
    ):
        return False
    if server is Server.UP:  # it serves every host that was added, and lets one rest that has nothing to do
        return not host.kept
    return server is not Server.SELF


def _lack_of(server: Server) -> str:
    return "the caravan run on this machine does not serve" if server is Server.RUN else "no worker serves"


def _remedy(hosts: Sequence[HostRow], server: Server) -> str:
    again = "give the same caravan run again"  # a host that one run named is no host of caravan up
    match server:
        case Server.WORKERS:
            return "caravan worker" + "".join(f" --host {host.name}" for host in hosts[:4])
        case Server.RUN:
            return "caravan up, once it has ended"
        case _ if not any(host.kept for host in hosts):
            return again
        case _ if all(host.kept for host in hosts):
            return "caravan up"
        case _:
            return f"caravan up, or {again}"


def host_in_the_way(
    situation: Situation, host: HostRow, keys: Collection[str], now: datetime
) -> Iterator[str]:
    if host.unreachable_since is not None:
        since = moment(host.unreachable_since, now)
        ago = span((now - host.unreachable_since).total_seconds())
        why = f": {host.error}" if host.error else ""
        yield f"{host.name} cannot be reached since {since} ({ago}){why}"
        return
    if host.draining:
        yield f"{host.name} is drained and takes no new jobs: caravan hosts resume {host.name}"
        return
    if host.closed:
        opens = _opens(host.opens_at, now)
        yield (
            f"{host.name} is outside of its window ({host.window}), which opens {opens}: "
            f"caravan hosts set {host.name} --no-window"
        )
        return
    if host.in_quarantine:
        yield (
            f"{host.name} is in quarantine until {until(host.quarantined_until, now)}: {host.quarantine_reason}; "
            f"when it is well again: caravan hosts resume {host.name}"
        )
        return
    if host.rests_after is not None:
        failure = host.rests_after
        yield (
            f"{host.name} rests after a failure at {moment(failure.at, now)}, and is asked again by itself within "
            f"a minute: {failure.code}: {' '.join(failure.message.split())[:200]}"
        )
        return
    if host.slow_reason is not None:
        yield f"{host.name} is slow: {host.slow_reason}"
    for runner in barred(situation, host, keys):
        match runner.obstacle:
            case Obstacle.STEPS_BACK:
                block = next(block for block in host.blocks if block.runner_key == runner.runner_key)
                times = "once" if block.failures == 1 else f"{block.failures:,} times"
                yield (
                    f"{short(block.runner_key)} does not load on {host.name}: {block.reason}; "
                    f"tried {times}, next try at {until(block.until, now)}"
                )
            case Obstacle.NO_ROOM:
                yield (
                    f"{short(runner.queued[0])} takes {(runner.memory or 0) / 1e9:.1f} GB, and {host.name} has "
                    f"{(host.host.memory or 0) / 1e9:.1f} GB for models: caravan hosts set {host.name} --memory SIZE"
                )
            case Obstacle.RESTS | Obstacle.NO_MODEL:
                pass  # the one is told above; of a host without the model nothing is expected
    if host.intent is not None:
        yield f"{host.name} is loading {short(host.intent)}{for_so_long(host.intent_at, now)}"
    elif host.running and host.resident is not None and not holds(host, keys):
        yield f"{host.name} works on other jobs, with {short(host.resident)} loaded"


def _opens(at: datetime | None, now: datetime) -> str:
    return "never again, as far as can be seen" if at is None else f"at {until(at, now)}"


def holds(host: HostRow, keys: Collection[str]) -> bool:
    """Whether it has a runner loaded for one of these queued keys."""
    return any(serves(host.resident, key) for key in keys)


def short(runner_key: str) -> str:
    """A runner key with its options in brackets.

    >>> short("qwen3:8b num_ctx=8192")
    'qwen3:8b (num_ctx=8192)'
    """
    model, _, options = without_window(runner_key).partition(" ")
    return f"{model} ({options})" if options else model


def for_so_long(since: datetime | None, now: datetime) -> str:
    return "" if since is None else f" ({span((now - since).total_seconds())})"


def until(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "then"
    left = (at - now).total_seconds()
    return f"{moment(at, now)} ({f'in {span(left)}' if left >= 1 else 'now'})"
