"""Batches and the queue: sealed whole, counted right, found without counting."""

import json
import random
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import KEY, NOW, Store, cancel_batch, new_job, refuse_batch
from worker.domain.attempts import Failed, Held, Retried
from worker.domain.batches import BatchState
from worker.domain.hosts import Host
from worker.domain.jobs import JobState, Priority
from worker.domain.selection import Selection
from worker.errors import Code, Conflict, DatabaseUnavailable, NotFound, Problem, SchemaOutdated
from worker.storage.actions import unhold_some
from worker.storage.backlog import BACKLOG, read_backlog
from worker.storage.batches import create_batch, find_batch, finish_batches, promote_sealed, seal_batch
from worker.storage.claims import Pick, claim_statement
from worker.storage.counts import batch_counts, fold_counts
from worker.storage.engine import open_database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import add_host
from worker.storage.ids import job_id
from worker.storage.jobs import hold_jobs, insert_jobs
from worker.storage.leases import take_host
from worker.storage.migrate import check_schema
from worker.storage.refusals import list_rejects


def test_nothing_of_a_batch_can_be_claimed_before_it_is_sealed(store: Store) -> None:
    with store.database.write() as conn:
        batch, created = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1), new_job(2)], now=NOW)
        assert promote_sealed(conn, limit=10, now=NOW) == 0
    assert created
    assert store.claim() == []

    with store.database.write() as conn:
        seal_batch(conn, batch.id, jobs=2, now=NOW)
        assert promote_sealed(conn, limit=1, now=NOW) == 1
        assert promote_sealed(conn, limit=9, now=NOW) == 1

    assert len(store.claim()) == 2


def test_the_same_key_is_the_same_batch(store: Store) -> None:
    with store.database.write() as conn:
        first, created = create_batch(conn, key="k", name="b", source=None, now=NOW)
        second, created_again = create_batch(conn, key="k", name="other", source=None, now=NOW)

    assert (first.id, created, created_again) == (second.id, True, False)


def test_an_upload_that_was_cut_off_goes_on_after_its_last_chunk(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1), new_job(3)], now=NOW)
        insert_jobs(conn, batch.id, [new_job(1), new_job(3)], now=NOW)  # its commit's answer was lost

        assert batch_counts(conn, batch.id) == {JobState.SCHEDULED: 2}


def test_a_custom_id_that_stands_in_the_batch_already_is_named(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
    with pytest.raises(Conflict, match="custom_id"), store.database.write() as conn:
        insert_jobs(conn, batch.id, [new_job(1, custom_id="same"), new_job(2, custom_id="same")], now=NOW)


def test_one_custom_id_may_go_to_several_models(store: Store) -> None:
    store.submit(new_job(1, custom_id="same", model="a:1"), new_job(2, custom_id="same", model="b:1"))

    assert store.counts() == {JobState.QUEUED: 2}


def test_a_refused_batch_keeps_its_problems_and_none_of_its_jobs_and_may_be_sent_again(store: Store) -> None:
    problem = Problem(7, "options.num_ctx", "wrong_type", "options.num_ctx: expected a whole number")
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1)], now=NOW)
        refuse_batch(conn, batch.id, [problem], now=NOW)

        assert find_batch(conn, "k").state is BatchState.REFUSED
        assert list_rejects(conn, batch.id) == [problem]
        assert batch_counts(conn, batch.id) == {}
        again, created = create_batch(conn, key="k", name="b", source=None, now=NOW)

    assert (again.id, again.state, created) == (batch.id, BatchState.RECEIVING, True)


def test_a_batch_is_found_by_number_key_name_last_and_the_beginning_of_its_key(store: Store) -> None:
    first, second = store.submit(new_job(1), key="run-abc"), store.submit(new_job(1), key="run-xyz")

    with store.database.read() as conn:
        found = [
            find_batch(conn, reference).id for reference in (str(first), "run-xyz", "@last", "run-a", "b")
        ]
        with pytest.raises(Conflict, match="several"):
            find_batch(conn, "run-")
        with pytest.raises(NotFound, match="zzz"):
            find_batch(conn, "zzz")

    assert found == [first, second, second, first, second]


