"""Rows of a query: as they stand, kept in a file, and never a change in the database that they come from."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner, Result

from worker.cli.main import app
from worker.documents.query_rows import keep_rows
from worker.documents.tables import open_rows
from worker.errors import InputRefused
from worker.storage.external import open_external

TABLE = "CREATE TABLE products (sku INTEGER, title VARCHAR(40), price DECIMAL(8, 2))"
ROWS = "INSERT INTO products VALUES (1, 'Red 100% cup', 12.5), (2, NULL, 3), (3, 'Tea: green', NULL)"


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with three products."""
    file = tmp_path / f"shop.{request.param}"
    if request.param == "duckdb":
        with duckdb.connect(str(file)) as shop:
            shop.execute(TABLE).execute(ROWS)
    elif request.param == "sqlite":
        with contextlib.closing(sqlite3.connect(file)) as shop:
            shop.executescript(f"{TABLE}; {ROWS}")
    else:
        url = str(request.getfixturevalue("postgres_url"))
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as conn:
            conn.execute(f"{TABLE}; {ROWS}".encode())
        yield plain
        return
    yield f"{request.param}:///{file}"


def values_of(url: str, query: str, folder: Path) -> list[Any]:
    with open_external(url, "--from-sql") as database, database.query(query) as (columns, rows):
        kept = keep_rows(columns, rows, folder, name="sql")
    return [row.values for row in open_rows(kept)]


def test_rows_have_the_columns_of_the_query_and_values_that_json_knows(source: str, tmp_path: Path) -> None:
    query = "SELECT sku, title, price AS eur FROM products WHERE title LIKE '%:%' OR sku < 3 ORDER BY sku"

    rows = values_of(source, query, tmp_path)

    assert [(row["sku"], row["title"]) for row in rows] == [(1, "Red 100% cup"), (2, None), (3, "Tea: green")]
    assert float(rows[0]["eur"]) == 12.5
    assert rows[2]["eur"] is None


def test_the_same_rows_are_the_same_file(source: str, tmp_path: Path) -> None:
    for query in ("SELECT sku FROM products ORDER BY sku", "SELECT sku FROM products ORDER BY 1"):
        values_of(source, query, tmp_path / "input")

    assert len(list((tmp_path / "input").iterdir())) == 1


@pytest.mark.parametrize("statement", ["DELETE FROM products", "DELETE FROM products RETURNING sku"])
def test_a_statement_that_changes_something_is_refused_and_changes_nothing(
    source: str, tmp_path: Path, statement: str
) -> None:
    with pytest.raises(InputRefused):
        values_of(source, statement, tmp_path)

    assert len(values_of(source, "SELECT sku FROM products", tmp_path)) == 3


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELEC sku", "SELEC"),
        ("SELECT sku, sku FROM products", "column 'sku' is there twice"),
        ("SELECT nothing FROM products", "nothing"),
    ],
)
def test_a_query_that_is_wrong_is_named_by_what_the_database_says(
    source: str, tmp_path: Path, query: str, told: str
) -> None:
    with pytest.raises(InputRefused) as caught:
        values_of(source, query, tmp_path)

    assert told in str(caught.value)
    assert not list(tmp_path.glob("sql-*"))


def test_a_query_without_rows_keeps_its_columns(source: str, tmp_path: Path) -> None:
    with open_external(source, "--from-sql") as database:
        with database.query("SELECT sku, title FROM products WHERE sku > 9") as (columns, rows):
            kept = keep_rows(columns, rows, tmp_path, name="sql")

    assert open_rows(kept).columns == ("sku", "title")
    assert list(open_rows(kept)) == []


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def submitted(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``caravan submit`` with a query of the database with three products."""
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHOP", source)
    monkeypatch.chdir(tmp_path)

    def run(query: str, *more: str) -> Result:
        asked = ("--prompt", "Praise {{ title }}.", "--id", "sku", "--model", "m:1")
        command = ("submit", "--from-sql", query, "--sql-url", "env:SHOP", *(more or asked))
        return CliRunner().invoke(app, list(command))

    return run


def test_the_same_rows_are_one_batch_and_other_rows_another(submitted: Callable[..., Result]) -> None:
    named = "SELECT sku, title FROM products WHERE title IS NOT NULL ORDER BY sku"

    first, again = submitted(named), submitted(named)
    other = submitted(f"{named} DESC")

    assert (first.stdout, again.stdout, other.stdout) == ("1\n", "1\n", "2\n")
    assert "batch 1 (sql): 2 jobs" in first.stderr
    assert "known already" in again.stderr


def test_a_query_may_stand_in_a_file(submitted: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text("SELECT sku, title\nFROM products WHERE sku = 1")

    assert "1 job;" in submitted("@query.sql").stderr


def test_a_column_that_is_missing_is_named_once(submitted: Callable[..., Result]) -> None:
    refused = submitted(
        "SELECT sku, title FROM products", "--prompt", "Praise {{ titel }}.", "--id", "SKU", "--model", "m:1"
    )

    assert refused.exit_code == 2
    assert [line for line in refused.stderr.splitlines() if "no column" in line] == [
        "caravan: --id: no column 'SKU'; did you mean 'sku'?",
        "caravan: --prompt line 1: no column 'titel'; did you mean title?",
    ]


def test_rows_that_are_wrong_are_told_by_their_number_and_may_be_skipped(
    submitted: Callable[..., Result], tmp_path: Path
) -> None:
    query = "SELECT sku, title FROM products ORDER BY sku"
    asked = ("--prompt", "{{ title }}", "--id", "sku", "--model", "m:1")

    refused = submitted(query, *asked)
    skipped = submitted(query, *asked, "--on-bad-line", "skip")

    assert "line 2" in refused.stderr
    assert "2 jobs" in skipped.stderr
    [reject] = (tmp_path / "sql.rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["input"] == {"sku": 2, "title": None}
