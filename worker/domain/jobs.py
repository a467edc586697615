"""What a job is, and the states that it may be in."""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from worker.domain.request_texts import digest, request_texts
from worker.records import record


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


@record
class After:
    """The jobs that a job waits for."""

    parents: tuple[str | int, ...]
    """By custom_id those of its own batch, by number any."""
    carry: bool = False
    """It goes on from the context of its one parent."""
    release: bool = False
    """It is asked although a parent has no answer."""
    combines: bool = False
    """Its prompt is made of their answers, which are for nothing else."""


@record
class Part:
    """An answer that another job's prompt is made of."""

    custom_id: str
    answer: str | None
    parsed: Any
    metadata: Mapping[str, Any]


class NewJob(NamedTuple):
    """A job about to be inserted. ``seq`` is its place in the input, from 1; its id is made of batch and seq."""

    seq: int
    custom_id: str
    model: str
    runner_key: str
    priority: Priority
    prompt: str
    """The readable text of what is asked."""
    request: Mapping[str, Any]
    """All other fields of the request that the producer gave (system, options, format, think, …)."""
    metadata: Mapping[str, Any] | None = None
    deadline: datetime | None = None
    max_attempts: int = 3
    prefix_group: int = 0
    """``seq`` of the first job of the batch that begins like this one (0: of this one); equal groups follow each other."""
    estimate: int = 0
    """Tokens that it is expected to take, prompt and answer."""
    expires: bool = False
    """It ends unasked where it has not been started by its deadline."""
    reuse: bool = False
    """It may take the stored answer of a job that asked the same."""
    after: After | None = None
    """It is stored as ``waiting``."""
    kind: str = "generate"
    """What is asked of a host: a name in ``worker.kinds.registry``."""

    @property
    def first_state(self) -> JobState:
        return JobState.SCHEDULED if self.after is None else JobState.WAITING

    @property
    def carries(self) -> bool:
        return self.after is not None and self.after.carry

    @property
    def depends(self) -> bool:
        """What it asks is not known before others are answered."""
        return self.after is not None and (self.after.carry or self.after.combines)


def request_digest(job: NewJob) -> bytes:
    """16 bytes that tell one question from another: what a host is asked, and of which model.

    Metadata, priority and deadline are not part of it: changing them asks nothing new.
    """
    kind = "" if job.kind == "generate" else f"{job.kind}\0"
    after = "" if job.after is None else repr((job.after.parents, job.after.carry, job.after.release))
    return digest(f"{kind}{job.model}\0{job.prompt}\0{request_texts(job.request).canonical}{after}")


@record
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
    prefix_group: int = 0
    """Equal for jobs that begin alike: one after another on a slot, they find their prefix in the host's cache."""
    estimate: int = 0
    """Tokens that it is expected to take, prompt and answer."""
    widened: bool = False
    """It was too long for its first window and has a larger one since."""
    reuse_key: bytes | None = None
    """What it asks, where it may take the stored answer of a job that asked the same."""
    carries: bool = False
    """Its request has the context of the job that it follows."""
    parts: tuple[Part, ...] = ()
    """What ``prompt``, a template then, is made of."""
    fail_on_cut: bool = False
    """An answer that is cut is a failure."""
    kind: str = "generate"
