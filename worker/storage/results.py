"""What came of each job, in the order of the input, in pages: constant memory however large the batch."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, and_, case, distinct, func, select, true
from sqlalchemy.engine import Connection

from worker.domain.answers import AnswerCounts
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import NotFound
from worker.records import record
from worker.replies.contexts import unpack_context
from worker.replies.vectors import BYTES as VECTOR_BYTES
from worker.storage.engine import Database
from worker.storage.picking import in_batch
from worker.storage.selection import Reading, conditions
from worker.storage.tables import attempts, jobs, payloads, results
from worker.storage.tries import tries

PAGE = 500


@record
class ResultRow:
    """A job and its result, if it has one yet."""

    job_id: int
    batch: int
    custom_id: str
    model: str
    state: JobState
    answer: str | None
    reasoning: str | None
    done_reason: str | None
    cut: bool | None
    empty: bool | None
    prompt_fit: str | None
    error_code: str | None
    error_message: str | None
    host: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    tokens_per_second: float | None
    total_seconds: float | None
    load_seconds: float | None
    prompt_eval_seconds: float | None
    eval_seconds: float | None
    queued_seconds: float | None
    attempts: int
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    metadata: dict[str, Any] | None
    digest: str | None = None
    """Of the weights that answered."""
    parsed: Any = None
    """The answer as JSON, where a ``format`` was asked for and it fits."""
    prompt: str | None = None
    """Only where it is asked for: it may be long."""
    reused_from: int | None = None
    """The job that a host was asked for, where its answer was taken."""
    request: dict[str, Any] | None = None
    """What else was asked; only where it is asked for."""
    context: tuple[int, ...] | None = None
    """The tokens to go on from; only where they are asked for."""
    logprobs: Sequence[Any] | None = None
    """The log probability of each token, where the job requested it; filled in by ``with_logprobs``."""
    tool_calls: Sequence[Any] | None = None
    """The calls of tools that the model asked for."""
    embedding: bytes | None = None
    """The vector of a text, as ``replies.vectors`` packs it."""


@record
class ModelFigures:
    """What one model did in a batch; ``eval_seconds`` is the time its hosts generated."""

    model: str
    jobs: int
    succeeded: int
    failed: int
    answers: AnswerCounts
    """Of those that succeeded."""
    prompt_tokens: int
    output_tokens: int
    eval_seconds: float
    reused: int = 0
    """Of those that succeeded, answers that were stored before; their tokens are not counted."""
    unproved: int = 0
    """Of those that succeeded, answers of which nobody knows whether the whole prompt was read: ``prompt_fit`` is ``unknown``."""
    digests: int = 1
    """Different weights that answered under this name: more than one where it was pulled again meanwhile, or hosts differ."""


Long = Literal["prompt", "request", "context"]
"""What of a job is read only where it is asked for."""
LONG: tuple[Long, ...] = ("prompt", "request", "context")
LONG_COLUMNS: Mapping[Long, ColumnElement[Any]] = {
    "prompt": payloads.c.prompt,
    "request": payloads.c.request.label("payload_request"),
    "context": results.c.context.label("packed_context"),
}


def iter_results(
    database: Database,
    chosen: Selection,
    *,
    long: Collection[Long] = (),
    logprobs: bool = False,
) -> Iterator[ResultRow]:
    """The jobs that are chosen, open ones too, in the order of their ids; each page is a transaction of its own. ``long``
    and ``logprobs`` say what else is read."""
    after = 0
    while True:
        with database.read() as conn:
            page = _page(conn, chosen, after, long)
        rows = with_logprobs(database, page) if logprobs else page
        yield from (row for row in rows if chosen.includes(row.job_id))
        if len(page) < PAGE:
            return
        after = page[-1].job_id


def _page(conn: Connection, chosen: Selection, after: int, long: Collection[Long]) -> list[ResultRow]:
    batch_id = chosen.batch_id
    query = (
        result_rows(
            lambda job: (job > after) if batch_id is None else in_batch(batch_id, job) & (job > after)
        )
        .where(*conditions(chosen, Reading.ANSWERS))
        .order_by(jobs.c.id)
        .limit(PAGE)
    )
    query = query.add_columns(*(LONG_COLUMNS[name] for name in long))
    return [row_of(row) for row in conn.execute(query)]


def vector_sizes(conn: Connection, batch_id: int) -> list[int]:
    """How many numbers the vectors of the batch have, if it has any; several where models differ."""
    vectors = results.c.embedding
    query = (
        select(func.length(vectors)).where(results.c.batch_id == batch_id, vectors.is_not(None)).distinct()
    )
    return sorted(length // VECTOR_BYTES for (length,) in conn.execute(query))


def has_logprobs(conn: Connection, batch_id: int) -> bool:
    """Whether any result of the batch has log probabilities."""
    query = select(results.c.job_id).where(results.c.batch_id == batch_id, results.c.logprobs.is_not(None))
    return conn.scalar(query.limit(1)) is not None


def has_tool_calls(conn: Connection, batch_id: int) -> bool:
    """Whether a result of the batch calls a tool."""
    query = select(results.c.job_id).where(results.c.batch_id == batch_id, results.c.tool_calls.is_not(None))
    return conn.scalar(query.limit(1)) is not None


def with_logprobs(database: Database, rows: Sequence[ResultRow]) -> Iterator[ResultRow]:
    """The same rows with their log probabilities, which are read one at a time: each may be megabytes."""
    jobs_of_rows = [row.job_id for row in rows]
    query = select(results.c.job_id).where(
        results.c.job_id.in_(jobs_of_rows), results.c.logprobs.is_not(None)
    )
    with database.read() as conn:
        with_some = frozenset(conn.scalars(query))
    for row in rows:
        if row.job_id in with_some:
            with database.read() as conn:
                logprobs = conn.scalar(select(results.c.logprobs).where(results.c.job_id == row.job_id))
            yield replace(row, logprobs=logprobs)
        else:
            yield row


def iter_metadata(database: Database, batch_id: int | None) -> Iterator[dict[str, Any]]:
    """The metadata of each job of the batch (None: of all) that has any, in input order, in pages; nothing else is read."""
    job = payloads.c.job_id
    of_batch = true() if batch_id is None else in_batch(batch_id, job)
    query = select(job, payloads.c.metadata).where(of_batch, payloads.c.metadata.is_not(None))
    return (row.metadata for row in _in_pages(database, query, job))


def iter_ids(database: Database, batch_id: int) -> Iterator[str]:
    """The custom_id of each job of the batch, likewise."""
    query = select(jobs.c.id, jobs.c.custom_id).where(in_batch(batch_id))
    return (row.custom_id for row in _in_pages(database, query, jobs.c.id))


def _in_pages(database: Database, query: Select[Any], job: ColumnElement[int]) -> Iterator[Row[Any]]:
    """The rows of a query, whose first column is ``job``."""
    after = 0
    while True:
        with database.read() as conn:
            page = conn.execute(query.where(job > after).order_by(job).limit(PAGE)).all()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def get_result(conn: Connection, job_id: int) -> ResultRow:
    """One job and its result, if it has one yet. Raises NotFound."""
    row = conn.execute(result_rows(lambda job: job == job_id)).first()
    if row is None:
        raise NotFound(f"no job {job_id}")
    return row_of(row)


def result_rows(chosen: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> Select[Any]:
    """The jobs whose ids are ``chosen``, for ``row_of``. Said of each table: PostgreSQL does not conclude it
    from the join, and walks the payloads of all earlier batches."""
    return (
        select(
            jobs,
            *(results.c[name].label(f"r_{name}") for name in _FROM_RESULT),
            payloads.c.metadata.label("job_metadata"),
            case((results.c.job_id.is_(None), tries())).label("tries"),
        )
        .join_from(jobs, payloads, payloads.c.job_id == jobs.c.id)
        .outerjoin(results, and_(results.c.job_id == jobs.c.id, chosen(results.c.job_id)))
        .where(chosen(jobs.c.id), chosen(payloads.c.job_id))
    )


_FROM_RESULT = (
    "state",
    "attempts",
    "finished_at",
    "answer",
    "parsed",
    "reasoning",
    "done_reason",
    "cut",
    "empty",
    "prompt_fit",
    "error_code",
    "error_message",
    "host",
    "digest",
    "prompt_tokens",
    "output_tokens",
    "tokens_per_second",
    "total_seconds",
    "load_seconds",
    "prompt_eval_seconds",
    "eval_seconds",
    "reused_from",
    "tool_calls",
    "embedding",
)


def row_of(row: Row[Any]) -> ResultRow:
    """A row of ``result_rows``. A job that is asked again is shown with its old answer while that is there."""
    values = {name: getattr(row, f"r_{name}") for name in _FROM_RESULT}
    if values["state"] is None:
        values |= {"state": row.state, "attempts": row.tries, "finished_at": row.finished_at}
        values |= {"host": row.host, "error_code": row.hold_code, "error_message": row.hold_reason}
    values["state"] = JobState(values["state"])
    values["host"] = values["host"] or row.host
    waited = None if row.started_at is None else (row.started_at - row.submitted_at).total_seconds()
    return ResultRow(
        job_id=row.id,
        batch=row.batch_id,
        custom_id=row.custom_id,
        model=row.model,
        queued_seconds=None if waited is None else max(0.0, waited),
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        metadata=row.job_metadata,
        prompt=getattr(row, "prompt", None),
        request=getattr(row, "payload_request", None),
        context=_unpacked(getattr(row, "packed_context", None)),
        **values,
    )


def _unpacked(context: bytes | None) -> tuple[int, ...] | None:
    return None if context is None else tuple(unpack_context(context))


@record
class AttemptRow:
    """One try of a job on one host."""

    attempt: int
    host: str
    started_at: datetime | None
    ended_at: datetime
    outcome: str
    charged: bool
    error_code: str | None
    error_message: str | None
    partial: str | None


def list_attempts(conn: Connection, job_id: int) -> list[AttemptRow]:
    """The attempts of a job in their order, numbered from 1; claims that were given back unasked left no row."""
    a = attempts.c
    rows = conn.execute(
        select(
            a.attempt,
            a.host,
            a.started_at,
            a.ended_at,
            a.outcome,
            a.charged,
            a.error_code,
            a.error_message,
            a.partial,
        )
        .where(a.job_id == job_id)
        .order_by(a.attempt)
    )
    return [AttemptRow(number, *row[1:]) for number, row in enumerate(rows, 1)]


def model_figures(conn: Connection, batch_id: int) -> list[ModelFigures]:
    """What each model did in the batch, by model."""
    r = results.c

    def tally(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    query = (
        select(
            r.model,
            func.count(),
            tally(r.state == "succeeded"),
            tally(r.state == "failed"),
            tally(r.cut & (r.state == "succeeded")),
            tally(r.empty & (r.state == "succeeded")),
            tally((r.prompt_fit == "no") & (r.state == "succeeded")),
            func.coalesce(func.sum(case((r.reused_from.is_(None), r.prompt_tokens))), 0),
            func.coalesce(func.sum(case((r.reused_from.is_(None), r.output_tokens))), 0),
            func.coalesce(func.sum(r.eval_seconds), 0.0),
            func.count(r.reused_from),
            tally((r.prompt_fit == "unknown") & (r.state == "succeeded")),
            func.count(distinct(r.digest)),
        )
        .where(r.batch_id == batch_id)
        .group_by(r.model)
        .order_by(r.model)
    )
    return [
        ModelFigures(
            model=model,
            jobs=int(jobs),
            succeeded=int(succeeded),
            failed=int(failed),
            answers=AnswerCounts(int(cut), int(empty), int(unfit)),
            prompt_tokens=int(prompt_tokens),
            output_tokens=int(output_tokens),
            eval_seconds=float(seconds),
            reused=int(reused),
            unproved=int(unproved),
            digests=int(digests),
        )
        for (
            model,
            jobs,
            succeeded,
            failed,
            cut,
            empty,
            unfit,
            prompt_tokens,
            output_tokens,
            seconds,
            reused,
            unproved,
            digests,
        ) in conn.execute(query)
    ]
