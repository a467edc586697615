"""At most one result per job, ever; nothing that was generated is thrown away for a late lease."""

import threading
from datetime import timedelta

import pytest

from tests.integration.storage.conftest import NOW, Store, a_result, ending, new_job, stored_context
from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried, Succeeded
from worker.domain.jobs import JobState, Priority
from worker.domain.selection import Selection
from worker.errors import Code
from worker.storage.actions import cancel_some
from worker.storage.finishes import finish_jobs
from worker.storage.jobs import promote_due
from worker.storage.leases import (
    cancel_requested,
    mark_in_slot,
    release_jobs,
    release_strays,
    renew,
    take_host,
)
from worker.storage.rescues import rescue_holder, rescue_stale
from worker.storage.results import iter_results, list_attempts


def test_a_job_is_claimed_once_and_its_result_is_stored(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()

    finished = store.finish(job)

    assert (finished.accepted, finished.refused) == ([job.id], [])
    assert store.claim(token="t2") == []
    [row] = iter_results(store.database, Selection(batch))
    assert (row.state, row.answer, row.attempts) == ("succeeded", "天空 is blue", 1)
    assert store.counts() == {JobState.SUCCEEDED: 1}


def test_the_same_finish_twice_is_refused_the_second_time(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job)

    again = store.finish(job)

    assert again.refused == [job.id]
    with store.database.read() as conn:
        assert [attempt.outcome for attempt in list_attempts(conn, job.id)] == ["succeeded"]


def test_the_same_finish_twice_in_one_group_is_stored_once(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    with store.database.write() as conn:
        finished = finish_jobs(conn, [ending(job), ending(job)], now=store.now)

    assert (finished.accepted, finished.refused) == ([job.id], [job.id])
    assert store.counts() == {JobState.SUCCEEDED: 1}


def test_nobody_gives_back_what_another_worker_runs(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    with store.database.write() as conn:
        assert release_jobs(conn, token="another's", job_ids=[job.id], now=store.now) == 0
        assert release_strays(conn, token="another's", keep=[], now=store.now) == 0

    assert store.counts() == {JobState.RUNNING: 1}


def test_a_worker_that_slept_through_its_lease_cannot_overwrite_the_next_one(store: Store) -> None:
    batch = store.submit(new_job(1))
    [first] = store.claim(lease=1)
    store.later(2)
    rescue(store)
    [second] = store.claim(token="t2", host="gpu-2")

    late = store.finish(first, Succeeded(a_result(answer="late")))
    store.finish(second, Succeeded(a_result(answer="in time")))

    assert late.refused == [first.id]
    [row] = iter_results(store.database, Selection(batch))
    assert (row.answer, row.attempts) == ("in time", 2)
    with store.database.read() as conn:
        assert [attempt.outcome for attempt in list_attempts(conn, first.id)] == ["late", "succeeded"]


def test_a_late_answer_is_kept_where_nobody_claimed_the_job_since_its_rescue(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim(lease=1)
    store.later(2)
    rescue(store)

    late = store.finish(job)

    assert late.accepted == [job.id]
    [row] = iter_results(store.database, Selection(batch))
    assert row.state == "succeeded"
    assert store.claim(token="t2") == []
    assert store.counts() == {JobState.SUCCEEDED: 1}


def test_a_late_failure_of_a_rescued_job_counts_for_nothing(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim(lease=1)
    store.later(2)
    rescue(store)

    assert store.finish(job, Failed(Code.BAD_REPLY, "x")).refused == [job.id]
    assert store.counts() == {JobState.QUEUED: 1}


def test_a_late_answer_to_a_job_cancelled_since_is_refused(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim(lease=1)
    store.later(2)
    rescue(store)
    with store.database.write() as conn:
        cancel_some(conn, Selection(batch), now=store.now, limit=9)

    assert store.finish(job).refused == [job.id]
    assert store.counts() == {JobState.CANCELLED: 1}


def test_a_stale_finish_in_the_same_group_does_not_take_the_row_from_the_fresh_one(store: Store) -> None:
    store.submit(new_job(1))
    [first] = store.claim(lease=1)
    store.later(2)
    rescue(store)
    [second] = store.claim(token="t2")

    with store.database.write() as conn:
        finished = finish_jobs(conn, [ending(first), ending(second)], now=store.now)

    assert (finished.accepted, finished.refused) == ([second.id], [first.id])
    assert store.counts() == {JobState.SUCCEEDED: 1}


def test_a_wrong_token_or_attempt_is_refused(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    with store.database.write() as conn:
        assert finish_jobs(conn, [ending(job, token="other")], now=NOW).refused == [job.id]
        assert finish_jobs(conn, [ending(job, attempt=2)], now=NOW).refused == [job.id]
    assert store.counts() == {JobState.RUNNING: 1}


def test_cancelling_wins_over_an_answer_that_comes_after_it(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    [job] = store.claim(1)
    with store.database.write() as conn:
        counts = cancel_some(conn, Selection(batch), now=store.now, limit=9)
    with store.database.read() as conn:
        assert cancel_requested(conn, token="t1") == {job.id}
        assert cancel_requested(conn, token="another's") == set()

    store.finish(job)

    assert (counts.changed, counts.running) == (1, 1)
    assert store.counts() == {JobState.CANCELLED: 2}
    assert [row.answer for row in iter_results(store.database, Selection(batch))] == [None, None]


@pytest.mark.parametrize(
    ("outcome", "state", "charged"),
    [
        (Succeeded(a_result()), JobState.SUCCEEDED, 0),
        (Failed(Code.CONTEXT_OVERFLOW, "too long", partial="so"), JobState.FAILED, 1),
        (Retried(Code.HOST_BUSY, "busy", NOW + timedelta(seconds=9), charged=False), JobState.SCHEDULED, 0),
        (Retried(Code.TOO_SLOW, "slow", NOW + timedelta(seconds=9), charged=True), JobState.SCHEDULED, 1),
        (Held(Code.RUNNER_DIED, "suspect"), JobState.HELD, 0),
        (Cancelled(partial="so"), JobState.CANCELLED, 0),
    ],
    ids=lambda value: str(value) if isinstance(value, JobState) else None,
)
def test_each_outcome_leads_to_its_state(
    store: Store, outcome: Outcome, state: JobState, charged: int
) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    store.finish(job, outcome)

    assert store.counts() == {state: 1}
    with store.database.read() as conn:
        [attempt] = list_attempts(conn, job.id)
    assert attempt.charged is bool(charged)


def test_a_retried_job_is_eligible_when_its_wait_is_over_and_its_attempt_grows(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job, Retried(Code.TOO_SLOW, "slow", NOW + timedelta(seconds=9), charged=True))

    assert promoted(store) == 0
    store.later(10)
    assert promoted(store) == 1
    [again] = store.claim(token="t2")
    assert (again.attempt, again.charged) == (2, 1)


def test_a_job_given_back_unstarted_is_queued_again_and_nothing_is_charged(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    jobs = store.claim()

    with store.database.write() as conn:
        released = release_jobs(conn, token="t1", job_ids=[jobs[1].id], now=store.now)

    assert released == 1
    assert store.counts() == {JobState.RUNNING: 1, JobState.QUEUED: 1}
    assert store.finish(jobs[1]).refused == [jobs[1].id]
    [again] = store.claim(token="t2")
    assert (again.id, again.charged) == (jobs[1].id, 0)


def test_a_third_loss_holds_a_job(store: Store) -> None:
    store.submit(new_job(1))
    for token in ("t1", "t2", "t3"):
        assert store.claim(token=token, lease=1) or store.claim_suspect(token=token, lease=1)
        store.later(2)
        rescue(store)

    assert store.counts() == {JobState.HELD: 1}


def test_the_answer_of_a_job_that_was_held_meanwhile_is_kept(store: Store) -> None:
    store.submit(new_job(1))
    for token in ("t1", "t2", "t3"):
        claimed = store.claim(token=token, lease=1) or store.claim_suspect(token=token, lease=1)
        store.later(2)
        rescue(store)

    assert store.finish(claimed[0]).accepted == [claimed[0].id]
    assert store.counts() == {JobState.SUCCEEDED: 1}


def test_a_job_that_ran_at_two_deaths_is_claimed_alone_and_never_with_others(store: Store) -> None:
    store.submit(new_job(1))
    for token in ("t1", "t2"):
        assert store.claim(token=token, lease=1)
        store.later(2)
        rescue(store)
    store.submit(new_job(1), new_job(2))

    ordinary = store.claim(token="t3")
    suspects = store.claim_suspect(token="t3") + store.claim_suspect(token="t3")

    assert [job.losses for job in ordinary] == [0, 0]
    assert [job.losses for job in suspects] == [2]


def test_the_jobs_of_a_process_that_died_were_running_when_it_died(store: Store) -> None:
    store.submit(new_job(1))
    for token in ("t1", "t2"):
        assert store.claim(token=token)
        with store.database.write() as conn:
            assert rescue_holder(conn, now=store.now).retried == 1
        promoted(store)

    assert not store.claim(token="t3")
    assert [job.losses for job in store.claim_suspect(token="t3")] == [2]


def test_renewing_tells_which_jobs_are_still_ours_and_which_to_cancel(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    jobs = store.claim(lease=1)
    store.finish(jobs[0])
    with store.database.write() as conn:
        cancel_some(conn, Selection(batch), now=store.now, limit=9)
        renewed = renew(
            conn, token="t1", job_ids=[job.id for job in jobs], lease_until=store.now + timedelta(seconds=90)
        )

    assert renewed.job_ids == renewed.cancel == frozenset({jobs[1].id})
    store.later(2)
    assert rescue(store) == 0


def test_renewing_jobs_that_nobody_wants_cancelled_cancels_none(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    jobs = store.claim()

    with store.database.write() as conn:
        renewed = renew(
            conn, token="t1", job_ids=[job.id for job in jobs], lease_until=store.now + timedelta(seconds=90)
        )

    assert renewed.job_ids == frozenset(job.id for job in jobs)
    assert renewed.cancel == frozenset()


def test_a_job_that_bears_the_token_and_is_in_nobodys_hands_is_not_renewed_and_can_be_given_back(
    store: Store,
) -> None:
    store.submit(new_job(1), new_job(2))
    held, _ = store.claim(lease=9)

    with store.database.write() as conn:
        renewed = renew(conn, token="t1", job_ids=[held.id], lease_until=store.now + timedelta(seconds=90))
        given_back = release_strays(conn, token="t1", keep=[held.id], now=store.now)

    assert renewed.job_ids == {held.id}
    assert given_back == 1
    assert store.counts() == {JobState.RUNNING: 1, JobState.QUEUED: 1}


def test_two_claimers_never_share_a_job(store: Store) -> None:
    store.submit(*(new_job(seq) for seq in range(1, 201)))
    taken: list[list[int]] = []

    def take(token: str) -> None:
        mine = []
        while jobs := store.claim(7, token=token):
            mine += [job.id for job in jobs]
        taken.append(mine)

    threads = [threading.Thread(target=take, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [job for mine in taken for job in mine]
    assert len(ids) == len(set(ids)) == 200


def test_the_most_urgent_is_claimed_first_then_the_order_of_the_input(store: Store) -> None:
    store.submit(
        new_job(1), new_job(2, priority=Priority.BULK), new_job(3, priority=Priority.HIGH), new_job(4)
    )

    assert [job.custom_id for job in store.claim()] == ["c3", "c1", "c4", "c2"]


def test_a_claim_may_be_limited_to_some_priorities(store: Store) -> None:
    store.submit(new_job(1), new_job(2, priority=Priority.BULK))

    assert [job.custom_id for job in store.claim(priorities=[Priority.BULK])] == ["c2"]


def test_only_one_worker_serves_a_host_until_its_lease_ends(store: Store) -> None:
    until = NOW + timedelta(seconds=90)

    with store.database.write() as conn:
        assert take_host(conn, host="gpu-1", token="a", now=NOW, until=until)
        assert not take_host(conn, host="gpu-1", token="b", now=NOW, until=until)
        assert take_host(conn, host="gpu-1", token="b", now=until + timedelta(seconds=1), until=until)
        assert not take_host(conn, host="nobody", token="a", now=NOW, until=until)


def test_context_tokens_come_back_as_they_came_with_the_weights_they_belong_to(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    store.finish(job, digest="sha256:abc")

    with store.database.read() as conn:
        assert stored_context(conn, job.id) == ([151644, 14880, 0, 7], "sha256:abc")


def test_what_no_database_can_hold_is_replaced_in_an_answer(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()

    store.finish(job, Succeeded(a_result(answer="a\0b \ud800 😀")))

    [row] = iter_results(store.database, Selection(batch))
    assert row.answer == "a\ufffdb \ufffd 😀"


def rescue(store: Store) -> int:
    with store.database.write() as conn:
        rescued = rescue_stale(conn, now=store.now)
        promote_due(conn, now=store.now)
    return rescued.retried + rescued.held + rescued.cancelled


def promoted(store: Store) -> int:
    with store.database.write() as conn:
        return promote_due(conn, now=store.now)


def test_a_job_that_was_claimed_ahead_does_not_pay_for_the_death_of_its_worker(store: Store) -> None:
    store.submit(new_job(1), new_job(2), new_job(3))
    jobs = store.claim(lease=1)
    with store.database.write() as conn:
        mark_in_slot(conn, token="t1", job_ids=[jobs[0].id])
    store.later(2)
    rescue(store)

    assert [job.losses for job in store.claim(token="t2")] == [1, 0, 0]


def test_where_none_was_seen_in_a_slot_any_may_be_what_the_worker_died_of(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    store.claim(lease=1)
    store.later(2)
    rescue(store)

    assert [job.losses for job in store.claim(token="t2")] == [1, 1]
