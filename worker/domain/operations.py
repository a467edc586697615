"""An operation: what was decided about many jobs of a batch, and how far its rows have followed."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.domain.selection import Selection
from worker.records import record


class Verb(StrEnum):
    """What happens to the jobs."""

    CANCEL = "cancel"
    DELETE = "delete"
    REFUSE = "refuse"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SET = "set"
    """Their priority."""


STOPPING = frozenset({Verb.CANCEL, Verb.DELETE, Verb.REFUSE, Verb.PAUSE})
"""What keeps a batch from starting jobs from the moment of the decision, where it is about all of them."""

_WORDS: Mapping[Verb, str] = {
    Verb.CANCEL: "cancelling",
    Verb.DELETE: "deleting",
    Verb.REFUSE: "dropping",
    Verb.PAUSE: "pausing",
    Verb.RESUME: "resuming",
    Verb.RETRY: "retrying",
    Verb.SET: "setting the priority of",
}


@record
class Operation:
    """A decision about jobs of one batch; the rows follow in chunks, whoever takes the next step."""

    id: int
    """0: it is not stored."""
    batch_id: int
    verb: Verb
    total: int
    """Jobs that it is about, as they were counted when it was decided."""
    created_at: datetime
    done: int = 0
    running: int = 0
    """Running jobs that were asked to stop."""
    position: int = 0
    """The id of the last job that was looked at."""
    selection: Selection | None = None
    """Which jobs of the batch; None: all."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """``options`` of a retry, ``priority`` of a set; what a delete has to come back to."""
    principal: str | None = None
    """Who decided it, where that is known."""
    ended_at: datetime | None = None
    error: str | None = None
    """Why the last step failed, where it did; by what it was superseded."""

    @property
    def chosen(self) -> Selection:
        """The jobs that it is about."""
        return Selection(self.batch_id) if self.selection is None else self.selection

    @property
    def stops(self) -> bool:
        """Whether its batch starts nothing until it has ended."""
        return self.selection is None and self.verb in STOPPING

    def means_the_same(self, other: "Operation") -> bool:
        """Whether it does what is wanted, however far it has come."""
        return (self.verb, self.selection) == (other.verb, other.selection) and all(
            self.arguments.get(name) == value for name, value in other.arguments.items()
        )

    @property
    def progress(self) -> str:
        """How far it has come, for people.

        >>> from datetime import UTC, datetime
        >>> Operation(1, 7, Verb.RETRY, 1_000_000, datetime(2026, 1, 1, tzinfo=UTC), done=340_000).progress
        'retrying 340,000 of 1,000,000'
        """
        return f"{_WORDS[self.verb]} {self.done:,} of {max(self.total, self.done):,}"
