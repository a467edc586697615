"""Answers that came after their firing had ended, since somebody retried or resumed: into the documents and the files."""

from datetime import timedelta
from functools import partial

from worker.clock import Clock
from worker.domain.schedules import Schedule
from worker.maintenance.service import each
from worker.schedules.answers import write_answers
from worker.storage.engine import Database
from worker.storage.firing_documents import reopened_schedules
from worker.storage.schedule_answers import late_answers, settle_documents
from worker.storage.schedules import get_schedule

RECENT = timedelta(hours=1)
"""Batches that ended within it are looked at; the next firing takes over what ended while nobody served."""


def take_late_answers(database: Database, schedule: Schedule) -> int:
    """Take answers that no firing has taken over into the documents; returns of how many batches. Idempotent."""
    with database.read() as conn:
        late = late_answers(conn, schedule.id)
    for batch_id in late:
        after: int | None = 0
        while after is not None:
            after = database.transact(
                partial(settle_documents, schedule_id=schedule.id, batch_id=batch_id, after=after)
            )
    return len(late)


def settle_late(database: Database, *, clock: Clock) -> int:
    """Bring documents and files in step with batches that ended once more just now; returns how many schedules changed."""
    with database.read() as conn:
        names = reopened_schedules(conn, since=clock.now() - RECENT)
    return each(names, lambda name: _settle(database, name), name=lambda name: f"schedule {name}")


def _settle(database: Database, name: str) -> int:
    with database.read() as conn:
        schedule = get_schedule(conn, name)
    if not take_late_answers(database, schedule):
        return 0
    write_answers(database, schedule)
    return 1
