"""Do reports stay fast while work goes on? Views and ``status`` over a million stored results, with four workers beside.

``python -m benchmarks.reporting [--results N]`` starts a PostgreSQL of its own, fills it (30 days, 100 batches), lets four
processes claim and finish through the storage functions, and times every view's query and those of ``caravan status``.
It prints the middle and the worst of each and ends with 1 where one took longer than it may.
"""

import argparse
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Boolean, Date, text

from tests.repo.docs.pages import DOCS, blocks
from tests.servers.postgres import postgres_server
from worker.clock import SystemClock
from worker.domain.attempts import Finish, Succeeded
from worker.domain.hosts import Host
from worker.domain.jobs import NewJob, Priority
from worker.domain.replies import Result
from worker.explain.situation import situation
from worker.maintenance.number import number_all
from worker.policy.figures import By
from worker.reports.report import make_report
from worker.storage.batches import create_batch, list_batches, promote_sealed, seal_batch
from worker.storage.claims import claim_jobs
from worker.storage.copy import copied_tables
from worker.storage.engine import Database, open_database
from worker.storage.finishes import finish_jobs
from worker.storage.hosts import add_host
from worker.storage.jobs import insert_jobs
from worker.storage.migrate import upgrade
from worker.storage.types import Json, UtcTime

VIEW_MS, STATUS_MS = 300.0, 100.0
DAYS, BATCHES, HOSTS, WORKERS = 30, 100, 4, 4
_KEY = "qwen3:8b"


