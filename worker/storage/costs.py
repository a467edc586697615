"""What did a batch's time go into? Read from its latest results and from the runs of its hosts."""

from datetime import datetime

from sqlalchemy import Float, Integer, String, bindparam, func, select, text
from sqlalchemy.engine import Connection

from worker.records import record
from worker.storage.ids import id_range
from worker.storage.tables import runs
from worker.storage.types import UtcTime

LOOKED_AT = 500
"""Results, the last ones in the input's order: their texts are measured, and some are long."""


@record
class Spent:
    """What the latest answers of one model in a batch took, in all."""

    model: str
    jobs: int
    seconds: float
    prompt_seconds: float
    """Of them, until the prompt was read."""
    answer_seconds: float
    """Of them, while the answer was generated."""
    output_tokens: int
    reasoning_chars: int
    answer_chars: int


_SPENT = text(
    "SELECT model, count(*) AS jobs, coalesce(sum(total_seconds), 0) AS seconds, "
    "coalesce(sum(prompt_eval_seconds), 0) AS prompt_seconds, coalesce(sum(eval_seconds), 0) AS answer_seconds, "
    "coalesce(sum(output_tokens), 0) AS output_tokens, coalesce(sum(length(reasoning)), 0) AS reasoning_chars, "
    "coalesce(sum(length(answer)), 0) AS answer_chars FROM (SELECT * FROM results WHERE batch_id = :batch "
    "AND job_id >= :low AND job_id < :high AND state = 'succeeded' ORDER BY job_id DESC LIMIT :most) AS latest "
    "GROUP BY model ORDER BY model"
).columns(
    model=String,
    jobs=Integer,
    seconds=Float,
    prompt_seconds=Float,
    answer_seconds=Float,
    output_tokens=Integer,
    reasoning_chars=Integer,
    answer_chars=Integer,
)


def time_spent(conn: Connection, batch_id: int) -> list[Spent]:
    """By model, of at most ``LOOKED_AT`` results of the batch."""
    rows = conn.execute(_SPENT, {"batch": batch_id, "most": LOOKED_AT} | id_range(batch_id))
    return [
        Spent(model, int(jobs), float(seconds), float(prompt), float(answer), *map(int, rest))
        for model, jobs, seconds, prompt, answer, *rest in rows
    ]


@record
class Loading:
    """What loads took of a host's time."""

    host: str
    loads: int
    load_seconds: float
    seconds: float
    """From the start of its first run that counts to the end of its last."""


def loading_since(conn: Connection, since: datetime, *, until: datetime) -> list[Loading]:
    """By host, of runs that began between ``since`` and ``until``."""
    r = runs.c
    query = (
        select(
            r.host,
            func.count(r.load_seconds),
            func.coalesce(func.sum(r.load_seconds), 0.0),
            func.min(r.started_at).label("first"),
            func.max(func.coalesce(r.ended_at, bindparam("until", until, UtcTime))).label("last"),
        )
        .where(r.started_at >= since, r.started_at <= until)
        .group_by(r.host)
        .order_by(r.host)
    )
    return [
        Loading(host, int(loads), float(seconds), max(0.0, (min(last, until) - first).total_seconds()))
        for host, loads, seconds, first, last in conn.execute(query)
    ]
