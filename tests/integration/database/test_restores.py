"""What a restore and a move must not destroy: the data that is there, for a file or a target that is wrong."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update

from tests.integration.database.test_backups import filled, rows
from tests.integration.storage.conftest import NOW
from worker.errors import CaravanError, Conflict, SchemaOutdated
from worker.settings import load_settings
from worker.stack.moving import move
from worker.storage import backup, copy
from worker.storage.backup import back_up, before_upgrade, restore
from worker.storage.engine import open_database
from worker.storage.migrate import HEAD, bring_up_to_date, revision, upgrade
from worker.storage.tables import hosts

LATER = NOW + timedelta(days=1)


def garbage(file: Path) -> None:
    file.write_text("not a database at all\n" * 100)


def of_something_else(file: Path) -> None:
    with closing(sqlite3.connect(file)) as conn, conn:
        conn.execute("CREATE TABLE films (title TEXT)")


def of_a_newer_version(file: Path) -> None:
    upgrade(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("written", "refused", "said"),
    [
        (garbage, Conflict, "is not a backup of Caravan"),
        (of_something_else, Conflict, "is not a backup of Caravan"),
        (of_a_newer_version, SchemaOutdated, "wrong.db is at revision 9999"),
    ],
)
def test_a_wrong_file_deletes_nothing_even_with_force(
    migrated_sqlite_url: str,
    tmp_path: Path,
    written: Callable[[Path], None],
    refused: type[CaravanError],
    said: str,
) -> None:
    store = filled(migrated_sqlite_url)
    before = rows(store.database)
    wrong = tmp_path / "wrong.db"
    written(wrong)

    with pytest.raises(refused, match=said):
        restore(wrong, store.database, spool=tmp_path / "spool", now=LATER, force=True)

    assert rows(store.database) == before
    store.database.close()


def test_a_file_that_was_saved_before_an_upgrade_is_restored_too(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(migrated_sqlite_url)
    before = rows(store.database)
    saved = before_upgrade(
        Path(str(store.database.url.database)), tmp_path / "backups", revision=HEAD, now=NOW
    )

    checked = restore(saved, store.database, spool=tmp_path / "spool", now=LATER, force=True)

    assert [one.name for one in checked if one.broken] == []
    assert rows(store.database)["results"] == before["results"]
    store.database.close()


def test_a_folder_with_signs_of_an_address_in_its_name_is_saved_and_not_another(tmp_path: Path) -> None:
    folder = tmp_path / "50% #1"
    folder.mkdir()
    store = filled(f"sqlite:///{_at_head(folder / 'caravan.db')}")

    back_up(store.database, tmp_path / "night.db", spool=tmp_path / "none")

    with closing(sqlite3.connect(tmp_path / "night.db")) as saved:
        assert saved.execute("SELECT count(*) FROM jobs").fetchone() == (60,)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("50%")] == ["50% #1"]
    store.database.close()


def test_an_answer_that_is_stored_while_a_backup_is_made_is_in_it(
    migrated_sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(migrated_sqlite_url)
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "gpu-1.jsonl").write_text('{"answer": "stored meanwhile"}\n')
    snapshot = backup._snapshot

    def and_then_the_spool_is_emptied(source: Path, target: Path) -> None:
        snapshot(source, target)
        (spool / "gpu-1.jsonl").unlink()

    monkeypatch.setattr(backup, "_snapshot", and_then_the_spool_is_emptied)
    back_up(store.database, tmp_path / "night.db", spool=spool)

    with closing(sqlite3.connect(tmp_path / "night.db")) as saved:
        assert saved.execute("SELECT name FROM spool_files").fetchall() == [("gpu-1.jsonl",)]
    store.database.close()


def test_answers_that_lie_in_the_spool_outlive_a_restore(migrated_sqlite_url: str, tmp_path: Path) -> None:
    store = filled(migrated_sqlite_url)
    spool = tmp_path / "spool"
    spool.mkdir()
    lines = spool / "gpu-1.jsonl"
    lines.write_text('{"n": 1}\n')
    back_up(store.database, tmp_path / "night.db", spool=spool)
    lines.write_text('{"n": 2}\n')

    for _ in range(2):
        restore(tmp_path / "night.db", store.database, spool=spool, now=LATER, force=True)

    assert lines.read_text() == '{"n": 1}\n{"n": 2}\n', "and none is there twice"
    store.database.close()


def test_a_copy_goes_on_only_by_keys_that_both_databases_put_in_one_order() -> None:
    going_on = {table.name for table in copy.copied_tables() if copy._goes_on(table)}

    assert {"jobs", "payloads", "attempts", "results", "batches"} <= going_on
    assert not {"counts", "served", "paces", "hosts"} & going_on


def test_a_move_into_an_older_fleet_leaves_its_schema_alone(
    migrated_postgres_url: str, tmp_path: Path
) -> None:
    settings = load_settings({}, home=tmp_path / "home")
    settings.home.mkdir()
    target = open_database(migrated_postgres_url)
    with target.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0004'"))

    with pytest.raises(SchemaOutdated, match="caravan db upgrade"):
        move(settings, migrated_postgres_url, report=lambda line: None)

    assert revision(migrated_postgres_url) == "0004"
    target.close()


def test_a_fleet_at_work_is_not_moved_and_keeps_its_leases(
    migrated_postgres_url: str, tmp_path: Path
) -> None:
    settings = load_settings({"CARAVAN_DATABASE_URL": migrated_postgres_url}, home=tmp_path / "home")
    settings.home.mkdir()
    store = filled(migrated_postgres_url)
    with store.database.write() as conn:
        serving = store.database.clock().now() + timedelta(hours=1)
        conn.execute(update(hosts).values(serving_token="t", serving_until=serving))
    before = store.counts()

    with pytest.raises(Conflict, match="gpu-1 is being served"):
        move(settings, f"sqlite:///{_at_head(tmp_path / 'other.db')}", report=lambda line: None)

    assert store.counts() == before
    store.database.close()


def _at_head(file: Path) -> Path:
    with closing(open_database(f"sqlite:///{file}")) as database:
        bring_up_to_date(database, backups=file.parent / "backups", now=NOW)
    return file
