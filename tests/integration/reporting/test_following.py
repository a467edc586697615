"""Results as they come: cursors, filters, and a reader that follows while hosts are at work."""

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from worker.cli.main import app
from worker.domain.attempts import Failed
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code
from worker.explain.situation import situation
from worker.exports.results import follow_results
from worker.storage.batches import finish_batches
from worker.storage.engine import open_database
from worker.storage.hosts import add_host
from worker.storage.leases import mark_in_slot
from worker.storage.paces import StoredPace, save_paces
from worker.storage.tables import hosts


def came(store: Store, after: int = 0, **chosen: object) -> list[tuple[int, str]]:
    lines = follow_results(store.database, Selection(**chosen), after=after)  # type: ignore[arg-type]
    return [(line["number"], line["custom_id"]) for line in lines]


def test_a_reader_goes_on_after_the_last_number_it_saw(store: Store) -> None:
    store.submit(new_job(1), new_job(2), new_job(3))
    one, two, three = store.claim()
    store.finish(two)
    assert came(store) == [(1, "c2")]

    store.finish(three)
    store.finish(one)

    assert came(store, after=1) == [(2, "c1"), (3, "c3")]
    assert came(store, after=3) == []


def test_results_are_chosen_by_batch_model_state_time_and_metadata(store: Store) -> None:
    first = store.submit(new_job(1, metadata={"lang": "de"}), new_job(2, metadata={"lang": "en", "n": 7}))
    one, two = store.claim()
    store.finish(one)
    store.later(60)
    store.finish(two, Failed(Code.CONTEXT_OVERFLOW, "no"))
    second = store.submit(new_job(1, custom_id="other"))
    store.finish(store.claim(token="t2")[0])

    assert [name for _, name in came(store, batch_id=first)] == ["c1", "c2"]
    assert [name for _, name in came(store, batch_id=second)] == ["other"]
    assert [name for _, name in came(store, states=[JobState.FAILED])] == ["c2"]
    assert [name for _, name in came(store, models=["none:1"])] == []
    assert [name for _, name in came(store, until=NOW + timedelta(seconds=1))] == ["c1"]
    assert [name for _, name in came(store, since=NOW + timedelta(seconds=1), batch_id=first)] == ["c2"]
    assert [name for _, name in came(store, metadata=(("lang", "de"),))] == ["c1"]
    assert [name for _, name in came(store, metadata=(("n", "7"),))] == ["c2"]


def test_a_follower_sees_every_result_once_while_four_hosts_finish(store: Store) -> None:
    batch = store.submit(*(new_job(n) for n in range(1, 301)))

    def work(name: str) -> None:
        while claimed := store.claim(limit=7, token=name):
            for job in claimed:
                store.finish(job)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    lines = list(
        follow_results(
            store.database,
            Selection(batch_id=batch),
            follow=lambda: any(thread.is_alive() for thread in threads),
        )
    )
    for thread in threads:
        thread.join()

    assert [line["number"] for line in lines] == list(range(1, 301))
    assert len({line["job"] for line in lines}) == 300


def test_the_command_prints_what_came_and_ends_with_the_batch(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(migrated_sqlite_url)
    store = Store(database)
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)
    store.submit(new_job(1), new_job(2))
    for job in store.claim():
        store.finish(job)
    with database.write() as conn:
        finish_batches(conn, now=NOW)
    database.close()
    monkeypatch.setenv("CARAVAN_DATABASE_URL", migrated_sqlite_url)

    told = CliRunner().invoke(app, ["results", "@last", "--follow"])
    rest = CliRunner().invoke(app, ["results", "--after", "1", "--since", "2020-01-01"])
    wrong = CliRunner().invoke(app, ["results", "--since", "yesterday"])

    assert [json.loads(line)["custom_id"] for line in told.stdout.splitlines()] == ["c1", "c2"]
    assert [json.loads(line)["number"] for line in rest.stdout.splitlines()] == [2]
    assert wrong.exit_code == 2
    assert "12h" in wrong.output


def test_a_status_counts_what_a_host_has_claimed_apart_from_what_it_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    batch = store.submit(*map(new_job, range(5)))
    store.claim(3, lease=1e9)  # the host has one slot

    shown = CliRunner().invoke(app, ["status", str(batch)])

    assert "0 of 5 done, 1 running, 2 claimed" in shown.output


@pytest.mark.parametrize(("is_set", "running"), [(True, 1), (False, 3)])
def test_a_host_whose_slots_were_found_out_answers_as_many_as_were_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_set: bool, running: int
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    batch = store.submit(*map(new_job, range(5)))
    store.claim(4, lease=1e9)
    with store.database.write() as conn:
        conn.execute(update(hosts).values(slots_told=is_set, resident=KEY))
        save_paces(conn, [StoredPace("gpu-1", KEY, 1.0, 1.0, slots=3)], now=NOW)

    ahead = 4 - running
    now = situation(store.database, batch, clock=store.database.clock())
    assert [(host.running, host.claimed) for host in now.hosts[:1]] == [(4, ahead)]
    explained = CliRunner().invoke(app, ["explain", str(batch)]).output
    assert f"1 queued, {ahead} claimed, {running} running" in explained


def test_a_list_of_batches_counts_claimed_jobs_apart_where_there_are_any(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    first, second = store.submit(*map(new_job, range(5))), store.submit(new_job(1))
    before = CliRunner().invoke(app, ["status"])
    jobs = store.claim(3, lease=1e9, batch_id=first) + store.claim(1, lease=1e9, batch_id=second)
    with store.database.write() as conn:  # the host has one slot, and it is the later job that is in it
        mark_in_slot(conn, token="t1", job_ids=[jobs[-1].id])

    after = CliRunner().invoke(app, ["status"])
    listed = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)

    assert "claimed" not in before.output
    head, *rows = [line.split() for line in after.output.splitlines()]
    at = [head.index("running"), head.index("claimed")]
    assert [[row[column] for column in at] for row in rows] == [["1", "0"], ["0", "3"]]
    assert [(batch["counts"]["running"], batch["claimed"]) for batch in listed] == [(1, 0), (3, 3)]
