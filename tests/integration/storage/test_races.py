"""What two transactions do to each other when they run at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from tests.integration.storage.conftest import (
    NOW,
    CancelledJobs,
    Store,
    cancel_batch,
    ending,
    lines,
    new_job,
    refuse_batch,
)
from tests.waiting import wait_until
from worker.domain.batches import BatchState
from worker.domain.hosts import Host
from worker.domain.jobs import After, JobState, NewJob
from worker.domain.selection import Selection
from worker.errors import Conflict, DatabaseUnavailable, Problem
from worker.maintenance.promote import settle_rounds
from worker.storage.actions import cancel_some
from worker.storage.batches import create_batch, get_batch, promote_sealed, seal_batch
from worker.storage.check import check_database
from worker.storage.claims import claim_jobs
from worker.storage.counts import fold_counts
from worker.storage.finishes import finish_jobs
from worker.storage.follows.links import Link, link_jobs
from worker.storage.hosts import add_host, get_host, lock_fleet, set_host
from worker.storage.ids import job_id
from worker.storage.jobs import insert_jobs
from worker.storage.keeping import forget_jobs
from worker.storage.leases import release_jobs, renew
from worker.storage.rollups import fresh_job_ids, number_jobs

T = TypeVar("T")
LEASE = NOW + timedelta(seconds=90)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_job_that_is_claimed_while_its_batch_is_cancelled_is_flagged(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    batch = fleet.submit(new_job(1), new_job(2))
    with fleet.database.write() as claimer:
        [job] = claim_jobs(
            claimer, host="gpu-1", runner_keys=["qwen3:8b"], limit=1, token="t1", now=NOW, lease_until=LEASE
        )
        cancelling = threads.submit(in_a_transaction(fleet, lambda conn: cancel_batch(conn, batch, now=NOW)))
        waits_for_a_lock(fleet)

    assert cancelling.result(timeout=10) == CancelledJobs(cancelled=1, running=1)
    assert fleet.finish(job).accepted == [job.id]
    assert fleet.counts() == {JobState.CANCELLED: 2}


def test_a_job_that_is_given_back_while_its_batch_is_cancelled_is_cancelled(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    batch = fleet.submit(new_job(1), new_job(2))
    job, _ = fleet.claim()
    with fleet.database.write() as worker:
        release_jobs(worker, token=job.token, job_ids=[job.id], now=NOW)
        cancelling = threads.submit(in_a_transaction(fleet, lambda conn: cancel_batch(conn, batch, now=NOW)))
        waits_for_a_lock(fleet)

    assert cancelling.result(timeout=10) == CancelledJobs(cancelled=1, running=1)
    assert fleet.counts() == {JobState.CANCELLED: 1, JobState.RUNNING: 1}


def test_the_end_of_a_job_is_news_to_a_batch_that_is_sealed_at_the_same_moment(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    """The job is followed already: whoever ends it is about to take the mark off that the second batch relies on."""
    parent = job_id(fleet.submit(new_job(1)), 1)
    first, second = (followers(fleet, parent, key) for key in ("first", "second"))
    in_a_transaction(fleet, lambda conn: seal_batch(conn, first, jobs=1, now=NOW))()
    [job] = fleet.claim()
    with fleet.database.write() as worker:
        finish_jobs(worker, [ending(job)], now=NOW)
        sealing = threads.submit(
            in_a_transaction(fleet, lambda conn: seal_batch(conn, second, jobs=1, now=NOW))
        )
        wait_until(
            lambda: sealing.done() or is_waiting_for_a_lock(fleet),
            description="the batch is sealed, or waits",
        )
    sealing.result(timeout=10)

    settle_rounds(fleet.database, now=NOW)

    assert fleet.counts(first) == fleet.counts(second) == {JobState.QUEUED: 1}
    assert [one.name for one in check_database(fleet.database, now=NOW) if one.broken] == []


def followers(store: Store, parent: int, key: str) -> int:
    """A batch, not sealed yet, whose one job follows ``parent``."""
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key=key, name=key, source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1, after=After((parent,)))], now=NOW)
        link_jobs(conn, [Link(job_id(batch.id, 1), parent, carry=False, release=False)])
    return batch.id


def test_two_that_submit_one_batch_at_once_store_each_line_once(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    with fleet.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
    with fleet.database.write() as first:
        insert_jobs(first, batch.id, lines(10), now=NOW)
        second = threads.submit(
            in_a_transaction(fleet, lambda conn: insert_jobs(conn, batch.id, lines(10), now=NOW))
        )
        waits_for_a_lock(fleet)

    second.result(timeout=10)
    assert fleet.counts(batch.id) == {JobState.SCHEDULED: 10}


def test_a_chunk_that_is_there_in_part_is_completed(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1), new_job(2)], now=NOW)
        insert_jobs(conn, batch.id, [new_job(2), new_job(3)], now=NOW)

    assert store.counts(batch.id) == {JobState.SCHEDULED: 3}


def test_a_custom_id_that_stands_in_an_earlier_chunk_is_named_with_its_line(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1, custom_id="first"), new_job(2, custom_id="a'b")], now=NOW)

    with (
        pytest.raises(Conflict, match=r"line 4: custom_id \"a'b\" stands on line 2 already"),
        store.database.write() as conn,
    ):
        insert_jobs(conn, batch.id, [new_job(3), new_job(4, custom_id="a'b")], now=NOW)

    assert store.counts(batch.id) == {JobState.SCHEDULED: 2}


def test_no_job_is_added_to_a_batch_that_was_cancelled_during_its_upload(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, [new_job(1)], now=NOW)
        cancel_batch(conn, batch.id, now=NOW)

    with pytest.raises(Conflict, match="cancelled"), store.database.write() as conn:
        insert_jobs(conn, batch.id, [new_job(2)], now=NOW)

    assert store.counts(batch.id) == {JobState.CANCELLED: 1}


@pytest.mark.parametrize("state", ["open", "cancelled"])
def test_a_batch_that_somebody_sealed_or_cancelled_cannot_be_refused(store: Store, state: str) -> None:
    batch = store.submit(new_job(1))
    if state == "cancelled":
        with store.database.write() as conn:
            cancel_batch(conn, batch, now=NOW)

    with pytest.raises(Conflict, match=state), store.database.write() as conn:
        refuse_batch(conn, batch, [Problem(1, "model", "unknown_model", "no host has it")], now=NOW)

    with store.database.read() as conn:
        assert get_batch(conn, batch).state is BatchState(state)


def test_two_that_create_one_batch_at_once_get_the_same_one(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    def create(conn: Connection) -> int:
        return create_batch(conn, key="k", name="b", source=None, now=NOW)[0].id

    with fleet.database.write() as first:
        mine = create(first)
        other = threads.submit(in_a_transaction(fleet, create))
        waits_for_a_lock(fleet)

    assert other.result(timeout=10) == mine


@pytest.mark.parametrize("what", ["renew", "release", "cancel"])
def test_a_change_of_many_jobs_never_holds_one_while_it_waits_for_an_earlier_one(
    fleet: Store, threads: ThreadPoolExecutor, what: str
) -> None:
    """A grouped finish locks jobs in the order of their ids; whoever locks them in another deadlocks with it."""
    batch = fleet.submit(*lines(3))
    jobs = fleet.claim()
    put_last(fleet, jobs[0].id)
    ids = [job.id for job in reversed(jobs)]
    changes: dict[str, Callable[[Connection], object]] = {
        "renew": lambda conn: renew(conn, token="t1", job_ids=ids, lease_until=LEASE),
        "release": lambda conn: release_jobs(conn, token="t1", job_ids=ids, now=NOW),
        "cancel": lambda conn: cancel_some(conn, Selection(batch), now=NOW, limit=9),
    }

    with fleet.database.write() as finisher:
        finish_jobs(finisher, [ending(jobs[0])], now=NOW)
        changing = threads.submit(in_a_transaction(fleet, changes[what]))
        waits_for_a_lock(fleet)
        finish_jobs(finisher, [ending(jobs[1]), ending(jobs[2])], now=NOW)

    changing.result(timeout=10)
    assert fleet.counts() == {JobState.SUCCEEDED: 3}


def test_promoters_at_once_leave_nothing_scheduled(store: Store, threads: ThreadPoolExecutor) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, lines(400), now=NOW)
        seal_batch(conn, batch.id, jobs=400, now=NOW)

    def promote_all() -> int:
        total = 0
        while promoted := in_a_transaction(store, lambda conn: promote_sealed(conn, limit=7, now=NOW))():
            total += promoted
        return total

    promoters = [threads.submit(promote_all) for _ in range(4)]

    assert sum(promoter.result(timeout=60) for promoter in promoters) == 400
    assert store.counts(batch.id) == {JobState.QUEUED: 400}


@pytest.mark.fault(24)
def test_claims_finishes_cancels_and_folds_at_once_leave_each_job_ended_once(
    store: Store, threads: ThreadPoolExecutor
) -> None:
    cancelled, kept = (store.submit(*lines(200)) for _ in range(2))
    done = threading.Event()

    def work(number: int) -> int:
        token, accepted = f"w{number}", 0
        while jobs := store.claim(5, token=token, host=f"gpu-{1 + number % 2}"):
            with store.database.write() as conn:
                renew(conn, token=token, job_ids=[job.id for job in jobs], lease_until=LEASE)
            with store.database.write() as conn:
                accepted += len(finish_jobs(conn, [ending(job) for job in jobs], now=NOW).accepted)
        return accepted

    def fold() -> None:
        while not done.is_set():
            in_a_transaction(store, lambda conn: fold_counts(conn, limit=10))()

    folding = [threads.submit(fold) for _ in range(2)]
    workers = [threads.submit(work, number) for number in range(3)]
    flagged = in_a_transaction(store, lambda conn: cancel_batch(conn, cancelled, now=NOW))()
    accepted = sum(worker.result(timeout=120) for worker in workers)
    done.set()
    for thread in folding:
        thread.result(timeout=30)

    ended = store.counts(cancelled)
    succeeded = ended.get(JobState.SUCCEEDED, 0)
    assert store.counts(kept) == {JobState.SUCCEEDED: 200}
    assert ended.get(JobState.CANCELLED, 0) == 200 - succeeded
    assert accepted == 200 + succeeded + flagged.running
    with store.database.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM results")) == 200 + succeeded


def test_a_load_decision_waits_for_the_one_before_it(fleet: Store, threads: ThreadPoolExecutor) -> None:
    with fleet.database.write() as first:
        lock_fleet(first)
        second = threads.submit(in_a_transaction(fleet, lock_fleet))
        waits_for_a_lock(fleet)
        assert not second.done()

    second.result(timeout=10)


@pytest.mark.fault(11)
def test_a_connection_that_the_server_ended_is_unavailable_and_the_next_one_works(fleet: Store) -> None:
    with fleet.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)

    with pytest.raises(DatabaseUnavailable, match="postgresql"), fleet.database.write() as conn:
        end_connection(fleet, backend(conn))
        insert_jobs(conn, batch.id, lines(3), now=NOW)

    with fleet.database.write() as conn:
        insert_jobs(conn, batch.id, lines(3), now=NOW)
    assert fleet.counts(batch.id) == {JobState.SCHEDULED: 3}


def test_a_connection_that_ends_amid_a_chunk_is_unavailable_and_leaves_nothing_of_it(fleet: Store) -> None:
    with fleet.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)

    class CutOff(list[NewJob]):
        def __iter__(self) -> Iterator[NewJob]:
            yield self[0]
            end_connection(fleet, pid)
            yield from self[1:]

    with pytest.raises(DatabaseUnavailable), fleet.database.write() as conn:
        pid = backend(conn)
        insert_jobs(
            conn, batch.id, CutOff(new_job(n, custom_id=f"{n}" * 150) for n in range(1, 500)), now=NOW
        )

    assert fleet.counts(batch.id) == {}


def test_a_result_that_is_deleted_while_it_is_numbered_has_no_number(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    batch = fleet.submit(new_job(1), new_job(2))
    one, two = fleet.claim()
    fleet.finish(one)
    fleet.finish(two)
    with fleet.database.write() as deleter:
        forget_jobs(deleter, batch, [one.id])
        numbering = threads.submit(
            in_a_transaction(fleet, lambda conn: number_jobs(conn, fresh_job_ids(conn, limit=9)))
        )
        waits_for_a_lock(fleet)

    assert numbering.result(timeout=10) == 1
    with fleet.database.read() as conn:
        assert list(conn.scalars(text("SELECT job_id FROM numbered_results"))) == [two.id]
    assert [one.name for one in check_database(fleet.database, now=NOW) if one.broken] == []


def in_a_transaction(store: Store, change: Callable[[Connection], T]) -> Callable[[], T]:
    def run() -> T:
        with store.database.write() as conn:
            return change(conn)

    return run


def put_last(store: Store, job: int) -> None:
    """Have a scan of the table, or of an index of equal keys, come to this job after all others."""
    order: list[int] = []
    while not order or order[-1] != job:
        with store.database.write() as conn:
            conn.execute(
                text("UPDATE jobs SET lease_until = lease_until + interval '1 s' WHERE id = :id"), {"id": job}
            )
        with store.database.read() as conn:
            order = list(conn.scalars(text("SELECT id FROM jobs ORDER BY ctid")))


def test_two_operators_who_change_a_host_at_once_lose_neither_change(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    with fleet.database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=NOW)

    def set_memory() -> None:
        with fleet.database.write() as conn:
            set_host(conn, "gpu-1", memory=24 * 10**9)

    with fleet.database.write() as conn:
        set_host(conn, "gpu-1", slots=7)
        second = threads.submit(set_memory)
        waits_for_a_lock(fleet)
    second.result(timeout=10)

    with fleet.database.read() as conn:
        host = get_host(conn, "gpu-1")
    assert (host.slots, host.memory) == (7, 24 * 10**9)


def waits_for_a_lock(store: Store) -> None:
    """Until another connection of this test waits for a lock."""
    wait_until(lambda: is_waiting_for_a_lock(store), description="the other transaction waits for a lock")


def is_waiting_for_a_lock(store: Store) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with store.database.read() as conn:
        return bool(conn.scalar(text(waiting)))


def backend(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())


def end_connection(store: Store, pid: int) -> None:
    def ended() -> bool:
        with store.database.read() as other:
            alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            return not other.scalar(alive, {"pid": pid})

    with store.database.read() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    wait_until(ended, description="the connection is ended")
