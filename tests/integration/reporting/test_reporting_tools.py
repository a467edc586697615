"""The report views as the tools of docs/howto/reporting.md read them."""

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from tests.integration.storage.conftest import NOW, Store, new_job
from tests.repo.docs.pages import DOCS, blocks
from worker.domain.attempts import Failed
from worker.domain.hosts import Host
from worker.errors import Code, SettingsRefused
from worker.maintenance.number import number_all
from worker.storage.engine import open_database
from worker.storage.hosts import add_host
from worker.storage.reader import grant_reader
from worker.storage.runs import loaded_run, open_run
from worker.storage.snapshots import snapshot
from worker.storage.view_columns import COLUMNS

PAGE = DOCS / "howto/reporting.md"


def filled(url: str) -> Store:
    """An open batch: two answered, one failed, one waiting."""
    database = open_database(url)
    store = Store(database)
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434", 2), now=NOW)
        run = open_run(conn, host="gpu-1", runner_key="qwen3:8b", reason="normal", now=NOW)
        loaded_run(conn, run, load_time=timedelta(seconds=4))
    store.submit(*(new_job(n, metadata={"sku": f"A{n}"}) for n in range(1, 5)))
    one, two, three, _ = store.claim()
    store.later(2)
    store.finish(one)
    store.later(2)
    store.finish(two)
    store.finish(three, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens"))
    number_all(database)
    return store


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    found = filled(migrated_url)
    yield found
    found.database.close()


PROMISED = {
    "integer": {"integer", "bigint"},
    "number": {"double precision"},
    "text": {"text", "character varying"},
    "time": {"timestamp with time zone"},
    "date": {"date"},
    "boolean": {"boolean"},
    "json": {"jsonb"},
    "vector": {"bytea"},
}
"""Type of docs/howto/reporting.md → types of PostgreSQL."""


@pytest.mark.parametrize("view", list(COLUMNS))
def test_the_columns_of_a_view_have_the_types_that_are_promised(
    migrated_postgres_url: str, view: str
) -> None:
    database = open_database(migrated_postgres_url)
    with database.read() as conn:
        rows = conn.execute(
            text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :view"),
            {"view": view},
        ).all()
    database.close()

    types: dict[str, str] = {row.column_name: row.data_type for row in rows}
    wrong = {
        name: f"{types[name]} for {type_}"
        for name, (type_, _) in COLUMNS[view].items()
        if types[name] not in PROMISED[type_]
    }
    assert wrong == {}


@pytest.mark.parametrize("view", list(COLUMNS))
def test_a_view_has_the_columns_that_are_promised(store: Store, view: str) -> None:
    with store.database.read() as conn:
        assert list(conn.execute(text(f"SELECT * FROM {view}")).keys()) == list(COLUMNS[view])


def test_the_python_examples_of_the_page_run(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = filled(migrated_sqlite_url)
    folder = Path(str(make_url(migrated_sqlite_url).database)).parent
    snapshot(store.database, folder / "night.db", kind="sqlite", now=NOW)
    store.database.close()
    monkeypatch.chdir(folder)

    for block in blocks(PAGE, "python"):
        if "duckdb" not in block.text:
            exec(compile(block.text, block.place, "exec"), {})

    told = capsys.readouterr().out
    assert "qwen3:8b    2.0" in told
    assert "[('qwen3:8b', 3)]" in told


def test_duckdb_reads_what_pandas_read(migrated_sqlite_url: str) -> None:
    """Without its SQLite extension, which it would have to download: the same rows by way of Arrow."""
    import duckdb
    import pandas as pd

    store = filled(migrated_sqlite_url)
    store.database.close()
    import sqlite3

    path = make_url(migrated_sqlite_url).database
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        answers = pd.read_sql("SELECT * FROM report_results", database)  # noqa: F841 (duckdb reads it by its name)
    database.close()

    found = duckdb.sql("SELECT model, count(*) AS n, sum(output_tokens) AS t FROM answers GROUP BY model")

    assert found is not None
    assert found.fetchall() == [("qwen3:8b", 3, 8.0)]


def test_psql_reads_the_views_as_a_role_that_may_do_nothing_else(migrated_postgres_url: str) -> None:
    store = filled(migrated_postgres_url)
    with store.database.write() as conn:
        grant_reader(conn, "night_reader", password="it's 100% secret", timeout_seconds=7)
        grant_reader(conn, "night_reader", password=None, timeout_seconds=7)
    role = make_url(migrated_postgres_url).set(username="night_reader", password="it's 100% secret")

    def psql(command: str) -> "subprocess.CompletedProcess[str]":
        url = role.set(drivername="postgresql").render_as_string(hide_password=False)
        return subprocess.run(
            ["psql", "-At", url, "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )

    try:
        read = psql("SELECT batch_name, progress FROM report_batches WHERE state = 'open'")
        timeout = psql("SHOW statement_timeout")
        tables = psql("SELECT count(*) FROM jobs")
        writes = psql("DELETE FROM report_runs")
    finally:
        store.database.close()

    assert read.stdout.strip() == "b|0.75", read.stderr
    assert timeout.stdout.strip() == "7s"
    assert "permission denied" in tables.stderr
    assert "read-only transaction" in writes.stderr or "permission denied" in writes.stderr


def test_a_file_has_no_roles(migrated_sqlite_url: str) -> None:
    database = open_database(migrated_sqlite_url)

    with pytest.raises(SettingsRefused, match="--to-sqlite"), database.write() as conn:
        grant_reader(conn, "reader", password=None)

    database.close()
