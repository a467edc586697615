"""An operation: what was decided about all jobs of a batch, and how far its rows have followed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What happens to the jobs."""

    CANCEL = "cancel"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Operation:
    """A decision that holds at once; the rows of its batch follow in chunks, whoever takes the next step."""

    id: int
    batch_id: int
    verb: Verb
    total: int
    """Jobs that it is about, as they were counted when it was decided."""
    done: int
    running: int
    """Jobs that run and were told to stop."""
    position: int
    """The id of the last job that was looked at."""
    created_at: datetime
    ended_at: datetime | None = None
    error: str | None = None
    """Why the last step failed, where it did."""
