"""What a selection says in SQL: of jobs, of their answers, or of results, in the same words on both databases."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum

from sqlalchemy import ColumnElement, Text, and_, case, cast, exists, func, literal, null, or_, select, true
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from worker.domain.answers import AnswerFilter
from worker.domain.jobs import FINAL, JobState
from worker.domain.selection import Selection
from worker.storage.picking import in_batch
from worker.storage.tables import follows, jobs, payloads, results

MOST_IDS = 10_000
"""Job ids that a query is given; of more, rows are picked as they are read."""


class Reading(Enum):
    """What the conditions of a selection are about."""

    JOBS = "jobs"
    """The jobs as they are now: of an action."""
    ANSWERS = "answers"
    """The jobs, each with the answer that it has: one that is asked again still has its old answer. Of an export."""
    RESULTS = "results"
    """The stored results alone: of who reads them as they come."""


class metadata_text(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """The value of a key of the metadata as text: the same for ``true``, 7 and 0.5 on both databases."""

    type = Text()
    inherit_cache = True


@compiles(metadata_text)
def _postgres(element: metadata_text, compiler: object, **more: object) -> str:
    key, _ = element.clauses
    return compiler.process(cast(payloads.c.metadata.op("->>")(key), Text), **more)  # type: ignore[attr-defined, no-any-return]


@compiles(metadata_text, "sqlite")
def _sqlite(element: metadata_text, compiler: object, **more: object) -> str:
    """SQLite's ``->>`` makes 1 of true; ``->`` gives the JSON itself, which is what PostgreSQL's ``->>`` shows of
    anything but a text."""
    _, path = element.clauses
    metadata = payloads.c.metadata
    kind = func.json_type(metadata, path)
    text = cast(metadata.op("->>")(path), Text)
    shown = case((kind == "text", text), (kind == "null", null()), else_=cast(metadata.op("->")(path), Text))
    return compiler.process(shown, **more)  # type: ignore[attr-defined, no-any-return]


def metadata_is(key: str, value: str) -> ColumnElement[bool]:
    """Whether the metadata has this value, as text, under ``key``."""
    return metadata_text(literal(key), literal(f'$."{key}"')) == value


def metadata_missing(conn: Connection, batch_id: int | None, key: str) -> list[str] | None:
    """None where a job has metadata of this name, or there is no job; else the names that the first job has."""
    there = select(payloads.c.metadata).join_from(payloads, jobs, payloads.c.job_id == jobs.c.id).limit(1)
    if batch_id is not None:
        there = there.where(in_batch(batch_id))
    first = conn.execute(there.order_by(jobs.c.id)).first()
    named = there.where(metadata_text(literal(key), literal(f'$."{key}"')).is_not(None))
    if first is None or conn.execute(named).first() is not None:
        return None
    return sorted(first.metadata or ())


def answer_terms(answers: AnswerFilter) -> list[ColumnElement[bool]]:
    """The conditions on ``results`` that ``answers`` says."""
    r = results.c
    terms: list[ColumnElement[bool]] = []
    if answers.cut:
        terms.append(r.cut.is_(True))
    if answers.empty:
        terms.append(r.empty.is_(True))
    if answers.fits:
        terms.append(r.prompt_fit.in_(sorted(answers.fits)))
    return terms


def has_answer(*terms: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a job has a result for which ``terms`` hold. Of a job that has not ended it is the answer from before."""
    return exists(select(results.c.job_id).where(results.c.job_id == jobs.c.id, *terms).correlate(jobs))


def _ended_at() -> ColumnElement[datetime]:
    before = select(results.c.finished_at).where(results.c.job_id == jobs.c.id).correlate(jobs)
    return func.coalesce(jobs.c.finished_at, before.scalar_subquery())


def matching(selection: Selection) -> ColumnElement[bool]:
    """The condition on ``jobs`` that an action's selection says. Raises ValueError for one that is not bounded."""
    batch = true() if selection.batch_id is None else in_batch(selection.batch_id)
    return and_(batch, *conditions(selection.bounded(), Reading.JOBS))


def conditions(selection: Selection, reading: Reading) -> list[ColumnElement[bool]]:
    """What ``selection`` says, all but the batch: of JOBS about ``jobs`` alone, else of rows that hold a job, its payload
    and its result, where it has one."""
    terms: list[ColumnElement[bool]] = []
    if selection.job_ids is not None and (reading is Reading.JOBS or len(selection.job_ids) <= MOST_IDS):
        terms.append(jobs.c.id.in_(sorted(selection.job_ids)))
    if selection.models is not None:
        terms.append(jobs.c.model.in_(sorted(selection.models)))
    if selection.custom_ids is not None:
        terms.append(jobs.c.custom_id.in_(sorted(selection.custom_ids)))
    if selection.states is not None:
        terms.append(_state_is(selection.states, reading))
    if selection.codes is not None:
        terms.append(_code_is(sorted(selection.codes), reading))
    ended_at: ColumnElement[datetime] = results.c.finished_at if reading is Reading.RESULTS else _ended_at()
    if selection.since is not None:
        terms.append(ended_at >= selection.since)
    if selection.until is not None:
        terms.append(ended_at < selection.until)
    if selection.answers:
        answers = answer_terms(selection.answers)
        terms += answers if reading is Reading.RESULTS else [has_answer(*answers)]
    if reading is Reading.ANSWERS and not selection.parts:
        part = select(follows.c.job_id).where(follows.c.parent_id == jobs.c.id, follows.c.combines)
        terms.append(~exists(part.correlate(jobs)))
    metadata = [metadata_is(key, value) for key, value in sorted(selection.metadata)]
    if metadata and reading is Reading.JOBS:
        metadata = [exists().where(payloads.c.job_id == jobs.c.id, *metadata)]
    return [*terms, *metadata]


def _state_is(states: Collection[JobState], reading: Reading) -> ColumnElement[bool]:
    if reading is not Reading.ANSWERS:
        state = jobs.c.state if reading is Reading.JOBS else results.c.state
        return state.in_(sorted(str(one) for one in states))
    # a job that is asked again, and whose old answer is still there, counts as ``succeeded``
    final, still = sorted(FINAL & set(states)), sorted(set(states) - FINAL)
    terms: list[ColumnElement[bool]] = [jobs.c.state.in_([str(state) for state in final])]
    if still:
        terms.append(jobs.c.state.in_([str(state) for state in still]) & ~has_answer())
    if JobState.SUCCEEDED in final:
        terms.append(jobs.c.finished_at.is_(None) & has_answer())
    return or_(*terms)


def _code_is(codes: Sequence[str], reading: Reading) -> ColumnElement[bool]:
    r = results.c
    if reading is Reading.RESULTS:
        return r.error_code.in_(codes)
    failed = exists(
        select(r.job_id)
        .where(r.job_id == jobs.c.id, r.state == "failed", r.error_code.in_(codes))
        .correlate(jobs)
    )
    return or_(jobs.c.hold_code.in_(codes), (jobs.c.state == "failed") & failed)
