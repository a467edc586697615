"""Results in the order in which they came to be seen, from a cursor on: who reads on from the last number misses none."""

from sqlalchemy import ColumnElement, exists, select, true
from sqlalchemy.engine import Connection

from worker.storage.chosen import Chosen, answer_terms, metadata_is
from worker.storage.results import ResultRow, result_rows, row_of
from worker.storage.tables import fresh_results, jobs, numbered_results, results

__all__ = ["PAGE", "Chosen", "has_fresh", "last_number", "read_arrivals"]

PAGE = 500


def read_arrivals(
    conn: Connection, chosen: Chosen, *, after: int, limit: int = PAGE
) -> list[tuple[int, ResultRow]]:
    """Results with a number above ``after``, by number. Fewer than ``limit`` only where there are no more now."""
    number = numbered_results.c.number
    query = (
        result_rows(lambda _: true())
        .join(numbered_results, numbered_results.c.job_id == jobs.c.id)
        .add_columns(number.label("number"))
        .where(number > after, *_conditions(chosen))
        .order_by(number)
        .limit(limit)
    )
    return [(row.number, row_of(row)) for row in conn.execute(query)]


def last_number(conn: Connection) -> int:
    """The number that was given last; 0 before the first."""
    return int(
        conn.scalar(select(numbered_results.c.number).order_by(numbered_results.c.number.desc()).limit(1))
        or 0
    )


def has_fresh(conn: Connection) -> bool:
    """Whether a result waits for its number; those without a day were stored by an earlier version."""
    return any(
        conn.scalar(select(found))
        for found in (exists().select_from(fresh_results), exists().where(results.c.day.is_(None)))
    )


def _conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    """Conditions on the results themselves: a job that is asked again may have none."""
    found: list[ColumnElement[bool]] = []
    if chosen.batch_id is not None:
        found.append(numbered_results.c.batch_id == chosen.batch_id)
    if chosen.job_ids is not None:
        found.append(results.c.job_id.in_(sorted(chosen.job_ids)))
    if chosen.models:
        found.append(results.c.model.in_(sorted(chosen.models)))
    if chosen.states:
        found.append(results.c.state.in_(sorted(str(state) for state in chosen.states)))
    if chosen.codes:
        found.append(results.c.error_code.in_(sorted(chosen.codes)))
    if chosen.since is not None:
        found.append(results.c.finished_at >= chosen.since)
    if chosen.until is not None:
        found.append(results.c.finished_at < chosen.until)
    found += answer_terms(chosen.answers)
    return found + [metadata_is(key, value) for key, value in sorted(chosen.metadata.items())]
