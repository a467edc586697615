"""Numbers of results as a cursor, and what results come to, on both databases."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.attempts import Failed, Succeeded
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.number import number_all
from worker.storage.actions import retry_some
from worker.storage.engine import Database
from worker.storage.hosts import set_host
from worker.storage.rollups import fresh_job_ids, number_jobs
from worker.storage.tables import numbered_results


def number(store: Store) -> int:
    return number_all(store.database)


def numbers(database: Database) -> dict[int, int]:
    with database.read() as conn:
        rows = conn.execute(select(numbered_results.c.number, numbered_results.c.job_id))
        return {row.number: row.job_id for row in rows}


def view(store: Store, query: str) -> list[dict[str, Any]]:
    with store.database.read() as conn:
        return [dict(row) for row in conn.execute(text(query)).mappings()]


def test_results_are_numbered_in_the_order_in_which_they_were_stored(store: Store) -> None:
    store.submit(new_job(1), new_job(2), new_job(3))
    one, two, three = store.claim()
    store.finish(two)
    number(store)
    store.later(1)
    store.finish(three)
    store.finish(one)

    number(store)

    assert list(numbers(store.database).values()) == [two.id, one.id, three.id]
    assert list(numbers(store.database)) == [1, 2, 3]
    assert number(store) == 0


def test_writers_that_number_at_once_leave_no_gap_and_number_nothing_twice(store: Store) -> None:
    store.submit(*(new_job(n) for n in range(1, 201)))
    for job in store.claim(limit=200):
        store.finish(job)

    def work() -> None:
        while True:
            with store.database.write() as conn:
                if not number_jobs(conn, fresh_job_ids(conn, limit=7)):
                    return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = numbers(store.database)
    assert sorted(found) == list(range(1, 201))
    assert len(set(found.values())) == 200


def test_a_result_that_is_asked_anew_gets_a_new_number(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0], Failed(Code.INVALID_REQUEST, "no"))
    number(store)
    with store.database.write() as conn:
        retry_some(conn, Selection(batch_id=batch), now=store.now, limit=10)
    assert numbers(store.database) == {}
    from worker.storage.batches import promote_sealed

    with store.database.write() as conn:
        promote_sealed(conn, limit=10, now=store.now)

    store.finish(store.claim(token="t2")[0])
    number(store)

    assert list(numbers(store.database)) == [2]


def test_what_was_spent_is_added_up_per_batch_model_day_host_and_hour(store: Store) -> None:
    with store.database.write() as conn:
        set_host(conn, "gpu-1", slots=2)
    store.now = datetime(2026, 11, 23, 2, 0, 1, tzinfo=UTC)
    batch = store.submit(new_job(1), new_job(2), new_job(3))
    one, two, three = store.claim()
    for job in (one, two):
        store.finish(job, Succeeded(a_result(prompt_eval_seconds=1.0, eval_seconds=2.0, output_tokens=80)))
    store.later(3600)
    store.finish(three, Failed(Code.INVALID_REQUEST, "no"))

    number(store)

    [found] = view(store, f"SELECT * FROM report_batches WHERE batch = {batch}")
    assert (found["succeeded"], found["failed"], found["progress"]) == (2, 1, 1.0)
    assert (found["output_tokens"], found["gpu_seconds"]) == (160, 3.0)
    [day] = view(store, "SELECT * FROM report_models_daily")
    assert (str(day["day"]), day["model"], day["results"], day["tokens_per_second"]) == (
        "2026-11-23",
        "qwen3:8b",
        3,
        40.0,
    )
    hours = view(store, "SELECT * FROM report_hosts_hourly ORDER BY hour")
    assert [round(hour["busy_seconds"], 6) for hour in hours] == [2.0, 1.0, 0.0]
    assert [hour["results"] for hour in hours] == [0, 2, 1]


def test_each_result_stands_beside_what_was_asked(store: Store) -> None:
    batch = store.submit(new_job(1, metadata={"sku": "A 7", "n": 3}), new_job(2))
    one, two = store.claim()
    store.later(2.5)
    store.finish(one)
    store.finish(two, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens"))
    number(store)

    rows = view(store, f"SELECT * FROM report_results WHERE batch = {batch} ORDER BY job_id")
    [sku] = view(
        store, f"SELECT metadata ->> 'sku' AS sku FROM report_results WHERE batch = {batch} AND number = 1"
    )
    [failure] = view(store, "SELECT * FROM report_failures")

    assert [row["state"] for row in rows] == ["succeeded", "failed"]
    assert (rows[0]["prompt"], rows[0]["answer"], rows[0]["batch_name"]) == ("Say 1.", "天空 is blue", "b")
    assert sku == {"sku": "A 7"}
    assert (failure["error_code"], failure["failures"], failure["example_message"]) == (
        "context_overflow",
        1,
        "6,000 tokens",
    )


def test_an_open_batch_says_when_it_will_be_done(store: Store) -> None:
    batch = store.submit(*(new_job(n) for n in range(1, 11)))
    for job in store.claim()[:4]:
        store.finish(job)
        store.later(10)
    number(store)

    [found] = view(store, f"SELECT * FROM report_batches WHERE batch = {batch}")

    eta = found["eta_at"]
    at = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    assert abs(at - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=5)


def test_what_a_worker_of_an_earlier_version_stored_is_numbered_too(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job)
    with store.database.write() as conn:
        conn.execute(text("DELETE FROM fresh_results"))
        conn.execute(text("UPDATE results SET day = NULL"))

    assert number_all(store.database) == 1

    assert numbers(store.database) == {1: job.id}
    [row] = view(store, "SELECT day FROM report_results")
    assert str(row["day"]) == "2026-11-23"
