"""The queries of ``examples/queries.sql`` and of the pages run on a database with something to find."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import Connection

from tests.integration.reporting.filling import fill_nights
from tests.repo.docs.pages import DOCS, PAGES, ROOT, blocks
from worker.cli.summary import first_query
from worker.domain.attempts import Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.hosts import Host
from worker.domain.jobs import NewJob, Priority
from worker.domain.replies import Result
from worker.errors import Code
from worker.maintenance.number import number_all
from worker.storage.batches import create_batch, promote_sealed, seal_batch
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database, open_database
from worker.storage.finishes import finish_jobs
from worker.storage.hosts import add_host
from worker.storage.jobs import insert_jobs, promote_due
from worker.storage.migrate import upgrade
from worker.storage.runs import loaded_run, open_run
from worker.storage.tables import batches
from worker.storage.view_columns import COLUMNS


def _queries(script: str) -> list[str]:
    without_comments = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE)
    return [query.strip() for query in without_comments.split(";") if query.strip()]


EXAMPLES = _queries((ROOT / "examples" / "queries.sql").read_text("utf-8"))
SHOWN = [query for page in PAGES for block in blocks(page, "sql") for query in _queries(block.text)]
QUESTIONS = [query for block in blocks(DOCS / "howto/reporting.md", "sql") for query in _queries(block.text)]
NOW = datetime(2026, 11, 30, 21, tzinfo=UTC)
KEY = "deepseek-r1:8b"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which one job was answered at the second try, one was cut, one failed and one is held."""
    path = tmp_path_factory.mktemp("queries") / "caravan.db"
    upgrade(f"sqlite:///{path}")
    database = open_database(f"sqlite:///{path}")
    _fill(database)
    database.close()
    return path


def _fill(database: Database) -> None:
    endings: list[Outcome] = [
        Retried(Code.RUNNER_DIED, "the runner died", at=NOW, charged=False),
        Succeeded(_result(cut=True)),
        Failed(Code.CONTEXT_OVERFLOW, "the prompt does not fit"),
        Held(Code.RUNNER_DIED, "8 attempts ended this way"),
    ]
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)
        batch, _ = create_batch(conn, key="night", name="night", source=None, now=NOW)
        insert_jobs(conn, batch.id, [_job(seq) for seq in range(1, len(endings) + 1)], now=NOW)
        seal_batch(conn, batch.id, jobs=len(endings), now=NOW)
        promote_sealed(conn, limit=100, now=NOW)
        run = open_run(conn, host="gpu-1", runner_key=KEY, reason="no host holds it", now=NOW)
        loaded_run(conn, run, load_time=timedelta(seconds=4))
        _answer(conn, endings, run)
        promote_due(conn, now=NOW + timedelta(seconds=1))
        _answer(conn, [Succeeded(_result(cut=False))], run)


def _answer(conn: Connection, endings: list[Outcome], run: int) -> None:
    until = NOW + timedelta(minutes=1)
    claimed = claim_jobs(
        conn, host="gpu-1", runner_keys=[KEY], limit=9, token="t", now=NOW, lease_until=until
    )
    assert len(claimed) == len(endings)
    finished = finish_jobs(
        conn,
        [
            Finish(job.id, job.batch_id, "t", job.attempt, "gpu-1", NOW, NOW, ending, digest="d", run_id=run)
            for job, ending in zip(claimed, endings, strict=True)
        ],
        now=NOW,
    )
    assert not finished.refused


def _job(seq: int) -> NewJob:
    return NewJob(seq, f"job-{seq}", KEY, KEY, Priority.NORMAL, "Why?", {}, metadata={"kind": "puzzle"})


def _result(*, cut: bool) -> Result:
    return Result(
        answer="Because.",
        reasoning="Let me think.",
        reasoning_open=False,
        done_reason="length" if cut else "stop",
        cut=cut,
        prompt_fit="yes",
        prompt_tokens=12,
        output_tokens=30,
        tokens_per_second=30.0,
        prompt_tokens_per_second=600.0,
        total_seconds=1.2,
        load_seconds=0.01,
        prompt_eval_seconds=0.02,
        eval_seconds=1.0,
        total_duration=1_200_000_000,
        load_duration=10_000_000,
        prompt_eval_duration=20_000_000,
        eval_duration=1_000_000_000,
        context=(1, 2, 3),
    )


def test_every_query_of_the_examples_finds_something(file: Path) -> None:
    assert EXAMPLES
    for query in EXAMPLES:
        rows = _rows(file, query)
        assert any(value is not None for row in rows for value in row), query


def test_every_query_that_a_page_shows_runs(file: Path) -> None:
    for query in SHOWN:
        _rows(file, query)


def test_the_examples_and_the_hint_at_the_end_of_a_run_read_the_promised_views_alone() -> None:
    for query in (*EXAMPLES, first_query(1)):
        assert set(re.findall(r"\b(?:FROM|JOIN) (\w+)", query)) <= set(COLUMNS), query


def test_the_questions_read_the_promised_views_and_find_something_on_both_databases(
    migrated_url: str,
) -> None:
    database = open_database(migrated_url)
    _fill(database)
    fill_nights(database, now=NOW, model=KEY)
    _fill_second_batch(database)
    number_all(database)
    with database.read() as conn:
        for query in QUESTIONS:
            assert set(re.findall(r"\b(?:FROM|JOIN) (\w+)", query)) <= set(COLUMNS), query
            assert conn.execute(text(query)).all(), query
    database.close()
    assert len(QUESTIONS) == 11


def _fill_second_batch(database: Database) -> None:
    """What the first batch asked, asked of another model."""
    with database.write() as conn:
        batch, _ = create_batch(conn, key="again", name="again", source=None, now=NOW)
        conn.execute(update(batches).where(batches.c.id == batch.id).values(parent_id=1))
        other = "qwen3:8b"
        insert_jobs(conn, batch.id, [NewJob(1, "job-2", other, other, Priority.NORMAL, "Why?", {})], now=NOW)
        seal_batch(conn, batch.id, jobs=1, now=NOW)
        promote_sealed(conn, limit=100, now=NOW)
        [job] = claim_jobs(
            conn,
            host="gpu-1",
            runner_keys=[other],
            limit=9,
            token="u",
            now=NOW,
            lease_until=NOW + timedelta(minutes=1),
        )
        ending = Succeeded(_result(cut=False))
        finish_jobs(
            conn, [Finish(job.id, job.batch_id, "u", job.attempt, "gpu-1", NOW, NOW, ending)], now=NOW
        )


def test_the_examples_and_the_hint_find_something_on_both_databases(database: Database) -> None:
    _fill(database)
    with database.read() as conn:
        for query in (*EXAMPLES, first_query(1)):
            assert conn.execute(text(query)).all(), query


def _rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()
