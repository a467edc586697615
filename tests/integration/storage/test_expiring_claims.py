"""A job that expired is never claimed, and those that wait to be taken out of the queue slow no claim."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from tests.integration.storage.test_query_plans import walks
from worker.domain.hosts import Host
from worker.domain.jobs import Priority
from worker.storage.backlog import read_backlog, read_due
from worker.storage.claims import claim_jobs
from worker.storage.engine import open_database
from worker.storage.hosts import add_host

PAST, AHEAD = NOW - timedelta(minutes=5), NOW + timedelta(hours=1)


def claimed(store: Store, limit: int = 100, **more: Any) -> list[str]:
    return [job.custom_id for job in store.claim(limit, **more)]


def test_a_job_whose_deadline_passed_is_not_claimed_where_it_expires(store: Store) -> None:
    store.submit(
        new_job(1, deadline=PAST, expires=True),
        new_job(2, deadline=PAST),
        new_job(3, deadline=AHEAD, expires=True),
        new_job(4),
    )
    assert claimed(store) == ["c2", "c3", "c4"]


def test_jobs_that_expire_and_those_that_do_not_are_claimed_in_the_order_of_their_deadlines(
    store: Store,
) -> None:
    store.submit(
        *(new_job(n, deadline=NOW + timedelta(minutes=n), expires=bool(n % 2)) for n in (5, 2, 4, 1, 3))
    )
    in_order = [name for _ in range(5) for name in claimed(store, 1)]
    assert in_order == ["c1", "c2", "c3", "c4", "c5"]


def test_a_claim_takes_jobs_with_a_deadline_and_those_without(store: Store) -> None:
    store.submit(new_job(1, deadline=AHEAD, expires=True), new_job(2))
    assert set(claimed(store)) == {"c1", "c2"}


def test_a_suspect_whose_deadline_passed_is_not_claimed(store: Store) -> None:
    store.submit(new_job(1, deadline=PAST, expires=True))
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET losses = 2"))
    assert store.claim_suspect(token="t") == []


def test_expired_jobs_are_no_work_that_a_host_would_load_a_model_for(store: Store) -> None:
    store.submit(new_job(1, deadline=PAST, expires=True))
    with store.database.read() as conn:
        assert read_backlog(conn, now=NOW) == []
        assert read_due(conn, now=NOW) == {}


def test_expired_jobs_at_the_head_of_the_queue_are_not_walked_over(store: Store) -> None:
    many = 2000
    store.submit(*(new_job(n, deadline=PAST, expires=True) for n in range(1, many + 1)))
    store.submit(new_job(1), new_job(2, deadline=AHEAD))
    with store.database.write() as conn:
        conn.execute(text("ANALYZE"))

    def claim(conn: object) -> object:
        return claim_jobs(
            conn,  # type: ignore[arg-type]
            host="gpu-1",
            runner_keys=[KEY],
            limit=4,
            token="t",
            now=NOW,
            lease_until=NOW + timedelta(seconds=90),
        )

    assert walks(store, claim) == []
    assert claimed(store) == ["c2", "c1"]


def test_hosts_that_claim_the_same_keys_in_another_order_never_wait_for_each_other(
    migrated_postgres_url: str,
) -> None:
    database = open_database(migrated_postgres_url)
    store = Store(database)
    keys = ["m:1 num_ctx>=4096", "m:1 num_ctx>=8192"]
    with database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            add_host(conn, Host(name, f"http://{name}:11434"), now=NOW)
    for number in (1, 2):  # the rows of both turns are there before
        store.submit(*(new_job(n, runner_key=key) for n, key in enumerate(keys * 2, start=1)))
        if number == 1:
            for key in keys:
                store.claim(1, runner_key=key)
    both = threading.Barrier(2)

    def claims(host: str, order: list[str]) -> int:
        with database.write() as conn:
            total = 0
            for key in order:
                total += len(
                    claim_jobs(
                        conn,
                        host=host,
                        runner_keys=[key],
                        limit=1,
                        token=host,
                        now=NOW,
                        lease_until=NOW + timedelta(seconds=90),
                        priorities=[Priority.NORMAL],
                    )
                )
                both.wait(30)
            return total

    with ThreadPoolExecutor(2) as threads:
        results = [
            threads.submit(claims, "gpu-1", keys),
            threads.submit(claims, "gpu-2", keys[::-1]),
        ]
        assert [result.result(60) for result in results] == [2, 2]
    database.close()
