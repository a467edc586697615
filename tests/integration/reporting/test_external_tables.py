"""Results in a table of somebody else's database: each once, by its number, with the columns of Parquet."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from tests.integration.storage.conftest import Store, new_job
from worker.cli.main import app
from worker.domain.attempts import Failed
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.exports.external_table import Appended, append_results
from worker.exports.files import ResultWriter
from worker.storage.engine import open_database
from worker.storage.external import Kind, SqlDatabase, open_external


@pytest.fixture
def store(migrated_sqlite_url: str) -> Iterator[Store]:
    """A batch: two answered, one failed, one waiting."""
    found = Store(open_database(migrated_sqlite_url))
    found.submit(*(new_job(n, metadata={"sku": f"A{n}"}) for n in range(1, 5)))
    first, second, third = found.claim(3)
    found.finish(first)
    found.finish(second)
    found.finish(third, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens"))
    yield found
    found.database.close()


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    file = tmp_path / f"theirs.{request.param}"
    if request.param == "sqlite":
        file.touch()
    return f"{request.param}:///{file}"


def rows_of(url: str, query: str) -> list[Any]:
    path = url.partition(":///")[2]
    if url.startswith("duckdb"):
        with duckdb.connect(path, read_only=True) as theirs:
            return theirs.execute(query).fetchall()
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as theirs:
            return theirs.execute(query).fetchall()
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as conn:
        return conn.execute(query.encode()).fetchall()


def append(store: Store, url: str, table: str = "answers", **fields: Any) -> Appended:
    with open_external(url, "--to-table") as there:
        return append_results(store.database, Selection(**fields), there, table)


def test_results_are_appended_once_and_new_ones_later(store: Store, target: str) -> None:
    first = append(store, target, batch_id=1)
    again = append(store, target, batch_id=1)
    store.finish(store.claim()[0])
    later = append(store, target, batch_id=1)

    assert (first, again, later) == (
        Appended(3, 0, created=True),
        Appended(0, 3, created=False),
        Appended(1, 3, created=False),
    )
    query = "SELECT number, custom_id, state, sku, error_code FROM answers ORDER BY number"
    assert rows_of(target, query) == [
        (1, "c1", "succeeded", "A1", None),
        (2, "c2", "succeeded", "A2", None),
        (3, "c3", "failed", "A3", "context_overflow"),
        (4, "c4", "succeeded", "A4", None),
    ]


def test_the_values_are_those_of_parquet(store: Store, target: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.parquet"
    ResultWriter(store.database, Selection(1)).file(file)
    append(store, target, batch_id=1)

    with duckdb.connect() as memory:
        names = [row[0] for row in memory.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()]
        each = ", ".join(f'"{name}"' for name in names if not name.endswith("_at"))
        expected = memory.execute(f"SELECT {each} FROM '{file}' WHERE finished_at IS NOT NULL").fetchall()
    found = rows_of(target, f"SELECT {each} FROM answers ORDER BY number")
    assert {"sku", "answer", "parsed", "metadata"} <= set(names)
    assert [tuple(row) for row in found] == expected
    [(ended,)] = rows_of(target, "SELECT finished_at FROM answers WHERE number = 1")
    assert datetime.fromisoformat(str(ended)).strftime("%H:%M") == "02:00"


def test_results_that_another_selection_left_out_are_appended_behind_it(store: Store, target: str) -> None:
    append(store, target, batch_id=1, codes=frozenset({"context_overflow"}))

    whole = append(store, target, batch_id=1)

    assert (whole.rows, whole.there) == (2, 1)
    assert rows_of(target, "SELECT count(DISTINCT number), count(*) FROM answers") == [(3, 3)]


def test_several_batches_share_a_table_in_which_metadata_holds_what_is_their_own(
    store: Store, target: str
) -> None:
    store.submit(new_job(1, custom_id="other", metadata={"colour": "red"}))
    for job in store.claim():
        store.finish(job)

    append(store, target)
    append(store, target, batch_id=2)

    assert rows_of(target, "SELECT custom_id, metadata FROM answers WHERE batch = 2") == [
        ("other", '{"colour": "red"}')
    ]


def test_a_table_without_a_column_or_of_another_type_is_refused_by_name(store: Store, target: str) -> None:
    with open_external(target, "--to-table") as there:
        there.create("theirs", {"number": "integer", "custom_id": "integer"})

    with pytest.raises(InputRefused) as caught:
        append(store, target, "theirs", batch_id=1)

    assert "lacks prompt, sku, state, model, answer" in str(caught.value)
    assert "custom_id (integer, not text)" in str(caught.value)
    assert rows_of(target, "SELECT count(*) FROM theirs") == [(0,)]


def test_two_commands_at_once_append_each_result_once(
    store: Store, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, target, batch_id=1, codes=frozenset({"context_overflow"}))
    with open_external(target, "--to-table") as there:
        kind = type(there)
        before = kind.numbers
        looks: list[int] = []

        def blind_at_first(self: Any, table: str, first: int, last: int) -> frozenset[int]:
            looks.append(first)
            return frozenset() if len(looks) == 1 else before(self, table, first, last)

        monkeypatch.setattr(kind, "numbers", blind_at_first)
        done = append_results(store.database, Selection(batch_id=1), there, "answers")

    assert done.rows == 2
    assert rows_of(target, "SELECT count(DISTINCT number), count(*) FROM answers") == [(3, 3)]


def test_an_append_that_fails_leaves_nothing_of_its_page(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "theirs.db"
    file.touch()
    before = SqlDatabase.append

    def cut(
        self: SqlDatabase, table: str, columns: Mapping[str, Kind], rows: Sequence[Sequence[Any]]
    ) -> bool:
        broken = [*rows[:-1], [rows[-1][0], *[object()] * (len(columns) - 1)]]
        return before(self, table, columns, broken)

    monkeypatch.setattr(SqlDatabase, "append", cut)
    with pytest.raises(InputRefused, match=r"theirs\.db"):
        append(store, f"sqlite:///{file}", batch_id=1)

    assert rows_of(f"sqlite:///{file}", "SELECT count(*) FROM answers") == [(0,)]


def test_the_command_appends_and_says_how_many(
    store: Store, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("THEIRS", target)
    command = ["results", "1", "--to-table", "answers", "--sql-url", "env:THEIRS"]

    first, again = (CliRunner().invoke(app, command) for _ in range(2))

    assert "3 results written to the new table answers" in first.output
    assert "0 results appended to the table answers; it had 3 already" in again.output


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:secret@db/theirs", "a password in a command can be read by others"),
        ("env:NO_SUCH_VARIABLE", "that variable is not set here"),
        ("sqlite:////no/such/file.db", "no such file"),
        ("nonsense", "is not a URL"),
        ("oracle9://db/x", "SQLAlchemy knows no database 'oracle9'"),
        ("mysql://me@db/x", "the driver is not installed"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))

    result = CliRunner().invoke(app, ["results", "1", "--to-table", "answers", "--sql-url", url])

    shown = " ".join((result.output + str(result.exception or "")).split())
    assert result.exit_code != 0
    assert told in shown
    assert "secret" not in shown
