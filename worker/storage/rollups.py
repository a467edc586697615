"""Numbers results in their order, and sums them per batch, model, host, day and hour.

Commits land out of order, and the spool lands late: an id or a time is no cursor. So one writer at a time gives each
result a number once it is committed; who has read up to a number misses nothing. What it numbers it also adds up.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Date, Row, bindparam, delete, insert, select, text
from sqlalchemy.engine import Connection

from worker.records import mutable_record
from worker.storage.reuse import forget_answers, remember_answers
from worker.storage.tables import attempts, fresh_results, hosts, numbered_results, results, searchable
from worker.storage.types import UtcTime

HOUR = timedelta(hours=1)
LONGEST_ATTEMPT = 48 * 3600.0
"""Seconds of one attempt that enter the figures of hours, where our own clock says nothing shorter."""
CLOCK_SLACK = 300.0
"""Seconds by which a host's own measurements may exceed ours."""
_COUNTED = ("results", "succeeded", "failed", "cut", "empty", "unfit", "prompt_tokens", "output_tokens")
_MEASURED = ("eval_seconds", "gpu_seconds")
FIGURES = (*_COUNTED, *_MEASURED)


def fresh_job_ids(conn: Connection, *, limit: int) -> list[int]:
    """Jobs whose results have no number yet, the oldest first. Sorts all of them."""
    return list(
        conn.scalars(
            select(results.c.job_id)
            .join_from(fresh_results, results, fresh_results.c.job_id == results.c.job_id)
            .order_by(results.c.finished_at, results.c.job_id)
            .limit(limit)
        )
    )


def number_jobs(conn: Connection, job_ids: Sequence[int]) -> int:
    """Number the results of these jobs, in the order given, and add them up. Returns how many had none yet.

    One writer at a time: on PostgreSQL the row of ``numbering`` is locked, on SQLite the transaction is that lock. A
    number is seen only after all before it, since the next writer waits for the commit.
    """
    if not job_ids:
        return 0
    lock = " FOR UPDATE" if conn.dialect.name == "postgresql" else ""
    last = conn.scalar(text(f"SELECT last FROM numbering WHERE id = 1{lock}"))
    # what somebody deletes just now is waited for here, and not there any more then
    fresh = delete(fresh_results).where(fresh_results.c.job_id.in_(job_ids))
    there = set(conn.scalars(fresh.returning(fresh_results.c.job_id)))
    ids = [job_id for job_id in job_ids if job_id in there]
    if not ids:
        return 0
    by_job = {
        row.job_id: row
        for row in conn.execute(select(*(results.c[name] for name in _READ)).where(results.c.job_id.in_(ids)))
    }
    rows = [by_job[job_id] for job_id in ids if job_id in by_job]
    conn.execute(delete(numbered_results).where(numbered_results.c.job_id.in_(ids)))
    conn.execute(
        insert(numbered_results),
        [
            {"number": last + place, "job_id": row.job_id, "batch_id": row.batch_id}
            for place, row in enumerate(rows, start=1)
        ],
    )
    conn.execute(text("UPDATE numbering SET last = :last WHERE id = 1"), {"last": last + len(rows)})
    _add_up(conn, rows)
    remember_answers(conn, ids)
    return len(rows)


def take_in_older(conn: Connection, limit: int) -> None:
    """Results that a worker of an earlier version stored beside us: without a day, and nobody knows that they are new."""
    rows = conn.execute(
        select(results.c.job_id, results.c.finished_at).where(results.c.day.is_(None)).limit(limit)
    ).all()
    if not rows:
        return
    conn.execute(
        text("UPDATE results SET day = :day WHERE job_id = :job").bindparams(bindparam("day", type_=Date)),
        [{"day": row.finished_at.date(), "job": row.job_id} for row in rows],
    )
    conn.execute(
        text("INSERT INTO fresh_results (job_id) VALUES (:job) ON CONFLICT (job_id) DO NOTHING"),
        [{"job": row.job_id} for row in rows],
    )


def forget_results(conn: Connection, job_ids: Sequence[int]) -> None:
    """Remove the results and numbers of jobs that are asked again. Their tokens were spent, and stay counted."""
    for table in (
        fresh_results,
        numbered_results,
        searchable,
        results,
    ):  # the first waits for whoever numbers them
        conn.execute(delete(table).where(table.c.job_id.in_(job_ids)))
    forget_answers(conn, job_ids)


_READ = (
    "job_id",
    "batch_id",
    "model",
    "host",
    "state",
    "cut",
    "empty",
    "prompt_fit",
    "prompt_tokens",
    "output_tokens",
    "prompt_eval_seconds",
    "eval_seconds",
    "finished_at",
    "day",
    "reused_from",
)


@mutable_record
class _Sum:
    """What some results come to."""

    figures: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FIGURES, 0))
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, row: Row[Any], gpu_seconds: float) -> None:
        figures = self.figures
        figures["results"] += 1
        figures[row.state] += 1
        if row.state == "succeeded":  # of a failure the reason counts, and nothing else
            figures["cut"] += bool(row.cut)
            figures["empty"] += bool(row.empty)
            figures["unfit"] += row.prompt_fit == "no"
        if row.reused_from is None:  # else nothing was read and generated for it
            for name in ("prompt_tokens", "output_tokens", "eval_seconds"):
                figures[name] += getattr(row, name) or 0
        figures["gpu_seconds"] += gpu_seconds
        self.first_at = min(self.first_at or row.finished_at, row.finished_at)
        self.last_at = max(self.last_at or row.finished_at, row.finished_at)


