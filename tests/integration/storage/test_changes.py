"""Whether the database changed: every process's work counts, and no sign of life does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from worker.domain.hosts import Host
from worker.storage.changes import Changes
from worker.storage.engine import open_database
from worker.storage.hosts import add_host
from worker.storage.jobs import hold_jobs
from worker.storage.leases import renew
from worker.storage.pulses import record_pulse


@contextmanager
def changes_of(store: Store) -> Iterator[Changes]:
    changes = Changes(store.database)
    try:
        assert changes.any(), "the first look cannot know"
        assert not changes.any()
        yield changes
    finally:
        changes.close()


def _add_host(store: Store) -> None:
    with store.database.write() as conn:
        add_host(conn, Host("gpu-9", "http://gpu-9:11434"), now=NOW)


def _hold(store: Store) -> None:
    with store.database.write() as conn:
        assert hold_jobs(conn, runner_key=KEY, code="model_missing", reason="x", limit=9)


WORK: dict[str, Callable[[Store], object]] = {
    "a submission": lambda store: store.submit(new_job(1)),
    "a claim": lambda store: store.claim(1),
    "an answer": lambda store: store.finish(store.claim(1)[0]),
    "jobs that are held": _hold,
    "a host": _add_host,
}


@pytest.mark.parametrize("what", WORK)
def test_work_of_any_process_is_a_change_once(store: Store, what: str) -> None:
    store.submit(new_job(1), new_job(2))
    with changes_of(store) as changes:
        WORK[what](store)

        assert changes.any()
        assert not changes.any()


def test_signs_of_life_are_no_change(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim(1)
    with changes_of(store) as changes:
        with store.database.write() as conn:
            record_pulse(conn, "up", now=NOW, detail={})
            renew(conn, token="t1", job_ids=[job.id], lease_until=NOW + timedelta(hours=1))

        assert not changes.any()


def test_a_database_that_cannot_tell_counts_as_changed(store: Store) -> None:
    other = open_database(store.database.url.render_as_string(hide_password=False))
    changes = Changes(other)
    changes.any()
    changes.any()

    changes._conn.connection.driver_connection.close()  # type: ignore[union-attr]

    assert changes.any()
    changes.close()
    other.close()


def test_a_look_at_a_file_that_nobody_changed_reads_no_table(store: Store) -> None:
    if store.database.dialect != "sqlite":
        pytest.skip("PostgreSQL counts no commits")
    statements: list[str] = []
    with changes_of(store) as changes:
        event.listen(
            store.database._engine, "before_cursor_execute", lambda *given: statements.append(given[2])
        )
        assert [changes.any() for _ in range(20)] == [False] * 20

    assert statements == []
