"""What each firing found that was not as before: why its jobs were submitted, what was gone, what could not be read."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.storage.schedule_documents import Noted
from worker.storage.types import storable

_AS_BEFORE = frozenset({"reused", "pending"})
_NOTE = text(
    "INSERT INTO firing_changes (firing_id, custom_id, model, path, change, batch_id, job_id, error_code) "
    "VALUES (:firing, :custom_id, :model, :path, :change, :batch, :job, :code) "
    "ON CONFLICT (firing_id, custom_id, model) DO UPDATE SET path = excluded.path, change = excluded.change, "
    "batch_id = excluded.batch_id, job_id = excluded.job_id, error_code = excluded.error_code"
)


def note_changes(conn: Connection, firing_id: int, noted: Sequence[Noted]) -> None:
    """Remember the documents that are new, changed, tried again, gone or not readable. Idempotent."""
    rows = [
        {
            "firing": firing_id,
            "custom_id": document.custom_id,
            "model": document.model,
            "path": storable(document.path),
            "change": document.change,
            "batch": document.asked_batch,
            "job": document.asked_job,
            "code": document.error_code,
        }
        for document in noted
        if document.change not in _AS_BEFORE
    ]
    if rows:
        conn.execute(_NOTE, rows)
