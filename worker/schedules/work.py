"""The chores of schedules, by anyone: read what is due, end what is over."""

from worker.clock import Clock
from worker.domain.schedules import Firing, FiringState
from worker.errors import PassIncomplete
from worker.maintenance.service import collecting, each
from worker.records import record
from worker.schedules.fire import fire
from worker.schedules.late import settle_late
from worker.schedules.open import begin_queued
from worker.schedules.reading import Reading, read_documents
from worker.schedules.roots import answer_questions
from worker.schedules.settle import settle_all
from worker.storage.engine import Database
from worker.storage.firings import open_firings


@record
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

    Costs three small queries where there is none. Raises DatabaseUnavailable; PassIncomplete in the end, for firings at
    which it failed.
    """
    answer_questions(database, clock=clock)
    failures: list[str] = []
    collecting(failures, lambda: settle_late(database, clock=clock))
    with database.read() as conn:
        if not open_firings(conn):
            if failures:
                raise PassIncomplete(failures)
            return Worked()
    finished = collecting(failures, lambda: settle_all(database, clock=clock))
    begin_queued(database)
    with database.read() as conn:
        due = [
            firing for firing in open_firings(conn) if firing.state in (FiringState.DUE, FiringState.READING)
        ]

    def begin(firing: Firing) -> int:
        begun = fire(database, firing.id, clock=clock, reading=reading, max_attempts=max_attempts)
        return int(begun is not None)

    fired = collecting(failures, lambda: each(due, begin, name=lambda firing: f"schedule {firing.schedule}"))
    if fired:  # one that asked nothing is over
        finished += collecting(failures, lambda: settle_all(database, clock=clock))
    if failures:
        raise PassIncomplete(failures)
    return Worked(fired, finished)
