"""Decides which operation on a model a host does next, and what follows from one that failed."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.model_operations import BESIDE_JOBS, ModelPart, PartState

MOST_TRIES = 8
"""Tries in a row that bring nothing."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds between two tries; they double with each."""


def is_due(part: ModelPart, *, now: datetime, closed: bool) -> bool:
    """Whether it may be done now; ``closed``: the host is outside of its hours."""
    return (part.next_at is None or part.next_at <= now) and (not closed or part.at_any_time)


def next_errand(parts: Sequence[ModelPart], *, now: datetime, closed: bool) -> ModelPart | None:
    """The part that goes on beside the jobs, of these in the order of their decisions. A model that an earlier part
    touches is left to that one."""
    taken: set[str] = set()
    for part in parts:
        if part.verb in BESIDE_JOBS and not part.names & taken and is_due(part, now=now, closed=closed):
            return part
        taken |= part.names
    return None


def between_jobs(
    parts: Sequence[ModelPart], *, now: datetime, closed: bool, busy: Collection[str] = ()
) -> list[ModelPart]:
    """The parts that are done between two jobs; ``busy`` are the models that an errand under way touches."""
    touched, steps = set(busy), []
    for part in parts:
        if part.verb not in BESIDE_JOBS and not part.names & touched and is_due(part, now=now, closed=closed):
            steps.append(part)
        touched |= part.names
    return steps


def after_failure(
    part: ModelPart, why: str, *, final: bool, away: bool, moved: bool, now: datetime
) -> ModelPart:
    """The part after a try that failed. ``final``: trying again brings nothing; ``away``: the host did not answer, which
    counts against nothing; ``moved``: some of it came."""
    tries = part.tries if away else 1 if moved else part.tries + 1
    if final or tries > MOST_TRIES:
        return replace(part, state=PartState.FAILED, error=why, tries=tries, next_at=None)
    pause = min(FIRST_PAUSE * 2 ** max(0, tries - 1), LONGEST_PAUSE)
    at = now + timedelta(seconds=pause)
    return replace(part, state=PartState.WAITING, error=why, tries=tries, next_at=at)
