"""What a job is, and the states that it may be in."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from worker.domain.answers import ANY_ANSWER, AnswerFilter


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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Part:
    """An answer that another job's prompt is made of."""

    custom_id: str
    answer: str | None
    parsed: Any
    metadata: Mapping[str, Any]


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
    """``seq`` of the first job of the batch that begins like this one (0: of this one); equal groups follow each other."""
    estimate: int = 0
    """Tokens that it is expected to take, prompt and answer."""
    expires: bool = False
    """It ends unasked where it has not been started by its deadline."""
    reuse: bool = False
    """It may take the stored answer of a job that asked the same."""
    after: After | None = None
    """It is stored as ``waiting``."""

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


def asked_digest(job: NewJob) -> bytes:
    """16 bytes that tell one question from another: what a host is asked, and of which model.

    Metadata, priority and deadline are not part of it: changing them asks nothing new.
    """
    asked = hashlib.blake2b(digest_size=16)
    asked.update(f"{job.model}\0{job.prompt}\0".encode("utf-8", "surrogatepass"))
    if job.request:
        asked.update(json.dumps(job.request, sort_keys=True).encode())
    if job.after is not None:
        asked.update(repr((job.after.parents, job.after.carry, job.after.release)).encode())
    return asked.digest()


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


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant: every condition that is given has to hold. A batch or jobs have to be named."""

    batch_id: int | None = None
    job_ids: frozenset[int] | None = None
    states: frozenset[JobState] | None = None
    codes: frozenset[str] | None = None
    """Of the failure, or of what they are held for."""
    models: frozenset[str] | None = None
    """Normalised names."""
    custom_ids: frozenset[str] | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Key and value, as text."""
    answers: AnswerFilter = ANY_ANSWER
    """Of what is wrong with the stored answer."""

    def __post_init__(self) -> None:
        if self.batch_id is None and self.job_ids is None:
            raise ValueError("a filter needs a batch or jobs")

    @property
    def whole_batch(self) -> bool:
        """Nothing but the batch is asked for."""
        given = (self.job_ids, self.states, self.codes, self.models, self.custom_ids)
        return not self.metadata and not self.answers and all(one is None for one in given)

    @property
    def stored(self) -> dict[str, Any]:
        """As plain JSON, without what it leaves open.

        >>> JobFilter(7, states=frozenset({JobState.FAILED})).stored
        {'batch_id': 7, 'states': ['failed']}
        """
        values: dict[str, Any] = {"batch_id": self.batch_id}
        for name in _LISTS:
            given = getattr(self, name)
            values[name] = None if given is None else sorted(given)
        values["metadata"] = [list(pair) for pair in self.metadata] or None
        values["answers"] = self.answers.stored or None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> "JobFilter":
        """What ``stored`` gave. Raises KeyError, TypeError or ValueError for something that this version does not know.

        >>> JobFilter.parse({"batch_id": 7, "states": ["failed"]}) == JobFilter(7, states=frozenset({JobState.FAILED}))
        True
        """
        values = dict(stored)
        chosen = cls(
            batch_id=values.pop("batch_id", None),
            metadata=tuple((str(key), str(value)) for key, value in values.pop("metadata", ())),
            answers=AnswerFilter.parse(values.pop("answers", {})),
            **{
                name: frozenset(_LISTS[name](item) for item in values.pop(name))
                for name in _LISTS
                if name in values
            },
        )
        if values:
            raise ValueError(f"unknown conditions: {', '.join(sorted(values))}")
        return chosen

    def among(self, states: Iterable[JobState]) -> "JobFilter":
        """The same jobs, those in one of ``states`` alone."""
        wanted = frozenset(states)
        return replace(self, states=wanted if self.states is None else wanted & self.states)


_LISTS: Mapping[str, Callable[[Any], Any]] = {
    "job_ids": int,
    "states": JobState,
    "codes": str,
    "models": str,
    "custom_ids": str,
}
"""Conditions of a filter that are lists, and what they hold."""
