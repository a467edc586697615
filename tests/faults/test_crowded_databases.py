"""A database that somebody else locks, reads for long, or fills with connections."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import NOW, Store, new_job
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.errors import DatabaseRefused, DatabaseUnavailable
from worker.storage.engine import open_database
from worker.storage.hosts import add_host


def opened(url: str) -> Store:
    database = open_database(url)
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)
    return Store(database)


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    found = opened(migrated_url)
    yield found
    found.database.close()


@pytest.mark.fault(13)
def test_a_claim_waits_for_whoever_has_locked_the_file_and_no_job_fails_for_it(
    migrated_sqlite_url: str,
) -> None:
    store, other = opened(migrated_sqlite_url), open_database(migrated_sqlite_url)
    store.submit(new_job(1))
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with other.write() as conn:
            conn.execute(text("UPDATE batches SET name = 'held'"))
            locked.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(20)
    threading.Timer(0.3, release.set).start()

    claimed = store.claim()
    store.finish(claimed[0])

    holder.join()
    assert release.is_set(), "it did not wait"
    assert store.counts() == {JobState.SUCCEEDED: 1}
    other.close()
    store.database.close()


@pytest.mark.fault(13)
def test_six_writers_at_once_each_get_their_turn(migrated_sqlite_url: str) -> None:
    store = opened(migrated_sqlite_url)
    store.submit(*(new_job(n) for n in range(1, 121)))
    failures: list[BaseException] = []

    def work(name: str) -> None:
        own = Store(open_database(migrated_sqlite_url), batches=store.batches)
        try:
            while claimed := own.claim(limit=2, token=name):
                for job in claimed:
                    own.finish(job)
        except BaseException as failure:
            failures.append(failure)
        finally:
            own.database.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert store.counts() == {JobState.SUCCEEDED: 120}
    store.database.close()


@pytest.mark.fault(14)
def test_claims_and_finishes_go_on_beside_a_reader_that_stays(store: Store) -> None:
    store.submit(*(new_job(n) for n in range(1, 201)))
    with store.database.read() as conn:
        if store.database.dialect == "postgresql":
            conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        seen = text("SELECT count(*) FROM jobs WHERE state = 'queued'")
        assert conn.scalar(seen) == 200

        while claimed := store.claim(limit=10):
            for job in claimed:
                store.finish(job)

        assert conn.scalar(seen) == 200
    assert store.counts() == {JobState.SUCCEEDED: 200}


@pytest.mark.fault(3)
@pytest.mark.fault(14)
def test_the_locks_of_a_worker_that_was_paused_amid_a_transaction_end_by_themselves(
    migrated_postgres_url: str,
) -> None:
    store, paused = opened(migrated_postgres_url), open_database(migrated_postgres_url, idle_seconds=0.3)
    store.submit(new_job(1))

    with pytest.raises(DatabaseUnavailable), paused.write() as conn:
        conn.execute(text("SELECT id FROM jobs FOR UPDATE"))
        assert store.claim() == [], "it is passed over while it is locked"
        with store.database.write() as other:
            other.execute(text("SELECT id FROM jobs FOR UPDATE"))
        conn.execute(text("SELECT 1"))

    assert len(store.claim()) == 1
    paused.close()
    store.database.close()


@pytest.mark.fault(31)
def test_a_worker_that_has_its_connection_goes_on_while_there_is_none_to_spare(
    migrated_postgres_url: str,
) -> None:
    store = opened(migrated_postgres_url)
    store.submit(new_job(1), new_job(2))
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    late = open_database(migrated_postgres_url)
    try:
        with pytest.raises(psycopg.OperationalError, match=r"too many clients|remaining connection slots"):
            while True:
                held.append(psycopg.connect(migrated_postgres_url.replace("+psycopg", "")))

        job = store.claim(limit=1)[0]
        assert store.finish(job).accepted == [job.id]
        with pytest.raises(DatabaseRefused, match="max_connections"), late.read():
            pass
    finally:
        for connection in held:
            connection.close()

    with late.read() as conn:
        assert conn.scalar(text("SELECT 1")) == 1
    assert store.counts() == {JobState.SUCCEEDED: 1, JobState.QUEUED: 1}
    late.close()
    store.database.close()
