"""Results in the order in which they came to be seen, from a cursor on: who reads on from the last number misses none."""

from collections.abc import Sequence

from sqlalchemy import exists, select, true
from sqlalchemy.engine import Connection

from worker.domain.selection import Selection
from worker.storage.results import ResultRow, result_rows, row_of
from worker.storage.selection import Reading, conditions
from worker.storage.tables import fresh_results, jobs, numbered_results, payloads, results

PAGE = 500


def read_arrivals(
    conn: Connection, selection: Selection, *, after: int, limit: int = PAGE
) -> list[tuple[int, ResultRow]]:
    """Results with a number above ``after``, by number. Fewer than ``limit`` only where there are no more now."""
    number = numbered_results.c.number
    query = (
        result_rows(lambda _: true())
        .join(numbered_results, numbered_results.c.job_id == jobs.c.id)
        .add_columns(number.label("number"))
        .where(number > after, *conditions(selection, Reading.RESULTS))
        .order_by(number)
        .limit(limit)
    )
    if selection.batch_id is not None:
        query = query.where(numbered_results.c.batch_id == selection.batch_id)
    return [(row.number, row_of(row)) for row in conn.execute(query)]


def arrival_numbers(conn: Connection, selection: Selection, *, after: int, limit: int) -> list[int]:
    """The numbers of results above ``after``, in their order, without the results."""
    number = numbered_results.c.number
    query = (
        select(number)
        .select_from(numbered_results.join(jobs, jobs.c.id == numbered_results.c.job_id))
        .join(payloads, payloads.c.job_id == jobs.c.id)
        .outerjoin(results, results.c.job_id == jobs.c.id)
        .where(number > after, *conditions(selection, Reading.RESULTS))
        .order_by(number)
        .limit(limit)
    )
    if selection.batch_id is not None:
        query = query.where(numbered_results.c.batch_id == selection.batch_id)
    return list(conn.scalars(query))


def read_numbered(
    conn: Connection, selection: Selection, numbers: Sequence[int], *, prompts: bool = False
) -> list[tuple[int, ResultRow]]:
    """The results with these numbers, by number; with their ``prompts``."""
    number = numbered_results.c.number
    query = (
        result_rows(lambda _: true())
        .join(numbered_results, numbered_results.c.job_id == jobs.c.id)
        .add_columns(number.label("number"), *((payloads.c.prompt,) if prompts else ()))
        .where(number.in_(numbers), *conditions(selection, Reading.RESULTS))
        .order_by(number)
    )
    return [(row.number, row_of(row)) for row in conn.execute(query)]


def has_fresh(conn: Connection) -> bool:
    """Whether a result waits for its number; those without a day were stored by an earlier version."""
    return any(
        conn.scalar(select(condition))
        for condition in (exists().select_from(fresh_results), exists().where(results.c.day.is_(None)))
    )
