"""``caravan db check``: what breaks a promise is found, and nothing else is."""

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import insert, make_url, text
from typer.testing import CliRunner

from tests.integration.storage.conftest import NOW, Store, new_job
from worker.cli.main import app
from worker.domain.attempts import Failed, Held
from worker.domain.hosts import Host
from worker.domain.schedules import FiringState, ScheduleSpec
from worker.errors import Code
from worker.storage.batches import finish_batches
from worker.storage.check import INVARIANTS, check_database
from worker.storage.counts import fold_counts
from worker.storage.engine import Database
from worker.storage.firings import open_firing
from worker.storage.hosts import add_host
from worker.storage.schedules import add_schedule
from worker.storage.tables.schedules import schedule_answers, schedule_documents


@pytest.fixture
def store(database: Database) -> Store:
    """One of each kind: answered, failed, held, running, queued, and a finished batch."""
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)
    store = Store(database)
    store.submit(new_job(1))
    [first] = store.claim()
    store.finish(first)
    with database.write() as conn:
        schedule = add_schedule(conn, "nightly", ScheduleSpec("0 2 * * *"), next_at=None, now=NOW)
        open_firing(conn, schedule, NOW, state=FiringState.SKIPPED, now=NOW)
        of = {"schedule_id": schedule.id, "custom_id": "a.txt", "model": "qwen3:8b"}
        seen = {"path": "/a.txt", "firing_id": 1, "change": "new", "first_seen_at": NOW, "last_seen_at": NOW}
        conn.execute(insert(schedule_documents).values(**of, **seen, answered_job=first.id))
        conn.execute(insert(schedule_answers).values(**of, job_id=first.id, answer="Yes."))
    with database.write() as conn:
        finish_batches(conn, now=NOW)
        fold_counts(conn)
    store.submit(*(new_job(n) for n in range(1, 6)))
    one, two, three, _ = store.claim(limit=4)
    store.finish(one)
    store.finish(two, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens"))
    store.finish(three, Held(Code.RUNNER_DIED, "three times"))
    return store


def broken(store: Store) -> dict[str, int]:
    return {one.name: one.broken for one in check_database(store.database, now=store.now) if one.broken}


def test_a_database_in_order_breaks_no_promise(store: Store) -> None:
    assert broken(store) == {}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("UPDATE counts SET jobs = jobs + 1", "states"),
        ("UPDATE jobs SET priority = 0 WHERE state = 'queued'", "states"),
        ("UPDATE batches SET jobs = jobs + 1", "batches"),
        ("UPDATE jobs SET state = 'queued', finished_at = NULL WHERE batch_id = 1", "finished"),
        ("DELETE FROM results WHERE batch_id = 1", "answered"),
        ("UPDATE results SET batch_id = 2 WHERE batch_id = 1", "results"),
        ("DELETE FROM fresh_results", "numbers"),
        ("DELETE FROM payloads", "payloads"),
        ("UPDATE attempts SET attempt = attempt + 7", "attempts"),
        ("UPDATE jobs SET hold_code = 'bad_luck' WHERE state = 'held'", "codes"),
        ("UPDATE results SET error_code = 'bad_luck' WHERE state = 'failed'", "codes"),
        ("UPDATE jobs SET attempt = 9, charged = 9", "charges"),
        ("DELETE FROM schedule_answers", "documents"),
        ("UPDATE firings SET token = 'x', token_until = ended_at", "firings"),
        ("UPDATE batches SET pruned_at = created_at", "pruned"),
        ("UPDATE jobs SET state = 'waiting' WHERE state = 'queued'", "waiting"),
    ],
)
def test_what_breaks_a_promise_is_found(store: Store, change: str, name: str) -> None:
    with store.database.write() as conn:
        conn.execute(text(change))

    assert broken(store).get(name)


def test_a_lease_that_nobody_rescued_is_found(store: Store) -> None:
    store.now += timedelta(seconds=90) + timedelta(minutes=2, seconds=1)

    assert broken(store) == {"leases": 1}


def test_every_promise_but_that_of_leases_was_seen_to_be_broken() -> None:
    [marks] = [
        mark
        for mark in test_what_breaks_a_promise_is_found.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    ]
    assert {name for _, name in marks.args[1]} | {"leases"} == {one.name for one in INVARIANTS}


def test_nothing_is_found_while_hosts_are_at_work(store: Store) -> None:
    store.submit(*(new_job(n) for n in range(1, 401)))
    stop = threading.Event()

    def work(name: str) -> None:
        while not stop.is_set() and (claimed := store.claim(limit=5, token=name)):
            for job in claimed:
                store.finish(job)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    found = []
    while any(thread.is_alive() for thread in threads):
        found.append(broken(store))
        with store.database.write() as conn:
            fold_counts(conn, 100)
    stop.set()
    for thread in threads:
        thread.join()

    assert found
    assert not any(found)


def test_the_command_names_what_is_broken_and_ends_with_1(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(str(store.database.url)).set(password=store.database.url.password)
    monkeypatch.setenv(
        "CARAVAN_DATABASE_URL", url.render_as_string(hide_password=False).replace("+psycopg", "")
    )
    with store.database.write() as conn:
        conn.execute(text("DELETE FROM results WHERE batch_id = 1"))

    told = CliRunner().invoke(app, ["db", "check"])
    as_json = CliRunner().invoke(app, ["db", "check", "--json"])

    assert told.exit_code == as_json.exit_code == 1
    assert "every job that succeeded or failed has a result" in told.output
    assert "broken 1 time" in told.output
    assert f"job {2**24 + 1}" in told.output
    assert {one["name"] for one in json.loads(as_json.stdout) if one["broken"]} == {"answered", "leases"}
