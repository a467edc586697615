"""What hosts answered and failed with just now, read from the ends of the tables at a cost that stays flat."""

from datetime import datetime

from sqlalchemy import Float, Integer, String, bindparam, text
from sqlalchemy.engine import Connection

from worker.records import record
from worker.storage.types import UtcTime


@record
class Answered:
    """What one host answered with one model since a moment ago."""

    host: str
    model: str
    jobs: int
    output_tokens: int
    first_at: datetime
    """When the first of these answers came."""
    seconds: float
    """How long an answer took, on average."""
    last_at: datetime


def answered_since(conn: Connection, since: datetime) -> list[Answered]:
    """What each host answered since ``since`` (moments ago), read from the end of the table of results.

    There is no index over time; new rows stand at the end on both databases. Where rows were deleted PostgreSQL fills
    the gaps first, and this tells too little.
    """
    rows = conn.execute(_LATEST[conn.dialect.name], {"since": since})
    return [
        Answered(host, model, int(n), int(tokens), first_at, float(seconds), last_at)
        for host, model, n, tokens, first_at, seconds, last_at in rows
    ]


_LATEST_OF = (
    "SELECT host, model, count(*) AS jobs, coalesce(sum(output_tokens), 0) AS tokens, "
    "min(finished_at) AS first_at, coalesce(avg(total_seconds), 0) AS seconds, "
    "max(finished_at) AS last_at FROM results "
    "WHERE {end} AND finished_at >= :since GROUP BY host, model"
)
_ENDS = {
    "sqlite": "rowid > (SELECT max(rowid) FROM {table}) - {rows}",
    "postgresql": "ctid >= (SELECT format('(%s,0)', greatest(0, "
    "pg_relation_size('{table}') / current_setting('block_size')::int - {blocks})))::tid",
}
"""Dialect → the rows at the end of a table."""
_LATEST = {
    dialect: text(_LATEST_OF.format(end=end.format(table="results", rows=4000, blocks=200)))
    .bindparams(bindparam("since", type_=UtcTime))
    .columns(
        host=String,
        model=String,
        jobs=Integer,
        tokens=Integer,
        first_at=UtcTime,
        seconds=Float,
        last_at=UtcTime,
    )
    for dialect, end in _ENDS.items()
}


@record
class HostFailure:
    """What a host failed with."""

    code: str
    message: str
    at: datetime


def failures_since(conn: Connection, since: datetime) -> dict[str, HostFailure]:
    """Host → its last failure since ``since`` (moments ago), whoever was to blame, read from the end of the table of
    attempts as ``answered_since`` does."""
    rows = conn.execute(_LATEST_FAILURES[conn.dialect.name], {"since": since})
    return {host: HostFailure(code, message or "", at) for host, code, message, at in rows}


_LATEST_FAILURES = {
    dialect: text(
        "SELECT host, error_code, error_message, ended_at FROM attempts "
        f"WHERE {end.format(table='attempts', rows=400, blocks=50)} "
        "AND ended_at >= :since AND error_code IS NOT NULL ORDER BY ended_at"
    )
    .bindparams(bindparam("since", type_=UtcTime))
    .columns(host=String, error_code=String, error_message=String, ended_at=UtcTime)
    for dialect, end in _ENDS.items()
}
