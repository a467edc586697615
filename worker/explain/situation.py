"""How does everything stand now? One cheap read for whoever looks on: a batch's progress, and what each host does."""

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.clock import Clock
from worker.domain.batches import BatchProgress
from worker.domain.jobs import FINAL, JobState
from worker.domain.model_operations import BRINGS, ModelPart
from worker.domain.runners import RunnerKey
from worker.errors import CODES
from worker.policy.retry import host_pause
from worker.policy.windows import is_open, opens_at, stored_windows
from worker.records import record
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import Block, HostRow, read_hosts
from worker.storage.lately import Answered, answered_since, failures_since
from worker.storage.model_operations import open_parts
from worker.storage.paces import read_paces
from worker.storage.reports import (
    HeldGroup,
    claimed_by_host,
    failures_by_code,
    held_reasons,
    jobs_by_runner_key,
    next_retry,
    pause_of,
    running_by_host,
)
from worker.storage.windows import batch_windows

__all__ = ["Block", "HeldGroup", "HostRow", "ModelNow", "Situation", "read_situation", "situation"]

REST = host_pause(1_000)
"""The longest time for which a host steps back after a failure."""
LATELY = timedelta(seconds=60)
"""Speeds are what the answers of so long come to, or of so long as there have been some."""


class Server(StrEnum):
    """Which processes serve the hosts, as far as the one that looks can tell."""

    WORKERS = "workers of a fleet"
    SELF = "this process"
    UP = "a caravan up on this machine"
    RUN = "a caravan run on this machine"
    NOBODY = "no process"
    """Whatever leases say: the processes that held them are dead."""
    UNKNOWN = "processes of other machines, perhaps"


@record
class ModelNow:
    """The jobs of one model."""

    model: str
    counts: Mapping[JobState, int]
    runner_keys: tuple[str, ...]
    """Those of its runner keys that jobs wait for or run with."""
    jobs_per_second: float = 0.0
    tokens_per_second: float = 0.0

    @property
    def done(self) -> int:
        return sum(n for state, n in self.counts.items() if state in FINAL)

    @property
    def failed(self) -> int:
        return self.counts.get(JobState.FAILED, 0)

    @property
    def running(self) -> int:
        return self.counts.get(JobState.RUNNING, 0)

    @property
    def held(self) -> int:
        return self.counts.get(JobState.HELD, 0)

    @property
    def waiting(self) -> int:
        """Jobs that can still change by themselves and do not run."""
        return sum(self.counts.values()) - self.done - self.running - self.held


@record
class BatchHours:
    """The window of a batch."""

    text: str
    """For people."""
    closed: bool
    opens_at: datetime | None
    """When a closed one opens; None: not in the next two years."""


@record
class Situation:
    """What the database said at one moment, of one batch or (``progress`` is None) of all."""

    at: datetime
    progress: BatchProgress | None
    hosts: tuple[HostRow, ...]
    models: tuple[ModelNow, ...]
    failures: Mapping[str, int] = field(default_factory=dict)
    """The commonest codes, of the jobs that were looked at."""
    held: tuple[HeldGroup, ...] = ()
    next_retry_at: datetime | None = None
    pause_code: str | None = None
    pause_reason: str | None = None
    hours: BatchHours | None = None
    """None: its jobs may begin at any time."""
    server: Server = Server.WORKERS
    parts: tuple[ModelPart, ...] = ()
    """What is being done with the models of the hosts, for whomever."""
    memory_use: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Runner key → host → bytes that the runner took there; empty where no host's memory is limited."""

    @property
    def counts(self) -> dict[JobState, int]:
        """Jobs by state."""
        if self.progress is not None:
            return dict(self.progress.counts)
        total: dict[JobState, int] = {}
        for model in self.models:
            for state, n in model.counts.items():
                total[state] = total.get(state, 0) + n
        return total

    @property
    def concerned(self) -> list[HostRow]:
        """The hosts that may answer a job that is left: they have its model, or it is brought there."""
        models = {model.model for model in self.models if model.waiting or model.running}
        bringing = {part.host for part in self.parts if part.verb in BRINGS and part.model in models}
        return [host for host in self.hosts if host.name in bringing or any(map(host.may_have, models))]

    @property
    def tokens_per_second(self) -> float:
        """Of all hosts together, for whatever batch."""
        return sum(host.tokens_per_second for host in self.hosts)


def situation(
    database: Database,
    batch_id: int | None = None,
    *,
    clock: Clock,
    among: Collection[str] | None = None,
    server: Server = Server.WORKERS,
) -> Situation:
    """Read how things stand for a batch, or for all. ``among`` names the hosts that count; None: all.

    Raises NotFound, DatabaseUnavailable.
    """
    now = clock.now()
    with database.read() as conn:
        return read_situation(conn, batch_id, now=now, among=among, server=server)


