"""Results in the order in which they came to be seen, from a cursor on: who reads on from the last number misses none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Text, cast, exists, select, true
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.storage.results import ResultRow, result_rows, row_of
from worker.storage.tables import fresh_results, jobs, numbered_results, payloads, results

PAGE = 500


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which results; what is None or empty chooses nothing away."""

    batch_id: int | None = None
    models: Collection[str] = ()
    states: Collection[JobState] = ()
    since: datetime | None = None
    """Stored at or after."""
    until: datetime | None = None
    """Stored before."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Key → its value as text."""


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
    found: list[ColumnElement[bool]] = []
    if chosen.batch_id is not None:
        found.append(numbered_results.c.batch_id == chosen.batch_id)
    if chosen.models:
        found.append(results.c.model.in_(sorted(chosen.models)))
    if chosen.states:
        found.append(results.c.state.in_(sorted(str(state) for state in chosen.states)))
    if chosen.since is not None:
        found.append(results.c.finished_at >= chosen.since)
    if chosen.until is not None:
        found.append(results.c.finished_at < chosen.until)
    for key, value in sorted(chosen.metadata.items()):
        found.append(cast(payloads.c.metadata.op("->>")(key), Text) == value)
    return found