def _add_up(conn: Connection, rows: Sequence[Row[Any]]) -> None:
    slots = {row.name: row.slots for row in conn.execute(select(hosts.c.name, hosts.c.slots))}
    batches: dict[tuple[Any, ...], _Sum] = {}
    models: dict[tuple[Any, ...], _Sum] = {}
    hours: dict[tuple[Any, ...], _Sum] = {}
    reused: Counter[int] = Counter()
    cells: dict[tuple[Any, ...], _Sum] = {}
    longest = _wall_seconds(conn, [row.job_id for row in rows])
    for row in rows:
        # a host may report any duration; more than the attempt took by our own clock enters no figure of an hour
        busy = (row.prompt_eval_seconds or 0.0) + (row.eval_seconds or 0.0)
        busy = min(busy, longest.get(row.job_id, LONGEST_ATTEMPT) + CLOCK_SLACK)
        share = busy / max(1, slots.get(row.host, 1))
        batches.setdefault((row.batch_id,), _Sum()).add(row, share)
        models.setdefault((row.day or row.finished_at.date(), row.model), _Sum()).add(row, share)
        if row.reused_from is not None:
            reused[row.batch_id] += 1
            continue  # no host did anything in this hour
        if not row.host:
            continue
        for hour, part in _hours(row.finished_at, busy):
            for sums in (
                hours.setdefault((hour, row.host), _Sum()),
                cells.setdefault((row.batch_id, hour, row.model, row.host), _Sum()),
            ):
                if hour == _hour(row.finished_at):
                    sums.add(row, share * part)
                else:
                    sums.figures["gpu_seconds"] += share * part
    _write(conn, _BATCHES, ("batch",), batches)
    _write(conn, _MODELS, ("day", "model"), models)
    _write(conn, _HOURS, ("hour", "host"), hours)
    if reused:
        conn.execute(_REUSED, [{"batch": batch, "jobs": jobs} for batch, jobs in sorted(reused.items())])
    _write(conn, _CELLS, ("batch", "hour", "model", "host"), cells)


def _wall_seconds(conn: Connection, job_ids: Sequence[int]) -> dict[int, float]:
    """How long the longest attempt of each job took, by the clock of the workers; at most ``LONGEST_ATTEMPT``."""
    longest: dict[int, float] = {}
    rows = conn.execute(
        select(attempts.c.job_id, attempts.c.started_at, attempts.c.ended_at).where(
            attempts.c.job_id.in_(job_ids), attempts.c.started_at.is_not(None)
        )
    )
    for job_id, started_at, ended_at in rows:
        seconds = min(max(0.0, (ended_at - started_at).total_seconds()), LONGEST_ATTEMPT)
        longest[job_id] = max(longest.get(job_id, 0.0), seconds)
    return longest


def _hours(end: datetime, seconds: float) -> Iterator[tuple[datetime, float]]:
    """The hours that the ``seconds`` before ``end`` lie in, and the share of them in each."""
    begin = end - timedelta(seconds=seconds)
    hour = _hour(begin)
    while hour <= end:
        until = min(end, hour + HOUR)
        inside = (until - max(begin, hour)).total_seconds()
        if inside > 0 or hour == _hour(end):
            yield hour, inside / seconds if seconds else 1.0
        hour += HOUR


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _write(conn: Connection, statement: Any, names: Sequence[str], sums: dict[tuple[Any, ...], _Sum]) -> None:
    rows = [
        {
            **dict(zip(names, key, strict=True)),
            **figures.figures,
            "first": figures.first_at,
            "last": figures.last_at,
        }
        for key, figures in sorted(sums.items(), key=lambda item: [str(part) for part in item[0]])
    ]
    if rows:
        conn.execute(statement, rows)


def _upsert(table: str, keys: dict[str, str], more: str = "") -> str:
    columns = ", ".join([*keys, *FIGURES, *(["first_at", "last_at"] if more else [])])
    values = ", ".join(
        [*keys.values(), *(f":{name}" for name in FIGURES), *([":first", ":last"] if more else [])]
    )
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in FIGURES)
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({values}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}{more}"
    )


_TIMES = ", first_at = CASE WHEN excluded.first_at < batch_figures.first_at THEN excluded.first_at "
_TIMES += "ELSE batch_figures.first_at END, last_at = CASE WHEN excluded.last_at > batch_figures.last_at "
_TIMES += "THEN excluded.last_at ELSE batch_figures.last_at END"
_BATCHES = text(_upsert("batch_figures", {"batch_id": ":batch"}, _TIMES)).bindparams(
    bindparam("first", type_=UtcTime), bindparam("last", type_=UtcTime)
)
_MODELS = text(_upsert("model_days", {"day": ":day", "model": ":model"})).bindparams(
    bindparam("day", type_=Date)
)
_HOURS = text(_upsert("host_hours", {"hour": ":hour", "host": ":host"})).bindparams(
    bindparam("hour", type_=UtcTime)
)
_CELLS = text(
    _upsert("hour_figures", {"batch_id": ":batch", "hour": ":hour", "model": ":model", "host": ":host"})
).bindparams(bindparam("hour", type_=UtcTime))

_REUSED = text("UPDATE batch_figures SET reused = reused + :jobs WHERE batch_id = :batch")

_LOADED = text(
    "INSERT INTO host_hours (hour, host, loads, load_seconds) VALUES (:hour, :host, 1, :seconds) "
    "ON CONFLICT (hour, host) DO UPDATE SET loads = host_hours.loads + 1, "
    "load_seconds = host_hours.load_seconds + excluded.load_seconds"
).bindparams(bindparam("hour", type_=UtcTime))


def add_load(conn: Connection, host: str, *, seconds: float, now: datetime) -> None:
    """A load on ``host`` has ended after ``seconds``; it counts for the hour in which it ended."""
    conn.execute(_LOADED, {"hour": _hour(now), "host": host, "seconds": seconds})