def read_situation(
    conn: Connection,
    batch_id: int | None,
    *,
    now: datetime,
    among: Collection[str] | None = None,
    server: Server,
) -> Situation:
    """The same within the caller's transaction."""
    lately = answered_since(conn, now - LATELY)
    running = running_by_host(conn)
    claimed = claimed_by_host(conn) if running else {}
    hosts = tuple(
        replace(
            host,
            running=running.get(host.name, 0),
            claimed=min(claimed.get(host.name, 0), running.get(host.name, 0)),
            tokens_per_second=_speed(lately, now, host=host.name)[1],
        )
        for host in read_hosts(conn, now)
        if among is None or host.name in among
    )
    if server is Server.NOBODY:
        hosts = tuple(replace(host, serving=False, running=0, tokens_per_second=0.0) for host in hosts)
    progress = None if batch_id is None else batch_progress(conn, batch_id)
    if server is Server.NOBODY and progress is not None:
        progress = replace(progress, claimed=progress.counts.get(JobState.RUNNING, 0))
    models = _models(jobs_by_runner_key(conn, batch_id), lately, now)
    if any(model.waiting for model in models):
        hosts = _with_rests(conn, hosts, lately, now)
    names = {host.name for host in hosts}
    parts = tuple(part for part in open_parts(conn) if part.host in names)
    facts = Situation(
        now, progress, hosts, models, server=server, parts=parts, memory_use=_memory_use(conn, hosts)
    )
    counts = facts.counts
    retry = next_retry(conn, batch_id) if counts.get(JobState.SCHEDULED) else None
    if batch_id is None:
        return replace(facts, next_retry_at=retry)
    code, reason = pause_of(conn, batch_id)
    return replace(
        facts,
        failures=failures_by_code(conn, batch_id) if counts.get(JobState.FAILED) else {},
        held=tuple(held_reasons(conn, batch_id)) if counts.get(JobState.HELD) else (),
        next_retry_at=retry,
        pause_code=code,
        pause_reason=reason,
        hours=hours_of(conn, batch_id, now),
    )


def _with_rests(
    conn: Connection, hosts: tuple[HostRow, ...], lately: Collection[Answered], now: datetime
) -> tuple[HostRow, ...]:
    """Hosts that do nothing, with the failure after which they rest. Hosts that work cost no read."""
    idle = [host.name for host in hosts if not (host.running or host.unreachable_since or host.takes_nothing)]
    if not idle:
        return hosts
    failures = {host: failure for host, failure in failures_since(conn, now - REST).items() if host in idle}
    for row in lately:
        if row.host in failures and row.last_at > failures[row.host].at:
            del failures[row.host]
    own = {host: failure for host, failure in failures.items() if failure.code in _OF_HOSTS}
    return tuple(replace(host, rests_after=own.get(host.name)) for host in hosts) if own else hosts


_OF_HOSTS = {str(code) for code, facts in CODES.items() if facts.fault == "host"}


def hours_of(conn: Connection, batch_id: int, now: datetime) -> BatchHours | None:
    """When its jobs may begin; None: at any time."""
    windows = stored_windows(batch_windows(conn, batch_id))
    if windows is None:
        return None
    closed = not is_open(windows, now)
    return BatchHours(windows.text, closed, opens_at(windows, now) if closed else None)


def _models(
    by_key: Mapping[str, Mapping[JobState, int]], lately: Collection[Answered], now: datetime
) -> tuple[ModelNow, ...]:
    counts: dict[str, dict[JobState, int]] = {}
    keys: dict[str, list[str]] = {}
    for key, states in by_key.items():
        model = RunnerKey.parse(key).model
        counts.setdefault(model, {})
        keys.setdefault(model, [])
        for state, n in states.items():
            counts[model][state] = counts[model].get(state, 0) + n
        if any(state not in FINAL and state is not JobState.HELD for state in states):
            keys[model].append(key)
    return tuple(
        ModelNow(
            model,
            states,
            tuple(keys[model]),
            *_speed(lately, now, model=model),
        )
        for model, states in sorted(counts.items())
    )


def _memory_use(conn: Connection, hosts: Collection[HostRow]) -> dict[str, dict[str, int]]:
    if all(host.host.memory is None for host in hosts):
        return {}
    memory_use: dict[str, dict[str, int]] = {}
    for pace in read_paces(conn):
        if pace.memory:
            memory_use.setdefault(pace.runner_key, {})[pace.host] = pace.memory
    return memory_use


def _speed(
    lately: Collection[Answered], now: datetime, *, host: str | None = None, model: str | None = None
) -> tuple[float, float]:
    """Jobs and tokens per second of one host, or with one model."""
    rows = [
        row for row in lately if (host is None or row.host == host) and (model is None or row.model == model)
    ]
    if not rows:
        return 0.0, 0.0
    ago = max((now - row.first_at).total_seconds() + row.seconds for row in rows)
    seconds = min(max(ago, 1.0), LATELY.total_seconds())
    return sum(row.jobs for row in rows) / seconds, sum(row.output_tokens for row in rows) / seconds
