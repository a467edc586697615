"""What a batch is, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.jobs import FINAL, JobState


class BatchState(StrEnum):
    """Where a batch stands."""

    RECEIVING = "receiving"
    OPEN = "open"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs submitted together and reported together."""

    id: int
    key: str
    """Idempotency key: the same key is the same batch, for ever."""
    name: str
    state: BatchState
    source: str | None
    created_at: datetime
    sealed_at: datetime | None
    finished_at: datetime | None
    jobs: int
    """Jobs accepted into it."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch and its jobs by state."""

    batch: Batch
    counts: Mapping[JobState, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(n for state, n in self.counts.items() if state in FINAL)

    @property
    def open(self) -> int:
        """Jobs that can still change by themselves: neither final nor held."""
        return self.total - self.done - self.counts.get(JobState.HELD, 0)
