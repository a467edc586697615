"""The answers of a schedule's documents: copied from the jobs of its firings, and kept when these are pruned."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal, or_, select, text, tuple_, update
from sqlalchemy.engine import Connection

from worker.records import from_row, record
from worker.storage.picking import in_batch
from worker.storage.schedule_documents import Key, failing_since
from worker.storage.tables import jobs, payloads, results
from worker.storage.tables.schedules import schedule_answers, schedule_documents
from worker.storage.types import UtcTime

_d = schedule_documents.c
PAGE = 1000
"""Results that are settled at once."""
ANSWERS = 200
"""Answers that are listed at once: they are long."""


def late_answers(conn: Connection, schedule_id: int) -> list[int]:
    """Batches of whose jobs some were answered, and were not when their firing ended: ``caravan retry``."""
    query = (
        select(_d.asked_batch)
        .distinct()
        .select_from(schedule_documents.join(results, results.c.job_id == _d.asked_job))
        .where(
            _d.schedule_id == schedule_id,
            results.c.state == "succeeded",
            or_(_d.answered_job.is_(None), _d.answered_job != _d.asked_job),
            _d.asked_batch.is_not(None),
        )
        .order_by(_d.asked_batch)
    )
    return [batch for batch in conn.scalars(query) if batch is not None]


def settle_documents(conn: Connection, schedule_id: int, batch_id: int, *, after: int = 0) -> int | None:
    """Copy the results of some jobs of a batch into the documents: answers, and why there is none.

    Returns the last job of them, to go on from; None: there are no more. Idempotent.
    """
    page = conn.execute(
        select(
            jobs.c.id,
            jobs.c.state,
            jobs.c.finished_at,
            jobs.c.custom_id,
            jobs.c.model,
            results.c.digest,
            results.c.error_code,
            results.c.error_message,
        )
        .select_from(jobs.outerjoin(results, results.c.job_id == jobs.c.id))
        .where(in_batch(batch_id, jobs.c.id), jobs.c.id > after)
        .order_by(jobs.c.id)
        .limit(PAGE)
    ).all()
    here = and_(
        _d.schedule_id == schedule_id,
        _d.custom_id == bindparam("of_id"),
        _d.model == bindparam("of_model"),
        _d.asked_job == bindparam("of_job"),
    )
    answered = [_answer(row) for row in page if row.state == "succeeded"]
    failed = [_failure(row) for row in page if row.state in ("failed", "cancelled", "expired")]
    if answered:
        conn.execute(
            update(schedule_documents)
            .where(here)
            .values(
                answered_job=_d.asked_job,
                answered=_d.fingerprint,
                answered_at=bindparam("at", type_=UtcTime),
                digest=bindparam("of_digest"),
                error_code=None,
                error_message=None,
                error_at=None,
            ),
            answered,
        )
        _keep_answers(conn, schedule_id, [row["of_job"] for row in answered])
    if failed:
        conn.execute(
            update(schedule_documents)
            .where(here)
            .values(
                error_code=bindparam("code"),
                error_message=bindparam("message"),
                error_at=failing_since("code", "at"),
            ),
            failed,
        )
    return page[-1].id if len(page) == PAGE else None


def _keep_answers(conn: Connection, schedule_id: int, job_ids: Sequence[int]) -> None:
    """A copy of answers that outlives their jobs: what does not change is not asked again when they are pruned."""
    of_jobs = and_(_d.schedule_id == schedule_id, _d.answered_job.in_(job_ids))
    names = ("schedule_id", "custom_id", "model")
    conn.execute(
        delete(schedule_answers).where(
            schedule_answers.c.schedule_id == schedule_id,
            tuple_(schedule_answers.c.custom_id, schedule_answers.c.model).in_(
                select(_d.custom_id, _d.model).where(of_jobs)
            ),
        )
    )
    conn.execute(
        insert(schedule_answers).from_select(
            (*names, "job_id", *_COPIED, "metadata"),
            select(
                *(_d[name] for name in names),
                results.c.job_id,
                *(results.c[name] for name in _COPIED),
                payloads.c.metadata,
            )
            .select_from(
                schedule_documents.join(results, results.c.job_id == _d.answered_job).outerjoin(
                    payloads, payloads.c.job_id == results.c.job_id
                )
            )
            .where(of_jobs),
        )
    )


_COPIED = ("answer", "reasoning", "parsed", "prompt_tokens", "output_tokens", "cut", "empty", "prompt_fit")
"""Of a result, in ``schedule_answers``."""


_RENEW = text(
    f"UPDATE schedule_answers SET ({', '.join(_COPIED)}) = "
    f"(SELECT {', '.join(f'r.{name}' for name in _COPIED)} FROM results r WHERE r.job_id = schedule_answers.job_id) "
    "WHERE job_id IN :ids"
).bindparams(bindparam("ids", expanding=True))


_RENEWED = text(
    "UPDATE schedule_documents SET (answered_at, digest) = "
    "(SELECT r.finished_at, r.digest FROM results r WHERE r.job_id = schedule_documents.answered_job) "
    "WHERE answered_job IN :ids"
).bindparams(bindparam("ids", expanding=True))


def renew_answers(conn: Connection, job_ids: Sequence[int]) -> None:
    """These jobs have new answers in place of old ones: the copies of those are brought up to date."""
    for statement in (_RENEW, _RENEWED):
        conn.execute(statement, {"ids": list(job_ids)})


def answer_digests(conn: Connection, batch_id: int) -> dict[str, dict[str, int]]:
    """Model → weights → answers of a batch."""
    query = (
        select(results.c.model, results.c.digest, func.count())
        .where(
            results.c.batch_id == batch_id,
            results.c.state == "succeeded",
            results.c.digest.is_not(None),
            results.c.reused_from.is_(None),
        )
        .group_by(results.c.model, results.c.digest)
    )
    by_model: dict[str, dict[str, int]] = {}
    for model, digest, n in conn.execute(query):
        by_model.setdefault(model, {})[digest] = n
    return by_model


def unanswer(conn: Connection, job_ids: Sequence[int]) -> None:
    """Forget the copies of these answers, which somebody deletes; the next firing asks what is still there again."""
    conn.execute(delete(schedule_answers).where(schedule_answers.c.job_id.in_(job_ids)))
    conn.execute(
        update(schedule_documents)
        .where(_d.answered_job.in_(job_ids))
        .values(answered_job=None, answered=None, answered_at=None, digest=None)
    )


def _answer(row: Any) -> dict[str, Any]:
    return {**_place(row), "at": row.finished_at, "of_digest": row.digest}


def _failure(row: Any) -> dict[str, Any]:
    return {
        **_place(row),
        "at": row.finished_at,
        "code": row.error_code or row.state,
        "message": row.error_message or f"the job was {row.state}",
    }


def _place(row: Any) -> dict[str, Any]:
    return {"of_id": row.custom_id, "of_model": row.model, "of_job": row.id}


@record
class Answered:
    """The latest answer of a document and model, for a file."""

    job_id: int
    custom_id: str
    path: str
    model: str
    answer: str
    reasoning: str | None
    parsed: Any
    metadata: Mapping[str, Any]
    sha256: str | None
    finished_at: datetime
    prompt_tokens: int | None
    output_tokens: int | None
    cut: bool
    empty: bool
    prompt_fit: str | None


def list_answers(conn: Connection, schedule_id: int, *, after: Key | None = None) -> Iterator[Answered]:
    """Some of the latest answers of the documents that are there, by custom_id and model."""
    a = schedule_answers.c
    same = and_(*(a[name] == _d[name] for name in ("schedule_id", "custom_id", "model")))
    query = (
        select(schedule_answers, _d.path, _d.sha256, _d.answered_at)
        .select_from(schedule_answers.join(schedule_documents, same))
        .where(a.schedule_id == schedule_id, _d.gone_at.is_(None), _d.answered_at.is_not(None))
        .order_by(a.custom_id, a.model)
        .limit(ANSWERS)
    )
    if after is not None:
        query = query.where(tuple_(a.custom_id, a.model) > tuple_(*(literal(part) for part in after)))
    for row in conn.execute(query):
        metadata = row.metadata or {}
        yield from_row(
            Answered,
            row,
            metadata=metadata,
            sha256=metadata.get("sha256") or row.sha256,
            finished_at=row.answered_at,
            cut=bool(row.cut),
            empty=bool(row.empty),
        )
