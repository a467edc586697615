"""The chores of schedules, by anyone: read what is due, end what is over."""

from dataclasses import dataclass

from worker.clock import Clock
from worker.domain.schedules import FiringState
from worker.services.schedules.fire import fire
from worker.services.schedules.open import begin_queued
from worker.services.schedules.reading import Reading, read_documents
from worker.services.schedules.roots import answer_questions
from worker.services.schedules.settle import settle_all
from worker.storage.engine import Database
from worker.storage.schedules import open_firings


@dataclass(frozen=True, slots=True)
class Worked:
    """What one pass did."""

    fired: int = 0
    finished: int = 0


def work_firings(
    database: Database,
    *,
    clock: Clock,
    reading: Reading = read_documents,
    max_attempts: int = 3,
) -> Worked:
    """Settle firings whose batches are over, then begin those that are due, one after another.

    Costs two small queries where there is none. Raises DatabaseUnavailable.
    """
    answer_questions(database, clock=clock)
    with database.read() as conn:
        if not open_firings(conn):
            return Worked()
    finished = settle_all(database, clock=clock)
    begin_queued(database)
    fired = 0
    with database.read() as conn:
        due = [one for one in open_firings(conn) if one.state in (FiringState.DUE, FiringState.READING)]
    for one in due:
        begun = fire(database, one.id, clock=clock, reading=reading, max_attempts=max_attempts)
        fired += begun is not None
    if fired:
        finished += settle_all(database, clock=clock)  # one that asked nothing is over
    return Worked(fired, finished)
