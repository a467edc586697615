"""Saved, brought back, moved: of either kind into either kind."""

import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import NOW, Store, new_job
from worker.domain.attempts import Failed, Held
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.errors import Code, Conflict, NotFound, SchemaOutdated
from worker.settings import load_settings
from worker.stack import moving
from worker.stack.moving import move
from worker.storage import copy
from worker.storage.backup import MOST_COPIES, back_up, restore
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host
from worker.storage.migrate import HEAD, bring_up_to_date, revision, upgrade


def filled(url: str, jobs: int = 30) -> Store:
    """Two batches with jobs in every state."""
    store = Store(open_database(url))
    with store.database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434", 2), now=NOW)
    for _ in range(2):
        store.submit(*(new_job(n, metadata={"n": n}) for n in range(1, jobs + 1)))
        claimed = store.claim(limit=jobs // 2)
        store.finish(claimed[0], Failed(Code.CONTEXT_OVERFLOW, "天空"))
        store.finish(claimed[1], Held(Code.RUNNER_DIED, "three times"))
        for job in claimed[2:-2]:
            store.finish(job)
    return store


def rows(database: Database) -> dict[str, int]:
    with database.read() as conn:
        return {
            table.name: int(conn.scalar(text(f"SELECT count(*) FROM {table.name}")) or 0)
            for table in copy.copied_tables()
        }


@pytest.fixture(params=["sqlite", "postgres"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A second database at the newest revision."""
    if request.param == "postgres":
        return str(request.getfixturevalue("migrated_postgres_url"))
    from worker.storage.migrate import upgrade

    url = f"sqlite:///{tmp_path / 'other.db'}"
    upgrade(url)
    return url


def test_a_backup_of_either_kind_is_a_file_that_is_restored_into_either_kind(
    migrated_sqlite_url: str, other_url: str, tmp_path: Path
) -> None:
    source = filled(migrated_sqlite_url)
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "gpu-1.jsonl").write_text("{}\n")
    file, back = tmp_path / "night.db", tmp_path / "back"

    back_up(source.database, file, spool=spool)
    target = open_database(other_url)
    checked = restore(file, target, spool=back, now=NOW + timedelta(days=1))
    second = tmp_path / "again.db"
    back_up(target, second, spool=back)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in checked if one.broken] == []
    assert rows(target)["results"] == rows(source.database)["results"] == 24
    assert (back / "gpu-1.jsonl").read_text() == "{}\n"
    with sqlite3.connect(second) as saved:
        assert saved.execute("SELECT count(*) FROM jobs").fetchone() == (60,)
    saved.close()
    with target.read() as conn:
        states = {row.state for row in conn.execute(text("SELECT DISTINCT state FROM jobs"))}
        losses = conn.scalar(text("SELECT max(losses) FROM jobs"))
    assert "running" not in states, "what ran when it was saved runs no more"
    assert losses == 0, "no worker died of it"
    target.close()
    source.database.close()


def test_a_backup_is_never_written_over_by_accident_and_a_full_database_is_not_restored_into(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    source = filled(migrated_sqlite_url)
    file = tmp_path / "night.db"
    back_up(source.database, file, spool=tmp_path / "none")

    with pytest.raises(Conflict, match="--force"):
        back_up(source.database, file, spool=tmp_path / "none")
    with pytest.raises(Conflict, match="--force"):
        restore(file, source.database, spool=tmp_path / "none", now=NOW)
    with pytest.raises(NotFound):
        restore(tmp_path / "nothing.db", source.database, spool=tmp_path / "none", now=NOW)
    checked = restore(file, source.database, spool=tmp_path / "none", now=NOW, force=True)

    assert not any(one.broken for one in checked)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    source.database.close()


def test_a_home_moves_to_a_fleet_with_its_ids_and_goes_on_where_it_was_stopped(
    migrated_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({}, home=tmp_path / "home")
    settings.home.mkdir()
    upgrade(settings.database)
    source = filled(settings.database, jobs=100)
    monkeypatch.setattr(copy, "CHUNK", 50)
    monkeypatch.setattr(moving, "EVERY", 50)
    said: list[str] = []

    def dies(line: str) -> None:
        said.append(line)
        if line.startswith("payloads: 100"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(settings, migrated_postgres_url, report=dies)
    checked = move(settings, migrated_postgres_url, report=said.append)

    target = open_database(migrated_postgres_url)
    assert not any(one.broken for one in checked)
    assert rows(target) == rows(source.database)
    with target.read() as conn:
        assert (
            conn.scalar(text("SELECT answer FROM results WHERE error_code IS NULL LIMIT 1")) == "天空 is blue"
        )
    moved = Store(target)
    assert moved.submit(new_job(1)) == 3, "the sequences go on behind what was copied"
    assert moved.counts() == {JobState.QUEUED: 1}
    with pytest.raises(Conflict, match="holds jobs or hosts already"):
        move(settings, migrated_postgres_url, report=said.append)
    target.close()
    source.database.close()


def test_a_file_is_saved_before_its_schema_is_upgraded_and_the_last_three_stay(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from alembic import command
    from alembic.config import Config

    from worker.storage.migrate import scripts

    backups = tmp_path / "backups"
    database = open_database(sqlite_url)
    for turn in range(MOST_COPIES + 2):
        with database.write() as conn:
            config = Config()
            config.set_main_option("script_location", str(scripts()))
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            command.downgrade(config, "0003")
        bring_up_to_date(database, backups=backups, now=NOW + timedelta(minutes=turn))

    assert revision(sqlite_url) == HEAD
    saved = sorted(backups.iterdir())
    assert len(saved) == MOST_COPIES
    assert all(revision(f"sqlite:///{one}") == "0003" for one in saved)
    assert "database.backed_up" in caplog.text
    database.close()


def test_an_older_postgresql_is_left_to_the_command_that_upgrades_it(
    migrated_postgres_url: str, tmp_path: Path
) -> None:
    database = open_database(migrated_postgres_url)
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0003'"))

    with closing(database), pytest.raises(SchemaOutdated, match="caravan db upgrade"):
        bring_up_to_date(database, backups=tmp_path, now=NOW)
