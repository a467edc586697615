"""What is shown of a batch, a job, a host, a schedule, an operation and of how things stand: one shape each, whoever shows it.

``batch`` and ``job`` are numbers everywhere, and times are in UTC with a Z.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter


class Shown(BaseModel):
    """A shape that is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OperationShown(Shown):
    """What was decided about many jobs of a batch, and how far its rows have followed."""

    verb: str
    total: int
    done: int
    principal: str | None
    created_at: datetime
    error: str | None


class BatchShown(Shown):
    """A batch, and its jobs by state."""

    batch: int
    key: str
    name: str
    state: str
    pause_code: str | None
    pause_reason: str | None
    total: int
    done: int
    counts: dict[str, int]
    created_at: datetime
    finished_at: datetime | None
    pruned_at: datetime | None
    operation: OperationShown | None


class FailureShown(Shown):
    """Jobs that failed alike, and what the first of them failed of."""

    code: str
    jobs: int
    message: str


class WindowShown(Shown):
    """The hours in which jobs may start."""

    hours: str
    open: bool


class BatchStatusShown(BatchShown):
    """A batch alone: its answers that somebody should look at (``cut``, ``empty``, ``unfit``), and what went wrong."""

    answers: dict[str, int]
    problems: list[str]
    failures: list[FailureShown]
    window: WindowShown | None


class SubmittedShown(BatchShown):
    """A batch as it was submitted. ``created``: it is new; ``served``: somebody takes it up by itself."""

    created: bool
    served: bool


class RunShown(BatchShown):
    """A batch after a run. ``ended``: why the run did; ``database``: where the batch is."""

    answers: dict[str, int]
    seconds: float
    loads: int
    load_seconds: float
    ended: str
    reasons: list[str]
    database: str


class JobShown(Shown):
    """A job of a list."""

    batch: int
    job: int
    custom_id: str
    model: str
    state: str
    host: str | None
    attempts: int
    code: str | None
    message: str | None


class HostShown(Shown):
    """A host, as it was last looked at."""

    name: str
    url: str
    slots: int
    auto_slots: bool
    shared: bool
    models_at_once: int
    memory: int | None
    access: dict[str, Any] | None
    draining: bool
    window: str | None
    opens_at: datetime | None
    health: str
    health_reason: str | None
    quarantined_until: datetime | None
    version: str | None
    resident: str | None
    residents: list[str]
    loading: str | None
    serving: bool
    models: list[str]
    last_seen_at: datetime | None
    error: str | None


class HostChangeShown(HostShown):
    """A host that was added, or changed. ``start``: the command that serves it, where that is to be given."""

    added: bool
    start: str | None


class LoadedModelShown(Shown):
    """A model that a host has loaded, with the window it really has."""

    name: str
    digest: str
    context_length: int | None
    size: int
    size_vram: int
    expires_at: datetime | None


class HostLoadedShown(HostShown):
    """A host and what it has loaded now. ``reached``: it said so itself; else ``error`` says why not."""

    reached: bool
    loaded: list[LoadedModelShown]


class HostRunShown(Shown):
    """A model in the memory of a host, from its load on."""

    runner_key: str
    reason: str
    started_at: datetime
    ended_at: datetime | None
    load_seconds: float | None
    jobs: int
    error: str | None


class AttemptShown(Shown):
    """One try of a job on one host."""

    attempt: int
    host: str
    started_at: datetime | None
    ended_at: datetime
    outcome: str
    charged: bool
    error_code: str | None
    error_message: str | None
    partial: str | None


class ExplainedShown(Shown):
    """What a job or a batch (``job`` is null) waits for, in sentences."""

    batch: int
    job: int | None
    custom_id: str | None
    state: str
    sentences: list[str]
    attempts: list[AttemptShown]


class HitShown(Shown):
    """A job that a search hit, and where."""

    batch: int
    batch_name: str
    job: int
    custom_id: str
    model: str
    state: str
    finished_at: datetime | None
    field: str
    snippet: str


class HitsShown(Shown):
    """What a search hit. ``more``: there are more than --limit; ``behind``: results that are not searched yet."""

    hits: list[HitShown]
    more: bool
    behind: int