def test_a_batch_is_finished_when_all_its_jobs_have_ended_and_held_ones_keep_it_open(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    jobs = store.claim()
    store.finish(jobs[0], Failed(Code.BAD_REPLY, "x"))
    store.finish(jobs[1], Held(Code.RUNNER_DIED, "x"))
    assert settled(store) == []

    with store.database.write() as conn:
        assert unhold_some(conn, Selection(batch), limit=10).changed == 1
        assert promote_sealed(conn, limit=10, now=NOW) == 1
    store.finish(store.claim(token="t2")[0])

    assert settled(store) == [batch]
    assert settled(store) == []


def test_a_finished_batch_cannot_be_cancelled(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0])
    settled(store)

    with pytest.raises(Conflict, match="finished"), store.database.write() as conn:
        cancel_batch(conn, batch, now=NOW)


def test_held_jobs_say_why(store: Store) -> None:
    store.submit(new_job(1), new_job(2, runner_key="other:1"))

    with store.database.write() as conn:
        held = hold_jobs(conn, runner_key=KEY, code="model_missing", reason="no host has it")

    assert held == 1
    assert store.counts() == {JobState.HELD: 1, JobState.QUEUED: 1}


def test_counters_equal_the_rows_whatever_happens(store: Store) -> None:
    chance = random.Random(7)
    batches = [
        store.submit(*(new_job(n, priority=Priority(n % 4), runner_key=f"m{n % 3}:1") for n in range(1, 41)))
        for _ in range(2)
    ]
    running: list[Any] = []
    for step in range(60):
        match chance.randrange(6):
            case 0 | 1:
                running += store.claim(
                    chance.randrange(1, 6), token=f"t{step}", runner_key=f"m{chance.randrange(3)}:1"
                )
            case 2 | 3 if running:
                job = running.pop(chance.randrange(len(running)))
                outcome = chance.choice(
                    [
                        None,
                        Failed(Code.CUT, "x"),
                        Retried(Code.HOST_BUSY, "x", NOW, False),
                        Held(Code.CUT, "x"),
                    ]
                )
                store.finish(job, outcome)
            case 4:
                with store.database.write() as conn:
                    fold_counts(conn, limit=chance.randrange(1, 20))
            case _ if step == 40:
                with store.database.write() as conn:
                    cancel_batch(conn, batches[0], now=NOW)
            case _:
                pass

    with store.database.read() as conn:
        rows = Counter(
            (row[0], JobState(row[1])) for row in conn.execute(text("SELECT batch_id, state FROM jobs"))
        )
        counted = {(batch, state): n for batch in batches for state, n in batch_counts(conn, batch).items()}
    assert counted == dict(rows)


def test_the_backlog_is_what_a_count_over_the_queue_would_give(store: Store) -> None:
    chance = random.Random(3)
    for _ in range(3):
        store.submit(
            *(
                new_job(n, runner_key=f"m{chance.randrange(5)}:1", priority=Priority(chance.randrange(4)))
                for n in range(1, 101)
            )
        )
    store.claim(13, runner_key="m2:1")

    with store.database.write() as conn:
        fold_counts(conn, limit=7)
        waiting = read_backlog(conn, now=NOW)
        naive = conn.execute(
            text("SELECT runner_key, priority, count(*) FROM jobs WHERE state = 'queued' GROUP BY 1, 2")
        ).all()

    assert {(w.runner_key, int(w.priority)): w.jobs for w in waiting} == {(k, p): n for k, p, n in naive}
    assert [w.served_at for w in waiting if w.runner_key == "m0:1"] == [None] * 4