@dataclass(frozen=True, slots=True)
class Timed:
    """One query's times, in milliseconds."""

    name: str
    limit: float | None
    times: Sequence[float]

    @property
    def middle(self) -> float:
        return statistics.median(self.times)

    @property
    def worst(self) -> float:
        return max(self.times)

    @property
    def passed(self) -> bool:
        return self.limit is None or self.worst <= self.limit


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen: times, and what the workers did meanwhile."""

    queries: Sequence[Timed]
    finished: int
    seconds: float

    @property
    def passed(self) -> bool:
        return self.finished > 0 and all(query.passed for query in self.queries)


def fill(database: Database, results: int, now: datetime) -> None:
    """Store ``results`` of four models on four hosts, spread over the days and batches, a fiftieth of them failed."""
    with database.write() as conn:
        for n in range(1, HOSTS + 1):
            add_host(conn, Host(f"gpu-{n}", f"http://gpu-{n}:11434", 4), now=now - timedelta(days=DAYS))
        given = {
            "n": results,
            "per": max(1, results // BATCHES),
            "begin": now - timedelta(days=DAYS),
            "days": DAYS,
        }
        conn.execute(text("SET LOCAL statement_timeout = 0"))  # a million rows take longer than anything else
        for statement in _FILL:
            conn.execute(text(statement), {k: v for k, v in given.items() if f":{k}" in statement})
    with psycopg.connect(
        database.url.render_as_string(False).replace("+psycopg", ""), autocommit=True
    ) as conn:
        conn.execute("VACUUM ANALYZE")


_PLACED = (
    "(SELECT i, (1 + (i - 1) / :per) AS batch, (1 + (i - 1) / :per) * 16777216 + 1 + (i - 1) % :per AS id, "
    "'model-' || (i % 4) || '\\:8b' AS model, 'gpu-' || (1 + i % 4) AS host, "
    "CAST(:begin AS timestamptz) + make_interval(secs => 86400.0 * :days * i / (:n + 1)) AS at "
    "FROM generate_series(CAST(1 AS bigint), CAST(:n AS bigint)) AS i) s"
)
_TEXT = "rpad('', CAST({0} AS int), md5(i::text) || ' ' || md5((i * 7)::text) || ' ' || md5((i * 13)::text) || ' ')"
_HOUR = "date_trunc('hour', finished_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
_SUMS = (
    "count(*), sum((state = 'succeeded')::int), sum((state = 'failed')::int), sum(cut::int), sum(prompt_tokens), "
    "sum(output_tokens), sum(eval_seconds), sum((prompt_eval_seconds + eval_seconds) / 4)"
)
_FIGURES = "results, succeeded, failed, cut, prompt_tokens, output_tokens, eval_seconds, gpu_seconds"
_FILL = (
    (
        "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at, finished_at, parent_id, schedule) "
        "SELECT 'night-' || b, 'night ' || b, 'finished', :per, at, at, at, CASE WHEN b % 2 = 0 THEN b - 1 END, 'nightly' "
        "FROM (SELECT b, CAST(:begin AS timestamptz) AS at "
        "FROM generate_series(1, CAST(ceil(:n / CAST(:per AS numeric)) AS int)) b) s"
    ),
    (
        "INSERT INTO jobs (id, batch_id, custom_id, model, state, priority, runner_key, prefix_group, estimate, submitted_at, "
        "attempt, charged, max_attempts, host, started_at, finished_at) "
        "SELECT id, batch, 'c' || (1 + (i - 1) % :per), model, "
        "CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'succeeded' END, 2, model, id, 500, at - interval '1 hour', 1, 1, 3, host, "
        f"at - interval '20 seconds', at FROM {_PLACED}"
    ),
    (
        "INSERT INTO payloads (job_id, prompt, request, metadata) SELECT id, "
        f"{_TEXT.format('500 + i % 1000')}, '{{}}', json_build_object('sku', i) FROM {_PLACED}"
    ),
    (
        "INSERT INTO results (job_id, batch_id, custom_id, model, state, host, answer, reasoning, done_reason, cut, prompt_fit, "
        "error_code, error_message, prompt_tokens, output_tokens, tokens_per_second, total_seconds, load_seconds, "
        "prompt_eval_seconds, eval_seconds, attempts, finished_at, day) "
        "SELECT id, batch, 'c' || (1 + (i - 1) % :per), model, "
        "CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'succeeded' END, host, "
        f"{_TEXT.format('700 + i % 200')}, {_TEXT.format('i % 300')}, 'stop', i % 40 = 0, 'yes', "
        "CASE WHEN i % 50 = 0 THEN CASE WHEN i % 100 = 0 THEN 'context_overflow' ELSE 'invalid_request' END END, "
        "CASE WHEN i % 50 = 0 THEN 'no' END, 100 + i % 300, 200 + i % 900, 40, 10, 0, 1, 5 + i % 20, 1, at, "
        f"(at AT TIME ZONE 'UTC')::date FROM {_PLACED}"
    ),
    (
        "INSERT INTO numbered_results (number, job_id, batch_id) "
        "SELECT row_number() OVER (ORDER BY finished_at, job_id), job_id, batch_id FROM results"
    ),
    "UPDATE numbering SET last = (SELECT coalesce(max(number), 0) FROM numbered_results)",
    (
        f"INSERT INTO batch_figures (batch_id, {_FIGURES}, first_at, last_at) "
        f"SELECT batch_id, {_SUMS}, min(finished_at), max(finished_at) FROM results GROUP BY 1"
    ),
    f"INSERT INTO model_days (day, model, {_FIGURES}) SELECT day, model, {_SUMS} FROM results GROUP BY 1, 2",
    (
        f"INSERT INTO host_hours (hour, host, {_FIGURES}, loads, load_seconds) "
        f"SELECT {_HOUR}, host, {_SUMS}, 4, 80 FROM results GROUP BY 1, 2"
    ),
    (
        f"INSERT INTO hour_figures (batch_id, hour, model, host, {_FIGURES}) "
        f"SELECT batch_id, {_HOUR}, model, host, {_SUMS} FROM results GROUP BY 1, 2, 3, 4"
    ),
    (
        "INSERT INTO counts (batch_id, runner_key, priority, state, jobs) "
        "SELECT batch_id, runner_key, priority, state, count(*) FROM jobs GROUP BY 1, 2, 3, 4"
    ),
    (
        "INSERT INTO runs (host, runner_key, reason, started_at, load_seconds, ended_at, jobs) "
        "SELECT 'gpu-' || (1 + i % 4), 'model-' || (i % 4) || '\\:8b', 'work', at, 20, at + interval '1 hour', 300 "
        "FROM (SELECT i, CAST(:begin AS timestamptz) + make_interval(mins => 15 * i) AS at "
        "FROM generate_series(1, 96 * :days - 1) i) s"
    ),
    (
        "INSERT INTO schedules (name, spec, spec_version, added_at, changed_at) "
        "VALUES ('nightly', '{\"cron\": \"0 2 * * *\"}', 1, CAST(:begin AS timestamptz), CAST(:begin AS timestamptz))"
    ),
    (
        "INSERT INTO firings (schedule_id, fire_at, version, state, batch_id, began_at, ended_at, new, changed, report) "
        "SELECT 1, CAST(:begin AS timestamptz) + make_interval(hours => 7 * CAST(id AS int)), 1, 'finished', id, "
        "created_at, created_at + interval '1 hour', 100, 100, '{\"answered\": 200}' FROM batches"
    ),
    (
        "INSERT INTO firing_changes (firing_id, custom_id, model, path, change, batch_id, job_id) "
        "SELECT f.id, r.custom_id, r.model, '/in/' || r.custom_id, CASE WHEN r.job_id % 2 = 0 THEN 'new' ELSE 'changed' END, "
        "r.batch_id, r.job_id FROM firings f JOIN results r ON r.batch_id = f.batch_id WHERE r.job_id % 16777216 <= 200"
    ),
    (
        "INSERT INTO schedule_documents (schedule_id, custom_id, model, path, firing_id, change, first_seen_at, last_seen_at, "
        "error_code, error_at) SELECT 1, 'd' || i, 'model-1\\:8b', '/in/d' || i, 1, 'reused', CAST(:begin AS timestamptz), "
        "CAST(:begin AS timestamptz), CASE WHEN i % 100 = 0 THEN 'encrypted' END, CASE WHEN i % 100 = 0 THEN "
        "CAST(:begin AS timestamptz) END FROM generate_series(1, 10000) i"
    ),
)


def live_batch(database: Database, jobs: int, now: datetime) -> int:
    """A batch whose jobs wait for the workers."""
    new = [
        NewJob(
            seq=seq,
            custom_id=f"live-{seq}",
            model=_KEY,
            runner_key=_KEY,
            priority=Priority.NORMAL,
            prompt="word " * 150,
            request={},
        )
        for seq in range(1, jobs + 1)
    ]
    with database.write() as conn:
        batch, _ = create_batch(conn, key=uuid.uuid4().hex, name="live", source=None, now=now)
        insert_jobs(conn, batch.id, new, now=now)
        seal_batch(conn, batch.id, jobs=len(new), now=now)
    for _ in range(jobs // 5000 + 1):
        with database.write() as conn:
            promote_sealed(conn, limit=5000, now=now)
    return batch.id


def work(url: str, name: str, until: Any, finished: Any) -> None:
    """Claim eight, finish eight, until told to stop: one worker process. ``finished`` counts for all of them."""
    database = open_database(url)
    try:
        while not until.is_set():
            token = uuid.uuid4().hex
            now = datetime.now(UTC)
            with database.write() as conn:
                claimed = claim_jobs(
                    conn,
                    host=name,
                    runner_keys=[_KEY],
                    limit=8,
                    token=token,
                    now=now,
                    lease_until=now + timedelta(seconds=90),
                )
            if not claimed:
                return
            ends = [
                Finish(
                    job_id=job.id,
                    batch_id=job.batch_id,
                    token=job.token,
                    attempt=job.attempt,
                    host=name,
                    started_at=now,
                    ended_at=now,
                    outcome=Succeeded(_result()),
                )
                for job in claimed
            ]
            with database.write() as conn:
                finish_jobs(conn, ends, now=now)
            with finished.get_lock():
                finished.value += len(ends)
            until.wait(
                0.05
            )  # a host generates between two of these; 4 workers come to some hundred jobs a second
    finally:
        database.close()


def _result() -> Result:
    return Result(
        answer="word " * 160,
        reasoning=None,
        reasoning_open=False,
        done_reason="stop",
        cut=False,
        prompt_fit="yes",
        prompt_tokens=200,
        output_tokens=200,
        tokens_per_second=40.0,
        prompt_tokens_per_second=None,
        total_seconds=6.0,
        load_seconds=0.0,
        prompt_eval_seconds=1.0,
        eval_seconds=5.0,
        total_duration=6_000_000_000,
        load_duration=0,
        prompt_eval_duration=1_000_000_000,
        eval_duration=5_000_000_000,
        context=None,
    )


def queries(
    database: Database, live: int, now: datetime
) -> Mapping[str, tuple[float | None, Callable[[], object]]]:
    """Name → what it may take at worst, and what is timed."""
    day = (now - timedelta(days=DAYS // 2)).date()
    hour = datetime(day.year, day.month, day.day, tzinfo=UTC)
    values = {"batch": BATCHES // 2, "day": day, "from": hour, "to": hour + timedelta(days=1), "live": live}
    clock = SystemClock()

    def sql(query: str) -> Callable[[], object]:
        given = {name: value for name, value in values.items() if f":{name}" in query}

        def run() -> object:
            with database.read() as conn:
                return conn.execute(text(query), given).all()

        return run

    by_model = "SELECT model, count(*), avg(tokens_per_second), sum(output_tokens) FROM report_results WHERE"
    told: dict[str, tuple[float | None, Callable[[], object]]] = {
        name: (VIEW_MS, sql(query))
        for name, query in {
            "report_results, a batch by model": f"{by_model} batch = :batch GROUP BY model",
            "report_results, a day by model": f"{by_model} day = :day GROUP BY model",
            "report_results, a batch's first 1,000 rows whole": "SELECT * FROM report_results WHERE batch = :batch "
            "ORDER BY job_id LIMIT 1000",
            "report_results, a day's first 1,000 rows whole": "SELECT * FROM report_results WHERE day = :day "
            "ORDER BY job_id LIMIT 1000",
            "report_batches, a batch": "SELECT * FROM report_batches WHERE batch = :batch",
            "report_batches, the running one": "SELECT * FROM report_batches WHERE batch = :live",
            "report_batches, all": "SELECT * FROM report_batches",
            "report_failures, a batch": "SELECT * FROM report_failures WHERE batch = :batch",
            "report_failures, a day": "SELECT * FROM report_failures WHERE day = :day",
            "report_models_daily, a day": "SELECT * FROM report_models_daily WHERE day = :day",
            "report_hosts_hourly, a day": "SELECT * FROM report_hosts_hourly WHERE hour >= :from AND hour < :to",
            "report_runs, a day": "SELECT * FROM report_runs WHERE started_at >= :from AND started_at < :to",
        }.items()
    }
    questions = (
        block.text.replace("'job-2'", "'c17'") for block in blocks(DOCS / "howto/reporting.md", "sql")
    )
    told |= {f"question {n}": (VIEW_MS, sql(query)) for n, query in enumerate(questions, start=1)}
    told["status, all"] = STATUS_MS, lambda: situation(database, clock=clock)
    told["status, the running batch"] = STATUS_MS, lambda: situation(database, live, clock=clock)
    told["status, a finished batch"] = STATUS_MS, lambda: situation(database, BATCHES // 2, clock=clock)

    def batches() -> object:
        with database.read() as conn:
            return list_batches(conn, limit=20)

    told["batches, the newest 20"] = STATUS_MS, batches
    told["caravan report, a batch"] = (
        None,
        lambda: make_report(database, [str(live)], by=By.HOST, clock=clock),
    )
    told["caravan report, 30 days"] = None, lambda: make_report(database, by=By.MODEL, clock=clock)
    return told


def as_sqlite(source: Database, path: Path) -> str:
    """The same rows in SQLite; its URL. For what was just filled: it checks nothing."""
    url = f"sqlite:///{path}"
    upgrade(url)
    with (
        psycopg.connect(source.url.render_as_string(False).replace("+psycopg", "")) as conn,
        closing(sqlite3.connect(path)) as out,
    ):
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
            out.execute(f"PRAGMA {setting}")
        indexes = out.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:  # made at the end, in one pass each
            out.execute(f"DROP INDEX {name}")
        for table in copied_tables():
            names = [column.name for column in table.columns]
            shown = ", ".join(_shown_for_sqlite(column) for column in table.columns)
            out.execute(f"DELETE FROM {table.name}")
            put = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            with conn.cursor(name="rows") as rows:
                rows.itersize = 5000
                out.executemany(put, rows.execute(f"SELECT {shown} FROM {table.name}".encode()))
            out.commit()
        for _, make in indexes:
            out.execute(make)
        out.execute("ANALYZE")
        out.execute("PRAGMA journal_mode = WAL")
        out.commit()
    return url


def _shown_for_sqlite(column: Any) -> str:
    if isinstance(column.type, UtcTime):
        return f"""to_char({column.name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    if column.type is Json or isinstance(column.type, Date):
        return f"CAST({column.name} AS text)"
    return f"CAST({column.name} AS int)" if isinstance(column.type, Boolean) else str(column.name)


def filled(url: str, results: int, *, sqlite: Path | None = None) -> str:
    """Fill the empty database at ``url``; its URL, or with ``sqlite`` that of a copy there."""
    upgrade(url)
    database = open_database(url)
    try:
        began = time.monotonic()
        fill(database, results, datetime.now(UTC))
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        if sqlite is None:
            return url
        began = time.monotonic()
        copied = as_sqlite(database, sqlite)
        print(f"copied to SQLite in {time.monotonic() - began:.0f} s", file=sys.stderr)
        return copied
    finally:
        database.close()


def measure(url: str, *, times: int = 30, jobs: int = 40_000) -> Measured:
    """Time the queries on a filled database while the workers work."""
    upgrade(url)
    database = open_database(url)
    now = datetime.now(UTC)
    try:
        live = live_batch(database, jobs, now)
        context = multiprocessing.get_context("spawn")
        stop, finished = context.Event(), context.Value("q", 0)
        workers = [
            context.Process(target=work, args=(url, f"gpu-{n}", stop, finished))
            for n in range(1, WORKERS + 1)
        ]
        for worker in workers:
            worker.start()
        while not finished.value and any(worker.is_alive() for worker in workers):
            time.sleep(0.01)
        started, before = time.monotonic(), finished.value
        asked = queries(database, live, now)
        found: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(times):
            number_all(database)
            for name, (_, ask) in asked.items():
                begin = time.perf_counter()
                ask()
                found[name].append((time.perf_counter() - begin) * 1000)
        seconds, done = time.monotonic() - started, finished.value - before
        stop.set()
        for worker in workers:
            worker.join()
        return Measured(
            [Timed(name, limit, found[name]) for name, (limit, _) in asked.items()], done, seconds
        )
    finally:
        database.close()


def told(measured: Measured) -> list[str]:
    """The figures as a table in Markdown."""
    lines = ["| query | middle | worst | at most |", "|---|---:|---:|---:|"]
    for query in measured.queries:
        limit = "–" if query.limit is None else f"{query.limit:.0f} ms"
        mark = "" if query.passed else " **too slow**"
        lines.append(f"| {query.name} | {query.middle:.1f} ms | {query.worst:.1f} ms{mark} | {limit} |")
    rate = measured.finished / measured.seconds if measured.seconds else 0.0
    lines.append(f"\nmeanwhile {WORKERS} workers finished {measured.finished:,} jobs, {rate:,.0f} a second")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time reports while work goes on.")
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--sqlite", action="store_true", help="time a copy in SQLite")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep that copy, or time one that was kept")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = given.keep or (folder / "caravan.db" if given.sqlite else None)
        if path is not None and path.exists():
            url = f"sqlite:///{path}"
        else:
            url = filled(stack.enter_context(postgres_server()), given.results, sqlite=path)
        measured = measure(url, times=given.times)
    print("\n".join(told(measured)))
    return 0 if measured.passed else 1


if __name__ == "__main__":
    sys.exit(main())