class HostModelShown(Shown):
    """A model as one host has it."""

    host: str
    digest: str
    size: int
    loaded: bool


class FleetModelShown(Shown):
    """A model as the hosts that have it tell. ``drift``: its name stands for different weights or settings on them."""

    model: str
    drift: bool
    digest: str | None
    size: int
    quantization: str | None
    parameters: str | None
    context_length: int | None
    capabilities: list[str]
    hosts: list[HostModelShown]


class ModelPartShown(Shown):
    """What an operation does with one model on one host."""

    operation: int
    verb: str
    host: str
    model: str
    state: str
    step: str
    completed: int
    total: int
    tries: int
    next_at: datetime | None
    error: str | None
    digest: str | None
    changed_at: datetime | None


class ModelOperationShown(Shown):
    """An operation on models, and how far each host has come."""

    operation: int
    verb: str
    state: str
    source: str | None
    total: int
    done: int
    principal: str | None
    created_at: datetime
    ended_at: datetime | None
    parts: list[ModelPartShown]


class ScheduleShown(Shown):
    """A schedule, and when it fires next."""

    name: str
    version: int
    spec: dict[str, JsonValue]
    roots: list[str]
    next_at: datetime | None
    paused: bool
    paused_reason: str | None


class ModelShown(Shown):
    """The jobs of one model that are there, by state."""

    model: str
    counts: dict[str, int]


class SituationShown(Shown):
    """How things stand with a batch, or with all work."""

    at: datetime
    batch: BatchShown | None
    counts: dict[str, int]
    models: list[ModelShown]
    hosts: list[HostShown]
    failures: dict[str, int]
    tokens_per_second: float
    next_retry_at: datetime | None
    model_parts: list[ModelPartShown]
    reasons: list[str]


class QuotedSecondsShown(Shown):
    """Seconds, between two bounds."""

    low: float
    expected: float
    high: float


class QuotedTimesShown(Shown):
    """A time, between two bounds."""

    low: datetime
    expected: datetime
    high: datetime


class QuotedRunnerShown(Shown):
    """What a host is expected to do with one runner."""

    runner_key: str
    jobs: int
    load_seconds: float
    seconds: float


class QuotedHostShown(Shown):
    """What a host is expected to do."""

    host: str
    loads: int
    jobs: int
    busy_seconds: float
    runners: list[QuotedRunnerShown]


class QuoteShown(Shown):
    """What jobs are expected to take. ``jobs_before`` have a higher priority, ``jobs_beside`` the same."""

    at: datetime
    jobs: int
    sampled: int
    jobs_before: int
    jobs_beside: int
    loads: int
    seconds: QuotedSecondsShown
    done_at: QuotedTimesShown
    deadline: datetime | None
    in_time: bool | None
    guessed: list[str]
    unplaced: list[str]
    advice: str | None
    hosts: list[QuotedHostShown]


class FiguresShown(Shown):
    """A line of a report. ``key``: what it stands for; shares are numbers from 0 to 1."""

    key: str
    results: int
    succeeded: int
    failed: int
    cut: int
    empty: int
    unfit: int
    prompt_tokens: int
    output_tokens: int
    eval_seconds: float
    busy_seconds: float
    loading_seconds: float
    loads: int
    idle_seconds: float | None
    kwh: float | None
    tokens_per_second: float | None
    load_share: float | None
    idle_share: float | None
    cost: float | None


class ReportShown(Shown):
    """What the work came to. ``batch_lines`` and ``schedules`` are rows of the views ``report_batches`` and
    ``report_schedules``."""

    at: datetime
    by: str
    batches: list[int]
    since: datetime | None
    until: datetime | None
    lines: list[FiguresShown]
    total: FiguresShown
    failures: dict[str, int]
    hosts_without_watts: list[str]
    batch_lines: list[dict[str, Any]]
    schedules: list[dict[str, Any]]


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def plain(value: Any) -> Any:
    """A value for JSON: of shapes and dataclasses their fields, of times ISO 8601 in UTC with a Z.

    >>> plain({"at": datetime(2026, 12, 1, 8, tzinfo=UTC), "done": {2, 1}})
    {'at': '2026-12-01T08:00:00Z', 'done': [1, 2]}
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    return _ANY.dump_python(value, mode="json")