@pytest.mark.parametrize("statement", ["claim", "backlog"])
def test_claims_and_backlog_go_along_the_index(store: Store, statement: str) -> None:
    store.submit(*(new_job(n, runner_key=f"m{n % 5}:1") for n in range(1, 3001)))
    store.claim(2500, runner_key="m1:1")
    dialect = store.database.dialect
    query = BACKLOG if statement == "backlog" else str(claim_statement(Pick.GROUP, dialect).compile())
    for name, value in (
        ("key", "'m1:1'"),
        ("priority", "2"),
        ("limit", "5"),
        ("token", "'t'"),
        ("until", "'2026-11-23'"),
        ("host", "'h'"),
        ("now", "'2026-11-23'"),
        ("low", "0"),
        ("high", "99999999999"),
    ):
        query = re.sub(rf":{name}\b", value, query)

    with store.database.write() as conn:
        conn.execute(text("ANALYZE"))
        explain = "EXPLAIN (FORMAT JSON) " if dialect == "postgresql" else "EXPLAIN QUERY PLAN "
        plan = json.dumps([list(row) for row in conn.exec_driver_sql(explain + query)], default=str)

    assert "ix_jobs_claim" in plan
    assert not re.search(r'"Seq Scan"[^{}]*"Relation Name": "jobs"', plan)
    assert not re.search(r"SCAN jobs(?! USING)", plan)


def test_a_locked_database_is_said_to_be_unavailable(migrated_sqlite_url: str) -> None:
    holder, impatient = (
        open_database(migrated_sqlite_url),
        open_database(migrated_sqlite_url, busy_seconds=0.05),
    )

    with (
        holder.write() as conn,
        pytest.raises(DatabaseUnavailable, match="locked"),
        impatient.write() as other,
    ):
        conn.execute(text("DELETE FROM batches"))
        other.execute(text("DELETE FROM batches"))

    holder.close()
    impatient.close()


def test_a_database_that_is_not_there_is_said_to_be_unavailable_without_its_password() -> None:
    database = open_database("postgresql://caravan:secret@127.0.0.1:9/none")

    with pytest.raises(DatabaseUnavailable, match="caravan:") as caught, database.read():
        pass

    assert "secret" not in str(caught.value)


def test_an_empty_database_asks_for_its_upgrade(database_url: str) -> None:
    database = open_database(database_url)

    with pytest.raises(SchemaOutdated, match="caravan db upgrade"):
        check_schema(database)
    with pytest.raises(SchemaOutdated, match="caravan db upgrade"), database.read() as conn:
        conn.execute(text("SELECT * FROM jobs"))

    database.close()


def test_ids_are_made_of_batch_and_line() -> None:
    assert job_id(3, 7) == 3 * 2**24 + 7


def settled(store: Store) -> list[int]:
    with store.database.write() as conn:
        return finish_batches(conn, now=NOW)


def test_a_claim_and_a_backlog_may_keep_to_one_batch(store: Store) -> None:
    first, second = store.submit(new_job(1), new_job(2)), store.submit(new_job(1))

    with store.database.read() as conn:
        [waiting] = read_backlog(conn, now=NOW, batch_id=second)
    claimed = store.claim(batch_id=second)

    assert waiting.jobs == 1
    assert [job.batch_id for job in claimed] == [second]
    assert store.counts(first) == {JobState.QUEUED: 2}


def test_a_claim_counts_as_the_hosts_last_only_while_its_worker_serves_it(store: Store) -> None:
    def last_claim() -> object:
        with store.database.read() as conn:
            return next(row.last_claim_at for row in read_hosts(conn, NOW) if row.name == "gpu-9")

    store.submit(new_job(1), new_job(2))
    with store.database.write() as conn:
        add_host(conn, Host("gpu-9", "http://gpu-9:11434"), now=NOW)
        assert take_host(conn, host="gpu-9", token="new", now=NOW, until=NOW + timedelta(seconds=90))

    assert store.claim(1, host="gpu-9", token="old")
    assert last_claim() is None
    assert store.claim(1, host="gpu-9", token="new")
    assert last_claim() == NOW
