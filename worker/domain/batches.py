"""What a batch is, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.jobs import FINAL, JobState
from worker.domain.numbers import count_of
from worker.domain.operations import Operation, Verb
from worker.records import record


class BatchState(StrEnum):
    """Where a batch stands."""

    RECEIVING = "receiving"
    OPEN = "open"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    REFUSED = "refused"


SETTLED = frozenset({BatchState.FINISHED, BatchState.CANCELLED, BatchState.REFUSED})
"""States in which nothing more comes of a batch by itself."""


@record
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
    pause_code: str | None = None
    """Why it is paused, where it paused by itself."""
    pause_reason: str | None = None
    """The same in a sentence for people; where somebody paused it, that."""
    pruned_at: datetime | None = None
    """When the last of its jobs was gone; what they were counted as is still known."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its submission by their names there: ``deadline``, ``max_failures``, ``fail_on_cut``."""

    @property
    def deadline(self) -> datetime | None:
        """When all of it is wanted, where somebody said."""
        return self.terms.get("deadline")


@record
class BatchOrigin:
    """Where a batch comes from, and when it has to stop by itself."""

    lineage: str | None = None
    """Equal for batches that ask the same input again as it changes: a hash of its name or path."""
    recipe: Mapping[str, Any] | None = None
    """What was said once for all rows, as plain values."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """As a batch has them."""
    keep_seconds: int | None = None
    """How long it is kept once it has ended; 0: for ever; None: as is set for all."""
    parent: int | None = None
    """The batch whose rows it asks again."""
    schedule: str | None = None
    """The schedule that it is a firing of."""
    windows: Mapping[str, Any] | None = None
    """The hours in which its jobs may begin, as ``worker.policy.windows`` stores them."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch and its jobs by state."""

    batch: Batch
    counts: Mapping[JobState, int]
    in_vain: int = 0
    """Jobs that wait for held ones."""
    outside: int = 0
    """Held jobs that lie outside of the ``--limit`` or ``--sample`` of the last command."""
    claimed: int = 0
    """Jobs among those that run of which a host has the claim and that it does not answer yet."""
    operation: Operation | None = None
    """What somebody decided about many of its jobs, while the rows still follow."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(n for state, n in self.counts.items() if state in FINAL)

    @property
    def open(self) -> int:
        """Jobs that can still change by themselves: neither final nor held, nor waiting for held ones."""
        return self.total - self.done - self.counts.get(JobState.HELD, 0) - self.in_vain

    @property
    def stands(self) -> str:
        """The batch's state for people: how far it has come where its rows still follow.

        >>> from datetime import UTC, datetime
        >>> now = datetime(2026, 1, 5, tzinfo=UTC)
        >>> batch = Batch(1, "k", "n", BatchState.CANCELLED, None, now, now, now, 1_000_000)
        >>> BatchProgress(batch, {JobState.CANCELLED: 340_000, JobState.QUEUED: 660_000}).stands
        'cancelling 340,000 of 1,000,000'
        """
        if self.operation is not None and self.operation.verb is Verb.DELETE and self.operation.stops:
            return self.operation.progress
        if self.batch.state is BatchState.CANCELLED and self.done < self.total:
            return f"cancelling {self.done:,} of {self.total:,}"
        if self.batch.state is BatchState.REFUSED and self.total:
            return f"refused, dropping {count_of(self.total, 'line')}"
        if self.operation is None:
            return str(self.batch.state)
        if self.operation.verb in (Verb.PAUSE, Verb.RESUME):
            return self.operation.progress
        return f"{self.batch.state}, {self.operation.progress}"


@record
class Forgiven:
    """Outcomes that a batch's brakes do not look at any more, since somebody let it go on after them."""

    failed: int = 0
    outcomes: int = 0
    """Successes and failures."""

    @property
    def stored(self) -> str | None:
        """As it stands in ``pause_code`` while the batch is not paused; None for nothing.

        >>> Forgiven(24, 30).stored, Forgiven().stored
        ('resumed:24/30', None)
        """
        return f"resumed:{self.failed}/{self.outcomes}" if self.outcomes else None

    @classmethod
    def parse(cls, stored: str | None) -> "Forgiven":
        """What ``stored`` gave; nothing where it is the code of a pause.

        >>> Forgiven.parse("resumed:24/30"), Forgiven.parse("same_failure")
        (Forgiven(failed=24, outcomes=30), Forgiven(failed=0, outcomes=0))
        """
        if stored is None or not stored.startswith("resumed:"):
            return cls()
        failed, outcomes = stored.removeprefix("resumed:").split("/")
        return cls(int(failed), int(outcomes))


@record
class Tally:
    """What a batch's brakes go by."""

    state: BatchState
    failed: int
    succeeded: int
    forgiven: Forgiven = Forgiven()
    max_failures: str | None = None

    @property
    def failed_since(self) -> int:
        """Failures that nobody forgave."""
        return max(0, self.failed - self.forgiven.failed)

    @property
    def outcomes_since(self) -> int:
        return max(0, self.failed + self.succeeded - self.forgiven.outcomes)
