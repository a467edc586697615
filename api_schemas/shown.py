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
    slots_told: bool
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
