"""What became of the documents of one firing: which failed, which answers somebody should look at, what is held."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, case, func, or_, select
from sqlalchemy.engine import Connection

from worker.domain.answers import AnswerCounts
from worker.domain.schedules import Firing
from worker.records import record
from worker.storage.tables import batches, jobs, results
from worker.storage.tables.schedules import firings, schedule_answers, schedule_documents, schedules

_d = schedule_documents.c
_NO_ANSWER = ("failed", "cancelled", "expired")


@record
class FailedDocument:
    """A document and model without an answer, and why."""

    document: str
    model: str
    code: str
    message: str
    known: bool
    """It failed with the same code when it was tried before."""
    read: bool
    """It could be read, and a model was asked."""

    @property
    def plain(self) -> dict[str, Any]:
        return {
            "document": self.document,
            "model": self.model if self.read else None,
            "code": self.code,
            "message": self.message,
            "known": self.known,
        }


def failed_documents(conn: Connection, firing: Firing, *, limit: int) -> list[FailedDocument]:
    """Some of the documents that failed in this firing: those that failed for the first time, then the others, by name."""
    code, known, rows = _failures(firing)
    query = rows.add_columns(
        _d.custom_id,
        _d.model,
        code.label("code"),
        case((_d.change == "failed", _d.error_message), else_=results.c.error_message).label("message"),
        known.label("known"),
        (_d.change != "failed").label("read"),
    )
    ordered = query.order_by(known, _d.custom_id, _d.model).limit(limit)
    return [
        FailedDocument(
            row.custom_id,
            row.model,
            row.code,
            row.message or f"the job was {row.code}",
            bool(row.known),
            bool(row.read),
        )
        for row in conn.execute(ordered)
    ]


def failure_counts(conn: Connection, firing: Firing) -> tuple[dict[str, int], int]:
    """Code → documents times models that failed in this firing, and how many of them all failed so before."""
    code, known, rows = _failures(firing)
    query = rows.add_columns(code.label("code"), func.count().label("n"), func.sum(case((known, 1), else_=0)))
    codes: dict[str, int] = {}
    before = 0
    for name, n, of_before in conn.execute(query.group_by(code)):
        codes[name] = int(n)
        before += int(of_before)
    return codes, before


def _failures(firing: Firing) -> tuple[Any, Any, Select[Any]]:
    """The code of a failed document, whether it is known, and the query that finds those of a firing.

    ``error_at`` says since when a document fails with its code. It does so before the firing is settled, and after.
    """
    code = case(
        (_d.change == "failed", _d.error_code), else_=func.coalesce(results.c.error_code, jobs.c.state)
    )
    began = firing.began_at or firing.fire_at
    known = func.coalesce(and_(_d.error_code == code, _d.error_at < began), False)
    of_firing = and_(
        jobs.c.id == _d.asked_job, _d.asked_batch == firing.batch_id, jobs.c.state.in_(_NO_ANSWER)
    )
    query = (
        select()
        .select_from(
            schedule_documents.outerjoin(jobs, of_firing).outerjoin(
                results, and_(results.c.job_id == jobs.c.id, results.c.state == "failed")
            )
        )
        .where(
            _d.schedule_id == firing.schedule_id,
            _d.firing_id == firing.id,
            or_(_d.change == "failed", jobs.c.id.is_not(None)),
        )
    )
    return code, known, query


def flawed_answers(conn: Connection, batch_id: int, *, limit: int) -> list[dict[str, Any]]:
    """Some of the answers of a batch that are cut, empty, or given to a part of the prompt; parts of documents too."""
    query = (
        select(results.c.custom_id, results.c.model, results.c.cut, results.c.empty, results.c.prompt_fit)
        .where(results.c.batch_id == batch_id, results.c.state == "succeeded", flawed(results.c))
        .order_by(results.c.job_id)
        .limit(limit)
    )
    return [
        {
            "document": row.custom_id,
            "model": row.model,
            "cut": bool(row.cut),
            "empty": bool(row.empty),
            "prompt_fit": row.prompt_fit,
        }
        for row in conn.execute(query)
    ]


def flawed(columns: Any) -> Any:
    """Whether an answer is one that somebody should look at."""
    return or_(
        func.coalesce(columns.cut, False),
        func.coalesce(columns.empty, False),
        func.coalesce(columns.prompt_fit == "no", False),
    )


def reused_answers(conn: Connection, firing: Firing) -> tuple[AnswerCounts, list[int]]:
    """Answers that a firing did not ask for again although they are flawed, and the batches that gave them."""
    a = schedule_answers.c
    query = (
        select(_d.asked_batch, a.cut, a.empty, a.prompt_fit, func.count().label("n"))
        .select_from(
            schedule_documents.join(
                schedule_answers,
                and_(a.schedule_id == _d.schedule_id, a.custom_id == _d.custom_id, a.model == _d.model),
            )
        )
        .where(
            _d.schedule_id == firing.schedule_id,
            _d.firing_id == firing.id,
            _d.change == "reused",
            flawed(a),
        )
        .group_by(_d.asked_batch, a.cut, a.empty, a.prompt_fit)
        .order_by(_d.asked_batch)
    )
    counts, batches = AnswerCounts(), []
    for row in conn.execute(query):
        counts += AnswerCounts(
            row.n if row.cut else 0, row.n if row.empty else 0, row.n if row.prompt_fit == "no" else 0
        )
        if row.asked_batch is not None and row.asked_batch not in batches:
            batches.append(row.asked_batch)
    return counts, batches


@record
class HeldDocuments:
    """Documents whose jobs are held, by batch, model and reason."""

    batch_id: int
    code: str
    reason: str
    model: str
    documents: int
    """Times models."""

    @property
    def plain(self) -> dict[str, Any]:
        return {
            "batch": self.batch_id,
            "code": self.code,
            "reason": self.reason,
            "model": self.model,
            "documents": self.documents,
        }


def held_documents(conn: Connection, schedule_id: int) -> list[HeldDocuments]:
    """What is held of the jobs that a schedule asked last for its documents."""
    query = (
        select(_d.asked_batch, jobs.c.hold_code, jobs.c.hold_reason, jobs.c.model, func.count().label("n"))
        .select_from(schedule_documents.join(jobs, jobs.c.id == _d.asked_job))
        .where(_d.schedule_id == schedule_id, jobs.c.state == "held", _d.asked_batch.is_not(None))
        .group_by(_d.asked_batch, jobs.c.hold_code, jobs.c.hold_reason, jobs.c.model)
        .order_by(_d.asked_batch, jobs.c.model)
    )
    return [
        HeldDocuments(row.asked_batch, row.hold_code or "held", row.hold_reason or "", row.model, row.n)
        for row in conn.execute(query)
    ]


def count_reuse(conn: Connection, firing: Firing) -> int:
    """Documents of a firing whose answers were stored before, so that no host was asked."""
    return int(
        conn.scalar(
            select(func.count())
            .select_from(schedule_documents.join(results, results.c.job_id == _d.asked_job))
            .where(
                _d.schedule_id == firing.schedule_id,
                _d.asked_batch == firing.batch_id,
                results.c.reused_from.is_not(None),
            )
        )
        or 0
    )


_LOOKED_BACK = timedelta(days=60)


def reopened_schedules(conn: Connection, *, since: datetime) -> list[str]:
    """Schedules of which the batch of an ended firing ended once more after it, and after ``since``."""
    query = (
        select(schedules.c.name)
        .distinct()
        .select_from(
            firings.join(batches, batches.c.id == firings.c.batch_id).join(
                schedules, schedules.c.id == firings.c.schedule_id
            )
        )
        .where(
            firings.c.fire_at > since - _LOOKED_BACK,
            batches.c.finished_at > since,
            batches.c.finished_at > firings.c.ended_at,
        )
        .order_by(schedules.c.name)
    )
    return list(conn.scalars(query))
