"""What a job is, and which state may follow which."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any


class Priority(IntEnum):
    """How urgent a job is; lower goes first."""

    INTERACTIVE = 0
    HIGH = 1
    NORMAL = 2
    BULK = 3


class JobState(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    """Not yet eligible: back-off of a retry, paused batch, or an upload that is not sealed."""
    WAITING = "waiting"
    """A parent job has not finished."""
    QUEUED = "queued"
    """Eligible now. Only these rows are in the claim index."""
    RUNNING = "running"
    """Claimed, under a lease."""
    HELD = "held"
    """Parked with a reason, until an operator lets it go."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

TRANSITIONS: Mapping[tuple[JobState, str], JobState] = {
    (JobState.SCHEDULED, "promote"): JobState.QUEUED,
    (JobState.SCHEDULED, "cancel"): JobState.CANCELLED,
    (JobState.SCHEDULED, "expire"): JobState.EXPIRED,
    (JobState.SCHEDULED, "finish"): JobState.SUCCEEDED,
    (JobState.WAITING, "promote"): JobState.QUEUED,
    (JobState.WAITING, "cancel"): JobState.CANCELLED,
    (JobState.QUEUED, "claim"): JobState.RUNNING,
    (JobState.QUEUED, "hold"): JobState.HELD,
    (JobState.QUEUED, "cancel"): JobState.CANCELLED,
    (JobState.QUEUED, "expire"): JobState.EXPIRED,
    (JobState.QUEUED, "finish"): JobState.SUCCEEDED,
    (JobState.RUNNING, "finish"): JobState.SUCCEEDED,
    (JobState.RUNNING, "fail"): JobState.FAILED,
    (JobState.RUNNING, "retry"): JobState.SCHEDULED,
    (JobState.RUNNING, "release"): JobState.QUEUED,
    (JobState.RUNNING, "rescue"): JobState.SCHEDULED,
    (JobState.RUNNING, "hold"): JobState.HELD,
    (JobState.RUNNING, "cancel"): JobState.CANCELLED,
    (JobState.HELD, "unhold"): JobState.QUEUED,
    (JobState.HELD, "cancel"): JobState.CANCELLED,
    (JobState.HELD, "expire"): JobState.EXPIRED,
}
"""(state, verb) → next state. ``docs/job_lifecycle.md`` draws this table and a test compares the two.

``finish`` from queued or scheduled is the late finish: the job was rescued from exactly this attempt and nobody
has claimed it since, so the text that its host did generate is kept.
"""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be inserted. ``seq`` is its place in the input, from 1; its id is made of batch and seq."""

    seq: int
    custom_id: str
    model: str
    runner_key: str
    priority: Priority
    prompt: str
    request: Mapping[str, Any]
    """All other generate fields the producer gave (system, options, format, think, …)."""
    metadata: Mapping[str, Any] | None = None
    deadline: datetime | None = None
    max_attempts: int = 3
    prefix_group: int = 0
    """Hash of what the prompt shares with its neighbours (system, template); equal groups follow each other."""
    estimate: int = 0
    """Estimated prompt tokens."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job in a worker's hands, until its lease ends."""

    id: int
    batch_id: int
    custom_id: str
    model: str
    runner_key: str
    priority: Priority
    attempt: int
    """Only grows; half of the fence."""
    charged: int
    max_attempts: int
    token: str
    """The lease token; the other half of the fence."""
    prompt: str
    request: Mapping[str, Any]
    deadline: datetime | None = None
    losses: int = 0
    """Attempts that ended with the death or silence of a worker, host or runner."""
