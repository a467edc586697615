"""Answers in a spool that nobody serves any more, and spools that a crash has damaged."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import NOW, Store, ending, new_job
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.serving.outbox import store_spools
from worker.serving.spool import Spool, spool_path
from worker.settings import load_settings
from worker.stack.embedded import embedded
from worker.storage.engine import open_database
from worker.storage.hosts import add_host
from worker.storage.migrate import upgrade


def test_whoever_starts_on_the_home_stores_what_was_left_for_a_host_that_is_gone(tmp_path: Path) -> None:
    settings = load_settings({}, home=tmp_path / "home")
    settings.home.mkdir()
    upgrade(settings.database)
    store = Store(open_database(settings.database))
    store.submit(new_job(1), new_job(2))
    jobs = store.claim()
    Spool(spool_path(settings.home, "removed:11434")).write([ending(jobs[0], host="removed:11434")])
    (settings.home / "spool" / "gpu-1_11434.jsonl").write_text("")  # the name that it had in earlier versions
    Spool(settings.home / "spool" / "gpu-1_11434.jsonl").write([ending(jobs[1])])

    with embedded(settings):
        pass

    assert store.counts() == {JobState.SUCCEEDED: 2}
    assert list((settings.home / "spool").glob("*.jsonl")) == []
    store.database.close()


def test_a_field_that_only_a_newer_version_knows_is_passed_over(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    store = Store(open_database(migrated_sqlite_url))
    store.submit(new_job(1))
    path = spool_path(tmp_path, "gpu-1")
    Spool(path).write([ending(store.claim()[0])])
    line = json.loads(path.read_text())
    line |= {"mood": "fine"}
    line["outcome"] |= {"colour": "red"}
    line["outcome"]["result"] |= {"energy_joules": 7}
    path.write_text(json.dumps(line) + "\n")

    assert store_spools(store.database, tmp_path, clock=store.database.clock()) == 1
    store.database.close()


def test_an_answer_after_a_line_torn_inside_a_sign_is_kept_as_well(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    store = Store(open_database(migrated_sqlite_url))
    store.submit(new_job(1), new_job(2))
    one, two = store.claim()
    path = spool_path(tmp_path, "gpu-1")
    Spool(path).write([ending(one)])
    with path.open("ab") as file:
        file.write('{"answer": "天'.encode()[:-1])
    Spool(path).write([ending(two)])

    assert store_spools(store.database, tmp_path, clock=store.database.clock()) == 2
    store.database.close()


@pytest.mark.parametrize("torn", ['{"job_id": 16777217, "bat', "\0" * 200, '{"kind": "Nothing"}', "[]", "7"])
def test_a_line_that_a_crash_has_torn_costs_nothing_but_itself(
    migrated_sqlite_url: str, tmp_path: Path, torn: str
) -> None:
    store = Store(open_database(migrated_sqlite_url))
    with store.database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)
    store.submit(new_job(1))
    path = spool_path(tmp_path, "gpu-1")
    Spool(path).write([ending(store.claim()[0])])
    with path.open("a") as file:
        file.write(torn)

    accepted = store_spools(store.database, tmp_path, clock=store.database.clock())

    assert accepted == 1
    assert store.counts() == {JobState.SUCCEEDED: 1}
    with store.database.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM results")) == 1
    store.database.close()
