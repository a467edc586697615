"""What is wrong with a database is said in our own words, and a defect of ours is not mistaken for it."""

import os
import stat
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from tests.integration.storage.conftest import NOW, new_job
from worker.errors import (
    DatabaseContended,
    DatabaseFailure,
    DatabaseRefused,
    DatabaseUnavailable,
    SchemaOutdated,
    SettingsRefused,
)
from worker.storage import engine
from worker.storage.batches import create_batch
from worker.storage.counts import batch_counts
from worker.storage.engine import Connection, Database, database_url, open_database
from worker.storage.jobs import insert_jobs
from worker.storage.migrate import revision, upgrade


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("/data/caravan.db", "sqlite:////data/caravan.db"),
        ("data/odd?name%20.db", "data/odd?name%20.db"),
        ("sqlite:///caravan.db", "sqlite:///caravan.db"),
        ("sqlite+aiosqlite:///caravan.db", "sqlite:///caravan.db"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u@h:5433/d", "postgresql+psycopg://u@h:5433/d"),
    ],
)
def test_a_url_gets_its_driver_and_a_path_is_a_file(url: str, full: str) -> None:
    parsed = database_url(url)

    assert full in (parsed.render_as_string(), parsed.database)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", ":memory:", "mysql://u@h/d", "postgresql://h:port/d", "http//x://"],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(SettingsRefused, match="expected"):
        open_database(url)


def test_a_new_file_and_its_new_folder_belong_to_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "caravan.db"

    upgrade(str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and no database at all; " * 100)

    with pytest.raises(DatabaseRefused, match="file is not a database"):
        revision(str(path))


@pytest.mark.fault(12)
def test_a_full_disk_is_said_to_be_full_and_costs_only_what_was_not_committed(
    migrated_sqlite_url: str,
) -> None:
    database = open_database(migrated_sqlite_url)
    with database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1)], now=NOW)

    with pytest.raises(DatabaseUnavailable, match="full"), database.write() as conn:
        pages = conn.execute(text("PRAGMA page_count")).scalar_one()
        conn.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
        insert_jobs(conn, batch.id, [new_job(seq, prompt="x" * 9000) for seq in range(2, 90)], now=NOW)

    with database.write() as conn:
        conn.execute(text("PRAGMA max_page_count = 1000000"))
        insert_jobs(conn, batch.id, [new_job(2)], now=NOW)
        assert sum(batch_counts(conn, batch.id).values()) == 2
    database.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to what is read-only")
def test_a_file_that_may_only_be_read_is_said_to_be_read_only(migrated_sqlite_url: str) -> None:
    database = open_database(migrated_sqlite_url)
    Path(database.url.database or "").chmod(0o400)

    with pytest.raises(DatabaseRefused, match="readonly"), database.write() as conn:
        conn.execute(text("DELETE FROM served"))

    database.close()


@pytest.mark.fault(32)
def test_a_column_of_a_newer_version_asks_for_the_upgrade(database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="caravan db upgrade"), database.read() as conn:
        conn.execute(text("SELECT mood FROM jobs"))


def test_a_defect_in_a_statement_is_no_trouble_of_the_database(database: Database) -> None:
    with pytest.raises((OperationalError, ProgrammingError), match="syntax"), database.read() as conn:
        conn.execute(text("SELEKT 1"))


def test_one_may_not_read_what_belongs_to_somebody_else(migrated_postgres_url: str) -> None:
    database = open_database(migrated_postgres_url)

    with pytest.raises(DatabaseRefused, match="permission denied"), database.write() as conn:
        conn.execute(text("CREATE ROLE nobody_here"))
        conn.execute(text("SET LOCAL ROLE nobody_here"))
        conn.execute(text("SELECT * FROM jobs"))

    database.close()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", DatabaseContended),
        ("40P01", DatabaseContended),
        ("55P03", DatabaseContended),
        ("57014", DatabaseRefused),
        ("53300", DatabaseRefused),
        ("42501", DatabaseRefused),
        ("25006", DatabaseUnavailable),
        ("53100", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("58030", DatabaseUnavailable),
    ],
)
def test_the_sqlstate_says_whether_to_wait_to_try_again_or_to_mend(
    migrated_postgres_url: str, state: str, kind: type[DatabaseFailure]
) -> None:
    database = open_database(migrated_postgres_url)

    with pytest.raises(DatabaseFailure) as caught, database.write() as conn:
        conn.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"))

    assert type(caught.value) is kind
    assert caught.value.advice
    database.close()


