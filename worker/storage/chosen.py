"""Which results are meant: by batch, model, state, time and metadata, in the same words on both databases."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Text, case, cast, exists, func, literal, null, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from worker.domain.answers import ANY_ANSWER, AnswerFilter
from worker.domain.jobs import FINAL, JobState
from worker.storage.tables import follows, jobs, payloads, results

MOST_IDS = 10_000
"""Job ids that a query is given; of more, rows are picked as they are read."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which results; what is None or empty chooses nothing away."""

    batch_id: int | None = None
    models: Collection[str] = ()
    states: Collection[JobState] = ()
    since: datetime | None = None
    """Ended at or after."""
    until: datetime | None = None
    """Ended before."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Key → its value as text: ``true``, ``7``, ``de``."""
    codes: Collection[str] = ()
    """Of the failure, or of what they are held for."""
    parts: bool = False
    """Also those whose answers are for another job's prompt alone."""
    job_ids: Collection[int] | None = None
    """These and no others."""
    answers: AnswerFilter = ANY_ANSWER
    """Of what is wrong with the stored answer."""

    def names(self, job_id: int) -> bool:
        """Whether ``job_ids`` let this one through, of which there may be more than a query takes."""
        return self.job_ids is None or job_id in self.job_ids

    @property
    def all_of_batch(self) -> bool:
        """Nothing is chosen away but other batches."""
        given = (self.models, self.states, self.since, self.until, self.metadata, self.codes, self.answers)
        return self.job_ids is None and not any(given)


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


def _state_is(states: Collection[JobState]) -> ColumnElement[bool]:
    """A job that is asked again, and whose old answer is still there, counts as ``succeeded``."""
    final, still = sorted(FINAL & set(states)), sorted(set(states) - FINAL)
    terms: list[ColumnElement[bool]] = [jobs.c.state.in_([str(state) for state in final])]
    if still:
        terms.append(jobs.c.state.in_([str(state) for state in still]) & ~has_answer())
    if JobState.SUCCEEDED in final:
        terms.append(jobs.c.finished_at.is_(None) & has_answer())
    return or_(*terms)


def _ended_at() -> ColumnElement[datetime]:
    before = select(results.c.finished_at).where(results.c.job_id == jobs.c.id).correlate(jobs)
    return func.coalesce(jobs.c.finished_at, before.scalar_subquery())


def conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    """What ``chosen`` asks, all but the batch, of rows that hold a job, its payload and its result, if it has one."""
    found: list[ColumnElement[bool]] = []
    if chosen.job_ids is not None and len(chosen.job_ids) <= MOST_IDS:
        found.append(jobs.c.id.in_(sorted(chosen.job_ids)))
    if chosen.models:
        found.append(jobs.c.model.in_(sorted(chosen.models)))
    if chosen.states:
        found.append(_state_is(chosen.states))
    if chosen.since is not None:
        found.append(_ended_at() >= chosen.since)
    if chosen.until is not None:
        found.append(_ended_at() < chosen.until)
    if chosen.answers:
        found.append(has_answer(*answer_terms(chosen.answers)))
    if chosen.codes:
        codes = sorted(chosen.codes)
        failed = exists(
            select(results.c.job_id)
            .where(
                results.c.job_id == jobs.c.id, results.c.state == "failed", results.c.error_code.in_(codes)
            )
            .correlate(jobs)
        )
        found.append(or_(jobs.c.hold_code.in_(codes), (jobs.c.state == "failed") & failed))
    if not chosen.parts:
        part = select(follows.c.job_id).where(follows.c.parent_id == jobs.c.id, follows.c.combines)
        found.append(~exists(part.correlate(jobs)))
    found += [metadata_is(key, value) for key, value in sorted(chosen.metadata.items())]
    return found
