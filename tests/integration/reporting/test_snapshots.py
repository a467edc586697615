"""The views as tables of a file: the same rows and names, of one batch or all, whole or not at all."""

import sqlite3
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import make_url, text
from typer.testing import CliRunner

from tests.integration.reporting.test_reporting_tools import filled
from tests.integration.storage.conftest import NOW, Store, new_job
from worker.cli.main import app
from worker.errors import Conflict
from worker.storage import snapshots
from worker.storage.snapshots import LEFT_OUT, snapshot
from worker.storage.view_columns import COLUMNS


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    found = filled(migrated_url)
    found.submit(new_job(1, custom_id="other", metadata={"sku": "B", "new": True}))
    found.finish(found.claim(1)[0])
    yield found
    found.database.close()


def rows_of(path: Path, query: str) -> list[Any]:
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as night:
            return night.execute(query).fetchall()
    address = f"{path.as_uri()}?mode=ro&immutable=1"
    database = sqlite3.connect(address, uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_snapshot_has_every_view_with_its_columns(store: Store, tmp_path: Path, kind: Any) -> None:
    file = tmp_path / f"night.{kind}"

    written = snapshot(store.database, file, kind=kind, now=NOW)

    assert written["report_results"] == 4
    for view, columns in COLUMNS.items():
        if view in LEFT_OUT:
            continue
        names = [row[1] for row in rows_of(file, f"PRAGMA table_info('{view}')")]
        with store.database.read() as conn:
            count = conn.scalar(text(f"SELECT count(*) FROM {view}"))
        assert names == list(columns)
        assert rows_of(file, f"SELECT count(*) FROM {view}") == [(count,)]
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith((".night", "night"))] == [file.name]


def test_values_have_the_types_that_the_page_promises(store: Store, tmp_path: Path) -> None:
    query = (
        "SELECT custom_id, cut, finished_at, day, metadata ->> 'sku', output_tokens, number FROM report_results "
        "WHERE batch = 1 AND state = 'succeeded' ORDER BY job_id"
    )
    for kind in ("sqlite", "duckdb"):
        snapshot(store.database, tmp_path / f"a.{kind}", kind=kind, now=NOW)

    assert rows_of(tmp_path / "a.sqlite", query) == [
        ("c1", 0, "2026-11-23T02:00:02.000000Z", "2026-11-23", "A1", 4, 1),
        ("c2", 0, "2026-11-23T02:00:04.000000Z", "2026-11-23", "A2", 4, 2),
    ]
    assert rows_of(tmp_path / "a.duckdb", query)[0] == (
        "c1",
        False,
        datetime(2026, 11, 23, 2, 0, 2),
        date(2026, 11, 23),
        "A1",
        4,
        1,
    )


def test_a_snapshot_of_one_batch_holds_no_text_of_another(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "two.db"

    snapshot(store.database, file, kind="sqlite", now=NOW, batch_id=store.batches[1])

    assert rows_of(file, "SELECT custom_id FROM report_results") == [("other",)]
    assert rows_of(file, "SELECT batch FROM report_batches") == [(store.batches[1],)]
    assert rows_of(file, "SELECT count(*) FROM report_failures") == [(0,)]
    assert rows_of(file, "SELECT batch, taken_at FROM report_snapshot") == [
        (store.batches[1], "2026-11-23T02:00:00.000000Z")
    ]
    assert rows_of(file, "PRAGMA journal_mode") == [("delete",)]


def test_what_was_there_stays_when_a_snapshot_breaks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "night.db"
    snapshot(store.database, file, kind="sqlite", now=NOW)
    before = file.read_bytes()
    monkeypatch.setitem(snapshots._READ, "date", lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        snapshot(store.database, file, kind="sqlite", now=NOW)

    assert file.read_bytes() == before


def test_the_database_is_not_replaced_by_its_snapshot(migrated_sqlite_url: str) -> None:
    store = filled(migrated_sqlite_url)
    file = Path(str(make_url(migrated_sqlite_url).database))

    with pytest.raises(Conflict, match="itself"):
        snapshot(store.database, file, kind="sqlite", now=NOW)

    store.database.close()


def test_the_command_writes_both_kinds_and_nothing_else_with_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    sqlite_file, duckdb_file = tmp_path / "n.db", tmp_path / "n.duckdb"

    told = CliRunner().invoke(
        app, ["results", "--to-sqlite", str(sqlite_file), "--to-duckdb", str(duckdb_file)]
    )
    wrong = CliRunner().invoke(app, ["results", "1", "--to-sqlite", str(sqlite_file), "--model", "a"])

    assert "4 results in" in told.stderr, told.output
    assert rows_of(sqlite_file, "SELECT count(*) FROM report_results") == [(4,)]
    assert rows_of(duckdb_file, "SELECT count(*) FROM report_results") == [(4,)]
    assert wrong.exit_code == 2
    assert "--to-sqlite has no effect beside --model" in wrong.output