def test_what_is_too_large_for_any_statement_is_a_defect(migrated_postgres_url: str) -> None:
    database = open_database(migrated_postgres_url)

    with pytest.raises(OperationalError), database.write() as conn:
        conn.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '54000'; END $$"))

    database.close()


def test_a_statement_that_took_too_long_is_named_by_the_function_that_sent_it(
    migrated_postgres_url: str,
) -> None:
    database = open_database(migrated_postgres_url)

    with database.write() as holder, pytest.raises(DatabaseRefused) as caught, database.read() as conn:
        holder.execute(text("LOCK TABLE counts IN ACCESS EXCLUSIVE MODE"))
        conn.execute(text("SET LOCAL statement_timeout = 20"))
        batch_counts(conn, 1)

    assert "storage.counts.batch_counts" in str(caught.value)
    assert "statement_timeout" in str(caught.value)
    database.close()


def test_a_transaction_that_met_another_one_is_begun_again_at_once(migrated_postgres_url: str) -> None:
    holder, database = open_database(migrated_postgres_url), open_database(migrated_postgres_url)
    begun = []

    with holder.write() as first:
        first.execute(text("UPDATE fleet SET id = 1"))

        def work(conn: Connection) -> int:
            begun.append(conn)
            if len(begun) == 3:
                first.rollback()
            conn.execute(text("SET LOCAL lock_timeout = 20"))
            return conn.execute(text("UPDATE fleet SET id = 1")).rowcount

        assert database.transact(work) == 1

    assert len(begun) == 3
    holder.close()
    database.close()


def test_a_busy_file_is_tried_again_at_once(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = open_database(migrated_sqlite_url)
    database = open_database(migrated_sqlite_url, busy_seconds=0.02)
    begin, begun = database.write, []

    with holder.write() as first:

        def write() -> AbstractContextManager[Connection]:
            begun.append(1)
            if len(begun) == 3:
                first.rollback()
            return begin()

        monkeypatch.setattr(database, "write", write)
        assert database.transact(lambda conn: conn.execute(text("UPDATE fleet SET id = 1")).rowcount) == 1

    assert len(begun) == 3
    holder.close()
    database.close()


def test_a_transaction_that_always_meets_another_one_is_given_up_after_three_tries(
    migrated_url: str,
) -> None:
    database, begun = open_database(migrated_url), []

    def work(conn: Connection) -> None:
        begun.append(conn)
        raise DatabaseContended("deadlock")

    with pytest.raises(DatabaseContended):
        database.transact(work)

    assert len(begun) == 3
    database.close()


def test_a_password_is_masked_wherever_it_stands_in_the_url() -> None:
    database = open_database("postgresql://127.0.0.1:9/none?user=caravan&password=secret")

    with pytest.raises(DatabaseUnavailable, match="refused") as caught, database.read():
        pass

    assert "secret" not in str(caught.value)


@pytest.mark.fault(29)
def test_the_clock_shows_the_databases_time_and_goes_on_while_it_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = database.clock()
    shown = clock.now()
    assert abs(shown - datetime.now(UTC)) < timedelta(seconds=5)

    def away(self: object) -> object:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(engine, "REANCHOR_SECONDS", -1.0)
    monkeypatch.setattr(engine.Database, "read", away)

    assert timedelta(0) <= clock.now() - shown < timedelta(seconds=5)


@pytest.mark.fault(33)
def test_a_forked_child_opens_connections_of_its_own(migrated_postgres_url: str) -> None:
    database = open_database(migrated_postgres_url)
    query = text("SELECT pg_backend_pid()")
    with database.read() as conn:
        mine, parents = conn.scalar(query), conn.connection.driver_connection

    database.after_fork()
    with database.read() as conn:
        theirs = conn.scalar(query)

    assert mine != theirs
    assert parents is not None and not parents.closed
    parents.close()
    database.close()
