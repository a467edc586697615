"""What an operator does to batches and jobs, beside hosts that claim and finish: nothing is lost or counted twice."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, cancel_batch, ending, lines, new_job
from tests.integration.storage.test_races import in_a_transaction, waits_for_a_lock
from tests.waiting import wait_until
from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried
from worker.domain.batches import Batch, BatchState
from worker.domain.jobs import JobState, Priority
from worker.domain.selection import Selection
from worker.errors import Code, Conflict, InputRefused, NotFound
from worker.maintenance.actions import (
    cancel_jobs,
    count_cancellable,
    count_retriable,
    pause_batch,
    prioritise_jobs,
    resume_batch,
    retry_jobs,
    unhold_jobs,
)
from worker.maintenance.withdraw import withdraw
from worker.storage import actions, pauses
from worker.storage.batches import (
    create_batch,
    find_batch,
    finish_batches,
    get_batch,
    list_batches,
    promote_sealed,
)
from worker.storage.counts import batch_counts, fold_counts
from worker.storage.finishes import finish_jobs
from worker.storage.ids import job_id
from worker.storage.jobs import insert_jobs, promote_due
from worker.storage.leases import release_jobs
from worker.storage.results import get_result, list_attempts
from worker.storage.selection import matching

CLOCK = FakeClock(NOW)
FAILURE = Failed(Code.CONTEXT_OVERFLOW, "the prompt has 9,000 tokens")
FAILED = frozenset({JobState.FAILED})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


# -- pause and resume -------------------------------------------------------------------------------------------


def test_a_paused_batch_gives_no_more_jobs_and_what_runs_ends_by_itself(store: Store) -> None:
    batch = store.submit(*lines(10))
    running = store.claim(2)

    assert pause_batch(store.database, batch, clock=CLOCK).jobs == 8

    assert store.claim() == []
    assert store.finish(running[0]).accepted
    assert store.counts() == {JobState.SCHEDULED: 8, JobState.RUNNING: 1, JobState.SUCCEEDED: 1}
    assert (found(store, batch).state, found(store, batch).pause_reason) == (BatchState.PAUSED, "by hand")
    told_truly(store)


def test_a_resumed_batch_goes_on_where_it_was(store: Store) -> None:
    batch = store.submit(*lines(4), new_job(5, runner_key="b:1", priority=Priority.HIGH))
    pause_batch(store.database, batch, clock=CLOCK)

    resume_batch(store.database, batch, clock=CLOCK)

    assert store.counts() == {JobState.QUEUED: 5}
    assert (found(store, batch).state, found(store, batch).pause_reason) == (BatchState.OPEN, None)
    told_truly(store)


def test_a_retry_that_is_due_in_a_paused_batch_waits_for_the_resume_and_keeps_its_time(store: Store) -> None:
    batch = store.submit(*lines(2))
    first, second = store.claim()
    store.finish(first, Retried(Code.HOST_BUSY, "x", NOW, False))
    pause_batch(store.database, batch, clock=CLOCK)
    later = store.now.replace(hour=5)
    store.finish(second, Retried(Code.HOST_BUSY, "x", later, False))

    assert promoted_due(store) == 0
    resume_batch(store.database, batch, clock=CLOCK)

    assert store.counts() == {JobState.SCHEDULED: 2}
    assert promoted_due(store) == 1
    assert store.counts() == {JobState.SCHEDULED: 1, JobState.QUEUED: 1}


def test_what_is_given_back_to_a_paused_batch_is_taken_back_by_the_next_pass(store: Store) -> None:
    batch = store.submit(*lines(3))
    [job] = store.claim(1)
    pause_batch(store.database, batch, clock=CLOCK)
    with store.database.write() as conn:
        release_jobs(conn, token=job.token, job_ids=[job.id], now=NOW)

    assert withdraw(store.database) == 1

    assert store.counts() == {JobState.SCHEDULED: 3}
    assert withdraw(store.database) == 0
    told_truly(store)


def test_a_pause_goes_in_chunks_and_can_be_gone_on_with(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = store.submit(*(new_job(n, runner_key=f"m{n % 3}:1") for n in range(1, 31)))
    with store.database.write() as conn:
        assert pauses.pause_batch(conn, batch, code=None, reason="by hand", now=NOW) == 30
        assert pauses.withdraw_paused(conn, limit=7) == 7
    with store.database.write() as conn:
        fold_counts(conn, limit=5)

    assert pause_batch(store.database, batch, clock=CLOCK).jobs == 23

    assert store.counts() == {JobState.SCHEDULED: 30}


def test_other_batches_are_not_paused_with_it(store: Store) -> None:
    first, second = store.submit(*lines(3)), store.submit(*lines(3))

    pause_batch(store.database, first, clock=CLOCK)

    assert {job.batch_id for job in store.claim()} == {second}


def test_a_paused_batch_whose_jobs_have_all_ended_is_finished(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    pause_batch(store.database, batch, clock=CLOCK)
    assert settled(store) == []

    store.finish(job)

    assert settled(store) == [batch]
    assert found(store, batch).state is BatchState.FINISHED


def test_a_paused_batch_can_be_cancelled(store: Store) -> None:
    batch = store.submit(*lines(3))
    pause_batch(store.database, batch, clock=CLOCK)

    assert cancel_jobs(store.database, Selection(batch), clock=CLOCK).jobs == 3

    assert store.counts() == {JobState.CANCELLED: 3}


@pytest.mark.parametrize("state", ["receiving", "finished", "cancelled"])
def test_a_batch_that_is_not_open_cannot_be_paused_and_one_that_is_not_paused_not_resumed(
    store: Store, state: str
) -> None:
    if state == "receiving":
        with store.database.write() as conn:
            batch = create_batch(conn, key="k", name="b", source=None, now=NOW)[0].id
    else:
        batch = store.submit(new_job(1))
        if state == "cancelled":
            cancel_jobs(store.database, Selection(batch), clock=CLOCK)
        else:
            store.finish(store.claim()[0])
            settled(store)

    with pytest.raises(Conflict, match=state):
        pause_batch(store.database, batch, clock=CLOCK)
    with pytest.raises(Conflict, match="not paused"):
        resume_batch(store.database, batch, clock=CLOCK)


# -- retry ------------------------------------------------------------------------------------------------------


def test_a_job_that_failed_is_asked_again_and_its_attempts_stay_on_record(store: Store) -> None:
    batch = store.submit(*lines(2))
    failed, fine = store.claim()
    store.finish(failed, FAILURE)
    store.finish(fine)
    assert settled(store) == [batch]

    done = retry_jobs(store.database, Selection(batch, states=FAILED), clock=CLOCK)

    assert (done.jobs, done.batches) == (1, (batch,))
    assert (found(store, batch).state, found(store, batch).finished_at) == (BatchState.OPEN, None)
    [again] = store.claim(token="t2")
    assert (again.id, again.attempt, again.charged) == (failed.id, 2, 0)
    store.finish(again)
    assert settled(store) == [batch]
    with store.database.read() as conn:
        assert [one.outcome for one in list_attempts(conn, failed.id)] == ["failed", "succeeded"]
        assert get_result(conn, failed.id).error_code is None
    told_truly(store)


def test_a_late_answer_of_an_attempt_before_the_retry_is_refused(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job, FAILURE)
    retry_jobs(store.database, Selection(batch, states=FAILED), clock=CLOCK)

    assert store.finish(job).refused == [job.id]


@pytest.mark.parametrize("state", ["failed", "cancelled", "held", "expired"])
def test_each_way_to_end_without_an_answer_can_be_tried_again(store: Store, state: str) -> None:
    batch = store.submit(*lines(2))
    ended, running = store.claim()
    outcomes: dict[str, Outcome] = {
        "failed": FAILURE,
        "cancelled": Cancelled(),
        "held": Held(Code.RUNNER_DIED, "x"),
    }
    if state == "expired":
        store.finish(ended, FAILURE)
        with store.database.write() as conn:
            conn.execute(
                text(
                    "UPDATE jobs SET state = 'expired', deadline = submitted_at, expires = true WHERE id = :id"
                ),
                {"id": ended.id},
            )
            conn.execute(text("DELETE FROM results"))
            conn.execute(text("UPDATE count_deltas SET state = 'expired' WHERE state = 'failed'"))
    else:
        store.finish(ended, outcomes[state])

    done = retry_jobs(
        store.database, Selection(batch, states=frozenset({JobState(state)})), clock=FakeClock(NOW)
    )

    assert done.jobs == 1
    assert store.counts() == {JobState.QUEUED: 1, JobState.RUNNING: 1}
    assert [job.id for job in store.claim(token="t2")] == [ended.id]
    assert store.finish(running).accepted
    told_truly(store)


def test_jobs_that_succeeded_wait_or_run_are_never_tried_again(store: Store) -> None:
    batch = store.submit(*lines(3))
    first, _ = store.claim(2)
    store.finish(first)

    assert count_retriable(store.database, Selection(batch)) == 0
    assert retry_jobs(store.database, Selection(batch), clock=CLOCK).jobs == 0
    assert store.counts() == {JobState.QUEUED: 1, JobState.RUNNING: 1, JobState.SUCCEEDED: 1}


def test_what_is_tried_again_with_other_options_goes_to_the_runner_that_they_need(store: Store) -> None:
    batch = store.submit(
        new_job(1), new_job(2, request={"system": "s", "options": {"num_ctx": 2048, "temperature": 0}})
    )
    for job in store.claim():
        store.finish(job, FAILURE)

    retry_jobs(
        store.database,
        Selection(batch, states=FAILED),
        clock=CLOCK,
        options={"num_ctx": 16384, "temperature": None},
    )

    assert store.claim(token="t2") == []
    first, second = store.claim(token="t2", runner_key="qwen3:8b num_ctx=16384")
    assert first.request == {"options": {"seed": 1, "num_ctx": 16384}}
    assert second.request == {"system": "s", "options": {"num_ctx": 16384}}
    told_truly(store)


def test_options_that_no_host_would_take_are_refused_and_nothing_is_tried(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0], FAILURE)

    with pytest.raises(InputRefused, match="num_ctx"):
        retry_jobs(store.database, Selection(batch), clock=CLOCK, options={"num_ctx": "wide"})

    assert store.counts() == {JobState.FAILED: 1}


def test_a_retry_in_a_batch_that_somebody_paused_waits_and_one_that_paused_by_itself_goes_on(
    store: Store,
) -> None:
    by_hand, by_itself = store.submit(*lines(2)), store.submit(*lines(2))
    for job in store.claim():
        if job.custom_id == "c1":
            store.finish(job, FAILURE)
    pause_batch(store.database, by_hand, clock=CLOCK)
    with store.database.write() as conn:
        pauses.pause_batch(conn, by_itself, code="max_failures", reason="too many", now=NOW)

    for batch in (by_hand, by_itself):
        assert retry_jobs(store.database, Selection(batch, states=FAILED), clock=CLOCK).jobs == 1

    assert found(store, by_hand).state is BatchState.PAUSED
    assert store.counts(by_hand) == {JobState.SCHEDULED: 1, JobState.RUNNING: 1}
    assert found(store, by_itself).state is BatchState.OPEN
    assert store.counts(by_itself) == {JobState.QUEUED: 1, JobState.RUNNING: 1}


def test_a_cancelled_batch_of_which_jobs_are_tried_again_is_open_and_is_finished_in_the_end(
    store: Store,
) -> None:
    with store.database.write() as conn:
        batch = create_batch(conn, key="k", name="b", source=None, now=NOW)[0].id
        insert_jobs(conn, batch, lines(3), now=NOW)
        cancel_batch(conn, batch, now=NOW)  # during its upload

    one = frozenset({job_id(batch, 1)})
    assert retry_jobs(store.database, Selection(batch, one), clock=CLOCK).jobs == 1

    assert (found(store, batch).state, found(store, batch).jobs) == (BatchState.OPEN, 3)
    assert settled(store) == []
    store.finish(store.claim()[0])
    assert settled(store) == [batch]


def test_nothing_of_a_batch_that_is_being_received_is_tried_again(store: Store) -> None:
    with store.database.write() as conn:
        batch = create_batch(conn, key="k", name="b", source=None, now=NOW)[0].id

    with pytest.raises(Conflict, match="receiving"):
        retry_jobs(store.database, Selection(batch), clock=CLOCK)


def test_a_retry_of_very_many_jobs_goes_in_chunks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.maintenance.operate.CHUNK", 7)
    batch = store.submit(*lines(50))
    for job in store.claim(49):
        store.finish(job, FAILURE)

    done = retry_jobs(store.database, Selection(batch), clock=CLOCK)

    assert (done.jobs, done.remaining) == (49, 0)
    assert store.counts() == {JobState.QUEUED: 50}
    told_truly(store)


# -- filters ----------------------------------------------------------------------------------------------------


def test_jobs_are_chosen_by_state_code_model_and_number_across_batches(store: Store) -> None:
    first, second = store.submit(*lines(3)), store.submit(*lines(2), new_job(3, model="b:1"))
    claimed = store.claim()
    store.finish(claimed[0], FAILURE)
    store.finish(claimed[1], Held(Code.RUNNER_DIED, "x"))
    store.finish(claimed[5], Failed(Code.UNSUPPORTED, "x"))

    def count(**conditions: Any) -> int:
        return count_retriable(store.database, Selection(**conditions))

    assert count(batch_id=first) == 2
    assert count(batch_id=first, codes=frozenset({"context_overflow"})) == 1
    assert count(batch_id=first, codes=frozenset({"runner_died", "context_overflow"})) == 2
    assert count(batch_id=second, models=frozenset({"b:1"})) == 1
    assert count(batch_id=second, models=frozenset({"qwen3:8b"})) == 0
    everything = frozenset(job.id for job in claimed)
    assert count(job_ids=everything) == 3
    assert count(job_ids=everything, states=FAILED) == 2
    assert count(batch_id=second, job_ids=everything) == 1
    assert count(batch_id=first, states=frozenset({JobState.HELD})) == 1
    assert count_cancellable(store.database, Selection(second)) == 2

    done = retry_jobs(store.database, Selection(job_ids=everything, states=FAILED), clock=CLOCK)

    assert (done.jobs, done.batches) == (2, (first, second))
    told_truly(store)


def test_jobs_are_chosen_by_custom_id_and_metadata_in_their_batch_and_by_number(store: Store) -> None:
    batch = store.submit(
        new_job(1, metadata={"sku": "a", "new": True}), new_job(2, metadata={"sku": "b"}), new_job(3)
    )
    for job in store.claim():
        store.finish(job, FAILURE)

    def count(**conditions: Any) -> int:
        return count_retriable(store.database, Selection(**conditions))

    numbers = frozenset(batch * 2**24 + n for n in (1, 2))
    assert count(batch_id=batch, metadata=(("sku", "a"),)) == 1
    assert count(batch_id=batch, metadata=(("sku", "a"), ("new", "true"))) == 1
    assert count(batch_id=batch, metadata=(("sku", "a"), ("new", "false"))) == 0
    assert count(job_ids=numbers, metadata=(("sku", "b"),)) == 1
    assert count(job_ids=numbers, custom_ids=frozenset({"c2", "c3"})) == 1
    assert retry_jobs(store.database, Selection(batch, metadata=(("sku", "b"),)), clock=CLOCK).jobs == 1
    assert cancel_jobs(store.database, Selection(batch, metadata=(("sku", "b"),)), clock=CLOCK).jobs == 1


def test_nothing_is_done_to_the_jobs_of_all_batches(store: Store) -> None:
    store.submit(*lines(2))

    for action in (cancel_jobs, retry_jobs, unhold_jobs):
        with pytest.raises(ValueError, match="a batch or jobs"):
            action(store.database, Selection(states=frozenset({JobState.QUEUED})), clock=CLOCK)
    with pytest.raises(ValueError, match="a batch or jobs"):
        matching(Selection())
    assert store.counts() == {JobState.QUEUED: 2}


def test_some_jobs_are_cancelled_and_their_batch_goes_on(store: Store) -> None:
    batch = store.submit(*lines(3), new_job(4, model="b:1", runner_key="b:1"))
    [running] = store.claim(1)

    done = cancel_jobs(store.database, Selection(batch, models=frozenset({"qwen3:8b"})), clock=CLOCK)

    assert (done.jobs, done.running) == (2, 1)
    assert found(store, batch).state is BatchState.OPEN
    assert store.finish(running).accepted
    assert store.counts() == {JobState.CANCELLED: 3, JobState.QUEUED: 1}
    assert cancel_jobs(store.database, Selection(job_ids=frozenset({running.id})), clock=CLOCK).jobs == 0
    told_truly(store)


def test_held_jobs_are_let_go_by_their_code(store: Store) -> None:
    batch = store.submit(*lines(2))
    for job, code in zip(store.claim(), (Code.RUNNER_DIED, Code.MODEL_MISSING), strict=True):
        store.finish(job, Held(code, "x"))

    done = unhold_jobs(store.database, Selection(batch, codes=frozenset({"model_missing"})), clock=CLOCK)

    assert done.jobs == 1
    assert store.counts() == {JobState.QUEUED: 1, JobState.HELD: 1}
    told_truly(store)


def test_held_jobs_of_a_paused_batch_that_are_let_go_wait_for_its_resume(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0], Held(Code.RUNNER_DIED, "x"))
    pause_batch(store.database, batch, clock=CLOCK)

    unhold_jobs(store.database, Selection(batch), clock=CLOCK)

    assert store.counts() == {JobState.SCHEDULED: 1}


def test_jobs_that_have_not_ended_are_made_more_urgent_and_go_first(store: Store) -> None:
    slow, urgent = store.submit(*lines(3)), store.submit(*lines(3))
    running = store.claim(1, batch_id=urgent)

    done = prioritise_jobs(store.database, Selection(urgent), Priority.HIGH, clock=CLOCK)

    assert done.jobs == 3
    assert [job.batch_id for job in store.claim(3, token="t2")] == [urgent, urgent, slow]
    store.finish(running[0])
    assert prioritise_jobs(store.database, Selection(urgent), Priority.HIGH, clock=CLOCK).jobs == 0
    told_truly(store)


def test_an_action_on_a_batch_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match="no batch 7"):
        retry_jobs(store.database, Selection(7), clock=CLOCK)


# -- beside hosts that work -------------------------------------------------------------------------------------


def test_a_pause_and_a_retry_beside_hosts_at_work_leave_each_job_answered_once(
    store: Store, threads: ThreadPoolExecutor
) -> None:
    """Each job fails at its first try and succeeds at its second; meanwhile the batch is paused, resumed, retried."""
    batch, other = store.submit(*lines(75)), store.submit(*lines(25))
    done = threading.Event()

    def work(number: int) -> None:
        token = f"w{number}"
        while not done.is_set():
            jobs = store.claim(4, token=token, host=f"gpu-{1 + number % 2}")
            ends = [ending(job, FAILURE if job.attempt == 1 else None) for job in jobs[1:]]
            with store.database.write() as conn:
                finish_jobs(conn, ends, now=NOW)
            with store.database.write() as conn:
                if jobs:
                    release_jobs(conn, token=token, job_ids=[jobs[0].id], now=NOW)
            with store.database.write() as conn:
                fold_counts(conn, limit=20)

    def tick() -> None:
        while not done.is_set():
            withdraw(store.database)
            in_a_transaction(store, lambda conn: promote_due(conn, now=NOW))()
            in_a_transaction(store, lambda conn: promote_sealed(conn, limit=50, now=NOW))()
            in_a_transaction(store, lambda conn: finish_batches(conn, now=NOW))()

    def answered() -> bool:
        if found(store, batch).state is BatchState.OPEN:
            pause_batch(store.database, batch, clock=CLOCK)
        prioritise_jobs(store.database, Selection(batch), Priority.HIGH, clock=CLOCK)
        for one in (batch, other):
            retry_jobs(store.database, Selection(one, states=FAILED), clock=CLOCK)
        if found(store, batch).state is BatchState.PAUSED:
            resume_batch(store.database, batch, clock=CLOCK)
        return (
            store.counts(batch).get(JobState.SUCCEEDED, 0) + store.counts(other).get(JobState.SUCCEEDED, 0)
            > 95
        )

    working = [threads.submit(work, number) for number in range(4)] + [threads.submit(tick)]
    try:
        wait_until(answered, description="nearly all jobs are answered", timeout=60)
    finally:
        done.set()
    for thread in working:
        thread.result(timeout=30)

    with store.database.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM results WHERE state = 'succeeded'")) > 95
        tried = conn.execute(text("SELECT outcome, count(*) FROM attempts GROUP BY outcome")).all()
    assert dict(tuple(row) for row in tried)["succeeded"] <= 100
    told_truly(store)


def test_a_job_that_is_claimed_while_jobs_are_cancelled_is_flagged(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    batch = fleet.submit(*lines(2))
    chosen = Selection(batch, states=frozenset({JobState.QUEUED, JobState.RUNNING}))
    with fleet.database.write() as worker:
        jobs = in_hands(worker)
        cancelling = threads.submit(cancel_jobs, fleet.database, chosen, clock=CLOCK)
        waits_for_a_lock(fleet)

    done = cancelling.result(timeout=10)
    assert (done.jobs, done.running) == (1, 1)
    assert fleet.finish(jobs[0]).accepted
    assert fleet.counts() == {JobState.CANCELLED: 2}


def test_a_batch_is_not_finished_while_a_job_of_it_is_being_asked_again(
    fleet: Store, threads: ThreadPoolExecutor
) -> None:
    batch = fleet.submit(new_job(1))
    fleet.finish(fleet.claim()[0], FAILURE)
    with fleet.database.write() as operator:
        actions.retry_some(operator, Selection(batch, states=FAILED), now=NOW, limit=10)
        assert threads.submit(settled, fleet).result(timeout=10) == []

    assert settled(fleet) == []
    assert found(fleet, batch).state is BatchState.OPEN


def in_hands(conn: Any) -> Any:
    from datetime import timedelta

    from worker.storage.claims import claim_jobs

    return claim_jobs(
        conn,
        host="gpu-1",
        runner_keys=["qwen3:8b"],
        limit=1,
        token="t1",
        now=NOW,
        lease_until=NOW + timedelta(seconds=90),
    )


# -- batches by name --------------------------------------------------------------------------------------------


def test_a_beginning_that_fits_several_batches_lists_them(store: Store) -> None:
    named(store, "run-1", "reviews"), named(store, "run-2", "replies")

    with store.database.read() as conn:
        assert find_batch(conn, "rev").name == "reviews"
        with pytest.raises(Conflict, match=r"several batches begin with 're': 2 \(replies.*, 1 \(reviews"):
            find_batch(conn, "re")
        with pytest.raises(NotFound):
            find_batch(conn, "REV")
        with pytest.raises(NotFound):
            find_batch(conn, "")


def test_batches_are_listed_newest_first_and_by_state(store: Store) -> None:
    first, second = store.submit(new_job(1)), store.submit(new_job(1))
    pause_batch(store.database, first, clock=CLOCK)

    with store.database.read() as conn:
        assert [batch.id for batch in list_batches(conn)] == [second, first]
        assert [batch.id for batch in list_batches(conn, 1)] == [second]
        assert [batch.id for batch in list_batches(conn, states={BatchState.PAUSED})] == [first]


# -- short ways -------------------------------------------------------------------------------------------------


def named(store: Store, key: str, name: str) -> int:
    with store.database.write() as conn:
        return create_batch(conn, key=key, name=name, source=None, now=NOW)[0].id


def found(store: Store, batch: int) -> Batch:
    with store.database.read() as conn:
        return get_batch(conn, batch)


def settled(store: Store) -> list[int]:
    with store.database.write() as conn:
        return finish_batches(conn, now=NOW)


def promoted_due(store: Store) -> int:
    with store.database.write() as conn:
        return promote_due(conn, now=NOW)


def told_truly(store: Store) -> None:
    """The counts are what a count over the rows gives: by batch, runner key, priority and state."""
    columns = "batch_id, runner_key, priority, state"
    with store.database.read() as conn:
        rows = Counter(tuple(row) for row in conn.execute(text(f"SELECT {columns} FROM jobs")))
        told: Counter[Any] = Counter()
        for table in ("counts", "count_deltas"):
            for *key, jobs in conn.execute(text(f"SELECT {columns}, jobs FROM {table}")):
                told[tuple(key)] += jobs
        for batch in {key[0] for key in rows}:
            assert sum(batch_counts(conn, batch).values()) == sum(
                n for key, n in rows.items() if key[0] == batch
            )
    assert {key: n for key, n in told.items() if n} == dict(rows)
