"""Rows of a schedule for tests of what reads them."""

from datetime import datetime

from worker.domain.schedules import FiringState, ScheduleSpec
from worker.storage.engine import Database
from worker.storage.firings import open_firing
from worker.storage.schedule_documents import Noted, note_changes, note_documents
from worker.storage.schedules import add_schedule, get_schedule


def fill_nights(database: Database, *, now: datetime, model: str = "qwen3:8b") -> None:
    """A schedule that fired once and found a new document and one that it cannot read."""
    with database.write() as conn:
        add_schedule(conn, "nightly", ScheduleSpec("0 2 * * *"), next_at=now, now=now)
        schedule = get_schedule(conn, "nightly")
        firing = open_firing(conn, schedule, now, state=FiringState.FINISHED, now=now)
        assert firing is not None
        noted = [
            Noted("a.txt", model, "/in/a.txt", "new", sha256="0" * 64, fingerprint=b"0" * 16),
            Noted("b.pdf", model, "/in/b.pdf", "failed", error_code="encrypted", error_message="a password"),
        ]
        note_documents(conn, schedule.id, firing.id, noted, existing=(), now=now)
        note_changes(conn, firing.id, noted)
