"""Facts about an installation → what is wrong with it, and what helps. No I/O: a table of cases tests it."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from pathlib import Path

from worker.domain.backlog import Waiting
from worker.domain.health import DEFECT_RETENTION, DEFECTS, Finding, HealthLimits, Kind, Pulse
from worker.domain.hosts import Health
from worker.domain.model_operations import ModelPart
from worker.domain.numbers import count_of
from worker.errors import UnreadableRow
from worker.records import record

LATE = 5
"""A process that says it works every so many seconds is missed after five times as long."""
REST_LATE = 1.2
"""One that had nothing to do is missed a little after it was to say so again."""
HOST_PATIENCE = timedelta(minutes=2)
"""A host may be away for as long as a restart takes."""
CLAIM_PATIENCE = timedelta(minutes=15)
"""Work that a host could do waits so long while the host does nothing, longer than any load takes."""
SPOOL_PATIENCE = timedelta(minutes=10)
MODEL_PATIENCE = timedelta(days=1)
"""A failed operation on a model is a finding for so long."""
FIRING_PATIENCE = timedelta(minutes=15)
"""A firing that nobody has begun for so long was missed, or whoever reads its documents is gone."""

_FLEET = (
    ("beat", Kind.BEAT, "caravan beat", "start it, or look at its log"),
    ("tick", Kind.CONTROL, "the tick of caravan control", "look at control, at beat and at Redis, which bring it its work"),
    ("chores", Kind.CONTROL, "the chores of caravan control", "look at control, at beat and at Redis"),
)  # fmt: skip


@record
class HostStatus:
    """A host that was added for good."""

    name: str
    health: Health
    reason: str | None = None
    since: datetime | None = None
    """Since when it is unreachable."""
    until: datetime | None = None
    """Until when it is in quarantine."""
    serving: bool = False
    """A worker holds its serving lease."""
    busy: bool = False
    """It runs a job or loads a model."""
    last_claim_at: datetime | None = None
    work_since: datetime | None = None
    """When the oldest work that it could do became eligible; None where there is none."""


@record
class Disk:
    """A file system that something of ours lies on."""

    path: Path
    free: int
    """Bytes."""


@record
class SpoolFile:
    """A spool file with answers that are not stored yet."""

    path: Path
    since: datetime
    rejected: bool = False
    """They cannot be stored for a reason of their own, and nobody tries again by itself."""


@record
class Unfired:
    """A schedule whose time has come, and nothing of that firing has been asked yet."""

    name: str
    since: datetime


@record
class FailedNight:
    """A schedule whose last firing failed."""

    name: str
    fire_at: datetime
    reason: str


@record
class HealthFacts:
    """What was seen of an installation at one moment."""

    now: datetime
    fleet: bool
    """It works through a broker, with beat and control; else everything is one process."""
    held: bool = False
    """A process of this machine holds CARAVAN_HOME."""
    fault: Finding | None = None
    """Why nothing could be read from the database."""
    ended: bool = False
    """``caravan up`` worked in this home of this machine, which no process holds any more."""
    pulses: Mapping[str, Pulse] = field(default_factory=dict)
    hosts: tuple[HostStatus, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    held_jobs: int = 0
    unfired: tuple[Unfired, ...] = ()
    failed_nights: tuple[FailedNight, ...] = ()
    failed_models: tuple[ModelPart, ...] = ()
    """What was last done with a model on a host within ``MODEL_PATIENCE``, and failed."""
    disks: tuple[Disk, ...] = ()
    spools: tuple[SpoolFile, ...] = ()
    unreadable: tuple[UnreadableRow, ...] = ()
    """Rows that are passed over."""


def findings(facts: HealthFacts, limits: HealthLimits) -> list[Finding]:
    """What is wrong, the gravest first; notes at the end."""
    problems = [*_disks(facts, limits), *_spools(facts)]
    if facts.fault is not None:
        problems.insert(0, facts.fault)
    else:
        problems[:0] = [
            *_processes(facts),
            *_hosts(facts),
            *_models(facts),
            *_schedules(facts),
            *_jobs(facts, limits),
        ]
        problems[:0] = [*_services(facts), *_defects(facts), *_unreadable(facts)]
    return sorted(problems, key=lambda problem: not problem.bad)


def _processes(facts: HealthFacts) -> Iterator[Finding]:
    if not facts.fleet:
        yield from _up(facts)
        return
    for name, kind, who, remedy in _FLEET:
        pulse = facts.pulses.get(name)
        if pulse is None:
            yield Finding(kind, name, f"{who}: not seen on this database yet", remedy)
        elif _missed(pulse, facts):
            yield Finding(kind, name, f"{who}: last seen {_ago(facts.now - pulse.at)} ago", remedy)


def _up(facts: HealthFacts) -> Iterator[Finding]:
    pulse = facts.pulses.get("up")
    if pulse is not None:
        if facts.ended or _missed(pulse, facts):
            message = f"caravan up: last seen {_ago(facts.now - pulse.at)} ago"
            yield Finding(Kind.SERVING, "up", message, "start it again: caravan up")
        return
    if facts.held or any(host.serving for host in facts.hosts):
        return
    jobs = sum(waiting.jobs for waiting in facts.waiting)
    if jobs:
        message = f"{count_of(jobs, 'job waits', 'jobs wait')}, and nobody serves"
        yield Finding(Kind.SERVING, "nobody", message, "caravan up, or give the same caravan run again")


def _services(facts: HealthFacts) -> Iterator[Finding]:
    """Periodic services that fail, as the processes that run them say with their pulses."""
    for pulse in facts.pulses.values():
        failing = pulse.detail.get("failing")
        if isinstance(failing, Mapping) and not _missed(pulse, facts):
            for service, error in sorted(failing.items()):
                message = f"the service {service} of {pulse.name} fails: {error}"
                remedy = "look at the log of that process; the other services go on"
                yield Finding(Kind.SERVICES, f"{pulse.name}.{service}", message, remedy)


def _defects(facts: HealthFacts) -> Iterator[Finding]:
    """Defects that ended a pass over a host; it is served again, and what it had generated is stored."""
    for name, pulse in sorted(facts.pulses.items()):
        if not name.startswith(DEFECTS) or facts.now - pulse.at >= DEFECT_RETENTION:
            continue
        host = name.removeprefix(DEFECTS)
        count = pulse.detail.get("count", 1)
        times = "once" if count == 1 else f"{count:,} times within a day"
        message = f"serving {host} failed {times}, last {_ago(facts.now - pulse.at)} ago: {pulse.detail.get('error')}"
        yield Finding(
            Kind.SERVING,
            f"defects.{host}",
            message,
            "a defect of Caravan: report it with the log of that process",
        )


def _unreadable(facts: HealthFacts) -> Iterator[Finding]:
    for row in facts.unreadable:
        message = f"row {row.key} of table {row.table} cannot be read here, and is passed over: {row.reason}"
        remedy = (
            "install the version that wrote it, or the time zone data (tzdata) that it names; or set it again"
        )
        yield Finding(Kind.DATABASE, f"{row.table}.{row.key}", message, remedy)


def _schedules(facts: HealthFacts) -> Iterator[Finding]:
    for unfired in facts.unfired:
        if facts.now - unfired.since >= FIRING_PATIENCE:
            message = f"schedule {unfired.name}: was to fire {_ago(facts.now - unfired.since)} ago, and nothing is asked yet"
            remedy = f"caravan up, or look at control and beat; then: caravan schedule history {unfired.name}"
            yield Finding(Kind.SCHEDULES, unfired.name, message, remedy)

    for night in facts.failed_nights:
        message = f"schedule {night.name}: its last firing ({night.fire_at:%Y-%m-%d %H:%M} UTC) failed: {night.reason}"
        yield Finding(Kind.SCHEDULES, night.name, message, f"caravan schedule show {night.name}")


def _missed(pulse: Pulse, facts: HealthFacts) -> bool:
    every, rests = pulse.detail.get("every"), pulse.detail.get("rests")
    late = timedelta(seconds=LATE * (every if isinstance(every, int | float) else 60.0))
    if facts.now - pulse.at <= late or not isinstance(rests, int | float):
        return facts.now - pulse.at > late
    if any(pulse.at < waiting.oldest_at < facts.now - late for waiting in facts.waiting):
        return True  # work came, and it did not see it
    return facts.now - pulse.at > timedelta(seconds=REST_LATE * rests)


def _hosts(facts: HealthFacts) -> Iterator[Finding]:
    for host in facts.hosts:
        reason = host.reason or "no reason is known"
        match host.health:
            case Health.UNREACHABLE:
                if host.since is None or facts.now - host.since >= HOST_PATIENCE:
                    since = "" if host.since is None else f" for {_ago(facts.now - host.since)}"
                    message = f"{host.name} cannot be reached{since}: {reason}"
                    yield Finding(Kind.HOSTS, host.name, message, f"caravan hosts check {host.name}")
            case Health.QUARANTINED:
                message = f"{host.name} answers and does not generate: {reason}"
                remedy = f"restart its Ollama, then caravan hosts resume {host.name}"
                yield Finding(Kind.HOSTS, host.name, message, remedy)
            case Health.SLOW:
                yield Finding(
                    Kind.HOSTS,
                    host.name,
                    f"{host.name} is slow: {reason}",
                    f"look at its GPU: caravan hosts ps, caravan hosts check {host.name}",
                )
                yield from _idle(facts, host)
            case Health.READY:
                yield from _idle(facts, host)
            case Health.DRAINING | Health.CLOSED:
                pass


def _models(facts: HealthFacts) -> Iterator[Finding]:
    """What failed of ``caravan models``: bad where jobs wait for the model, else a note."""
    needed = {waiting.model for waiting in facts.waiting}
    for part in facts.failed_models:
        ended = "" if part.changed_at is None else f" {_ago(facts.now - part.changed_at)} ago"
        message = (
            f"{part.verb} of {part.model} on {part.host} failed{ended}: {part.error or 'no reason is known'}"
        )
        remedy = f"caravan models operations {part.operation_id} has the details; give the command again"
        about = f"{part.host}.{part.model}"
        yield Finding(Kind.HOSTS, about, message, remedy, bad=part.model in needed)


def _idle(facts: HealthFacts, host: HostStatus) -> Iterator[Finding]:
    """Liveness by work: a process may be up and take nothing."""
    if host.busy or host.work_since is None or not (facts.fleet or "up" in facts.pulses):
        return  # one that a single run serves has that run's batch only
    since = max(host.work_since, host.last_claim_at or host.work_since)
    if facts.now - since < CLAIM_PATIENCE:
        return
    message = f"{host.name} has work and has taken none for {_ago(facts.now - since)}"
    if host.serving:
        yield Finding(
            Kind.HOSTS,
            host.name,
            message,
            f"look at the log of its worker: caravan hosts history {host.name}",
        )
    elif facts.fleet:
        yield Finding(
            Kind.HOSTS, host.name, f"{message}; no worker serves it", f"caravan worker --host {host.name}"
        )
    else:
        yield Finding(Kind.HOSTS, host.name, message, "look at the log of caravan up, or start it again")


def _jobs(facts: HealthFacts, limits: HealthLimits) -> Iterator[Finding]:
    there = any(host.health in (Health.READY, Health.SLOW) for host in facts.hosts)
    if limits.oldest_job is not None and there and facts.waiting:
        oldest = min(facts.waiting, key=lambda waiting: waiting.oldest_at)
        if facts.now - oldest.oldest_at > limits.oldest_job:
            message = f"a job of {oldest.model} waits for {_ago(facts.now - oldest.oldest_at)}"
            yield Finding(
                Kind.JOBS,
                "oldest",
                message,
                "caravan explain @last says what it waits for; more hosts, or a larger CARAVAN_OLDEST_JOB_HOURS",
            )
    if facts.held_jobs:
        message = f"{count_of(facts.held_jobs, 'job is', 'jobs are')} held"
        yield Finding(Kind.JOBS, "held", message, "caravan jobs BATCH --state held says why", bad=False)


def _disks(facts: HealthFacts, limits: HealthLimits) -> Iterator[Finding]:
    for disk in facts.disks:
        if disk.free < limits.disk_free:
            message = (
                f"{disk.path} has {disk.free / 1e6:,.0f} MB left, less than {limits.disk_free / 1e6:,.0f}"
            )
            yield Finding(
                Kind.DISK, str(disk.path), message, "make room; answers that cannot be kept are lost"
            )


def _spools(facts: HealthFacts) -> Iterator[Finding]:
    for spool in facts.spools:
        if spool.rejected:
            message = f"{spool.path} holds answers that the database does not take"
            remedy = "report the error that stands in the log; caravan db retry-spool stores them once it is mended"
            yield Finding(Kind.SPOOL, f"{spool.path.parent.name}/{spool.path.name}", message, remedy)
        elif facts.now - spool.since > SPOOL_PATIENCE:
            text = f"{spool.path} holds answers that wait to be stored for {_ago(facts.now - spool.since)}"
            remedy = "start what serves that host on this machine: it stores them first of all"
            yield Finding(Kind.SPOOL, spool.path.name, text, remedy)


def _ago(span: timedelta) -> str:
    """
    >>> _ago(timedelta(seconds=95)), _ago(timedelta(hours=3, minutes=5)), _ago(timedelta(days=3))
    ('95 s', '3 h 5 min', '3 d 0 h')
    """
    seconds = max(0, int(span.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds} s"
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
