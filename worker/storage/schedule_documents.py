"""What each schedule has seen of its documents, and what each firing found that was not as before."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

from worker.domain.schedules import (
    ScheduleDocument,
)
from worker.records import from_row, record
from worker.storage.firing_documents import flawed
from worker.storage.picking import in_batch
from worker.storage.tables import jobs, payloads, results
from worker.storage.tables.schedules import schedule_answers, schedule_documents
from worker.storage.types import UtcTime, storable

_d = schedule_documents.c
Key = tuple[str, str]
"""custom_id and model."""


@record
class Noted:
    """What a firing found of a document and model, to be remembered."""

    custom_id: str
    model: str
    path: str
    change: str
    sha256: str | None = None
    fingerprint: bytes | None = None
    asked_batch: int | None = None
    asked_job: int | None = None
    error_code: str | None = None
    error_message: str | None = None


def list_documents(conn: Connection, schedule_id: int) -> dict[Key, ScheduleDocument]:
    """All of a schedule, gone ones too. What was answered since its firing is counted as answered already."""
    fresh = and_(results.c.job_id == _d.asked_job, results.c.state == "succeeded")
    kept = and_(*(schedule_answers.c[name] == _d[name] for name in ("schedule_id", "custom_id", "model")))
    query = (
        select(
            schedule_documents,
            results.c.job_id.label("fresh_job"),
            results.c.digest.label("fresh_digest"),
            flawed(results.c).label("fresh_flawed"),
            flawed(schedule_answers.c).label("flawed"),
            (jobs.c.id.is_not(None) & jobs.c.finished_at.is_(None)).label("pending"),
        )
        .select_from(
            schedule_documents.outerjoin(results, fresh)
            .outerjoin(jobs, jobs.c.id == _d.asked_job)
            .outerjoin(schedule_answers, kept)
        )
        .where(_d.schedule_id == schedule_id)
    )
    return {(row.custom_id, row.model): _document(row) for row in conn.execute(query)}


def _document(row: Any) -> ScheduleDocument:
    answered = row.fresh_job is not None
    return from_row(
        ScheduleDocument,
        row,
        answered_job=row.fresh_job if answered else row.answered_job,
        answered=row.fingerprint if answered else row.answered,
        digest=row.fresh_digest if answered else row.digest,
        gone=row.gone_at is not None,
        flawed=bool(row.fresh_flawed if answered else row.flawed),
        pending=bool(row.pending),
    )


def note_documents(
    conn: Connection,
    schedule_id: int,
    firing_id: int,
    noted: Sequence[Noted],
    *,
    existing: Collection[Key],
    now: datetime,
) -> None:
    """Remember what a firing found. What is asked again keeps its latest answer until there is a newer one."""
    new = [document for document in noted if (document.custom_id, document.model) not in existing]
    old = [document for document in noted if (document.custom_id, document.model) in existing]
    if new:
        conn.execute(
            insert(schedule_documents),
            [
                {
                    "schedule_id": schedule_id,
                    "custom_id": document.custom_id,
                    "model": document.model,
                    "first_seen_at": now,
                    **_values(document, firing_id, now),
                }
                for document in new
            ],
        )
    again: list[Noted] = []
    to_ask: list[Noted] = []
    failed: list[Noted] = []
    rest: list[Noted] = []
    for document in old:
        if document.asked_job is not None:
            (again if document.change == "retried" else to_ask).append(document)
        else:
            (failed if document.error_code is not None else rest).append(document)
    job, text = ("asked_batch", "asked_job"), ("sha256", "fingerprint")
    error = ("error_code", "error_message", "error_at")
    _update(conn, schedule_id, firing_id, now, again, (*text, *job))
    _update(conn, schedule_id, firing_id, now, to_ask, (*text, *job, *error))
    _update(conn, schedule_id, firing_id, now, failed, error)
    _update(conn, schedule_id, firing_id, now, rest, (*text, *error))


def _values(noted: Noted, firing_id: int, now: datetime) -> dict[str, Any]:
    return {
        "path": storable(noted.path),
        "sha256": noted.sha256,
        "fingerprint": noted.fingerprint,
        "firing_id": firing_id,
        "change": noted.change,
        "asked_batch": noted.asked_batch,
        "asked_job": noted.asked_job,
        "last_seen_at": now,
        "gone_at": None,
        "error_code": noted.error_code,
        "error_message": None if noted.error_message is None else storable(noted.error_message)[:2000],
        "error_at": None if noted.error_code is None else now,
    }


def _update(
    conn: Connection,
    schedule_id: int,
    firing_id: int,
    now: datetime,
    noted: Sequence[Noted],
    columns: Sequence[str],
) -> None:
    if not noted:
        return
    names = ("path", "firing_id", "change", "last_seen_at", "gone_at", *columns)
    statement = (
        update(schedule_documents)
        .where(
            _d.schedule_id == schedule_id,
            _d.custom_id == bindparam("of_id"),
            _d.model == bindparam("of_model"),
        )
        .values(
            {
                name: failing_since("new_error_code", "new_error_at")
                if name == "error_at"
                else bindparam(f"new_{name}", type_=_d[name].type)
                for name in names
            }
        )
    )
    conn.execute(
        statement,
        [
            {
                "of_id": document.custom_id,
                "of_model": document.model,
                **{f"new_{name}": _values(document, firing_id, now)[name] for name in names},
            }
            for document in noted
        ],
    )


def failing_since(code: str, at: str) -> Any:
    """Since when a document fails with its code; parameters hold the code and the time that it fails with now."""
    return case(
        (
            _d.error_code == bindparam(code, type_=_d.error_code.type),
            func.coalesce(_d.error_at, bindparam(at, type_=UtcTime)),
        ),
        else_=bindparam(at, type_=UtcTime),
    )


def note_gone(
    conn: Connection,
    schedule_id: int,
    firing_id: int,
    gone: Sequence[Key],
    *,
    now: datetime,
    change: str = "gone",
) -> None:
    """Documents that are not there any more, or whose model is not asked any more; what is known of them stays."""
    if not gone:
        return
    conn.execute(
        update(schedule_documents)
        .where(
            _d.schedule_id == schedule_id,
            _d.custom_id == bindparam("of_id"),
            _d.model == bindparam("of_model"),
        )
        .values(firing_id=firing_id, change=change, gone_at=func.coalesce(_d.gone_at, literal(now, UtcTime))),
        [{"of_id": custom_id, "of_model": model} for custom_id, model in gone],
    )


@record
class FiringJob:
    """A job of a firing's batch."""

    job_id: int
    sha256: str | None
    """Of the document as it was when the job was made."""


def jobs_of_firing(conn: Connection, batch_id: int) -> dict[Key, FiringJob]:
    """The jobs of a firing's batch by custom_id and model."""
    query = (
        select(jobs.c.id, jobs.c.custom_id, jobs.c.model, payloads.c.metadata)
        .join(payloads, payloads.c.job_id == jobs.c.id)
        .where(in_batch(batch_id, jobs.c.id))
    )
    return {
        (row.custom_id, row.model): FiringJob(row.id, (row.metadata or {}).get("sha256"))
        for row in conn.execute(query)
    }


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
