"""Jobs that have an answer and are asked again: the old answer stays until a new one is stored, however that ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from tests.integration.storage.conftest import Store, a_result, cancel_batch, cancel_jobs, new_job
from worker.domain.answers import AnswerFilter
from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried, Succeeded
from worker.domain.jobs import After, ClaimedJob, JobState
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.number import number_all
from worker.storage.actions import cancel_some, count_matching, retried_states, retry_some, unhold_some
from worker.storage.batches import finish_batches, promote_sealed
from worker.storage.check import check_database
from worker.storage.follows.links import Link, link_jobs, mark_followed
from worker.storage.follows.settling import settle_followers
from worker.storage.jobs import expire_due
from worker.storage.keeping import end_running
from worker.storage.leases import release_jobs
from worker.storage.rescues import rescue_holder
from worker.storage.results import ResultRow, get_result, iter_results, list_attempts
from worker.storage.reuse import Looked, reuse_waiting
from worker.storage.tables import jobs
from worker.storage.tables.schedules import schedule_answers, schedule_documents, schedules

CUT = AnswerFilter(cut=True)
FAILURE = Failed(Code.CONTEXT_OVERFLOW, "the prompt has 9,000 tokens")


def cut_answer(store: Store, **fields: Any) -> ClaimedJob:
    """A batch of one job, whose answer was cut and has its number."""
    store.submit(new_job(1, **fields))
    [job] = store.claim()
    store.finish(job, Succeeded(a_result(answer="half", cut=True)), digest="d1")
    number(store)
    return job


def number(store: Store) -> None:
    number_all(store.database)


def retry(store: Store, **more: Any) -> int:
    batch = store.batches[-1]
    with store.database.write() as conn:
        step = retry_some(conn, Selection(batch, answers=CUT), now=store.now, limit=100, **more)
        promote_sealed(conn, limit=100, now=store.now)
    return step.changed


def row(store: Store, job: ClaimedJob) -> ResultRow:
    with store.database.read() as conn:
        return get_result(conn, job.id)


def shown(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as conn:
        return [tuple(found) for found in conn.execute(text(query))]


def claim(store: Store) -> ClaimedJob:
    """The one job that waits, whatever its options made of its runner key."""
    [(key,)] = shown(store, "SELECT runner_key FROM jobs WHERE state = 'queued'")
    [job] = store.claim(runner_key=key)
    return job


def whole(store: Store) -> bool:
    return [one for one in check_database(store.database, now=store.now) if one.broken] == []


def test_a_cut_answer_is_asked_again_and_stays_readable_until_the_new_one_is_stored(store: Store) -> None:
    job = cut_answer(store)

    assert retry(store, options={"num_predict": 4096}) == 1

    assert store.counts() == {JobState.QUEUED: 1}
    assert (row(store, job).state, row(store, job).answer, row(store, job).cut) == ("succeeded", "half", True)
    assert shown(store, "SELECT state, answer FROM report_results") == [("succeeded", "half")]
    assert whole(store)

    again = claim(store)
    assert again.request["options"]["num_predict"] == 4096
    assert whole(store)
    store.finish(again, Succeeded(a_result(answer="all of it")))

    assert store.counts() == {JobState.SUCCEEDED: 1}
    assert (row(store, job).answer, row(store, job).cut, row(store, job).attempts) == ("all of it", False, 2)
    assert whole(store)
    number(store)
    assert shown(store, "SELECT number, answer FROM report_results") == [(2, "all of it")]
    assert whole(store)


def test_jobs_with_an_answer_are_left_alone_unless_they_are_named(store: Store) -> None:
    job = cut_answer(store)
    batch = Selection(store.batches[-1])

    def again(chosen: Selection) -> int:
        with store.database.read() as conn:
            return count_matching(conn, chosen.among(retried_states(chosen)))

    assert again(batch) == again(Selection(None, frozenset({job.id}))) == 0
    assert again(Selection(batch.batch_id, states=frozenset({JobState.SUCCEEDED}))) == 1
    assert again(Selection(batch.batch_id, answers=CUT)) == 1
    assert again(Selection(batch.batch_id, answers=AnswerFilter(fits=frozenset({"no"})))) == 0
    assert again(Selection(batch.batch_id, answers=AnswerFilter(cut=True, fits=frozenset({"yes"})))) == 1


def asked(store: Store, job: ClaimedJob, outcome: Outcome) -> None:
    again = claim(store)
    store.finish(again, outcome)


def cancelled_while_it_runs(store: Store, job: ClaimedJob) -> None:
    again = claim(store)
    with store.database.write() as conn:
        cancel_jobs(conn, [job.id], now=store.now)
    store.finish(again, Cancelled("so far"))


def cancelled_and_answered(store: Store, job: ClaimedJob) -> None:
    again = claim(store)
    with store.database.write() as conn:
        cancel_jobs(conn, [job.id], now=store.now)
    store.finish(again)


def given_back_when_cancelled(store: Store, job: ClaimedJob) -> None:
    again = claim(store)
    with store.database.write() as conn:
        cancel_jobs(conn, [job.id], now=store.now)
        release_jobs(conn, token=again.token, job_ids=[job.id], now=store.now)


def rescued_when_cancelled(store: Store, job: ClaimedJob) -> None:
    store.claim()
    with store.database.write() as conn:
        cancel_jobs(conn, [job.id], now=store.now)
        rescue_holder(conn, now=store.now)


def ended_when_deleted(store: Store, job: ClaimedJob) -> None:
    store.claim()
    with store.database.write() as conn:
        end_running(conn, job.batch_id, [job.id], now=store.now)


def cancelled_with_others(store: Store, job: ClaimedJob) -> None:
    with store.database.write() as conn:
        cancel_some(conn, Selection(job.batch_id, answers=CUT), now=store.now, limit=10)


def cancelled_with_its_batch(store: Store, job: ClaimedJob) -> None:
    with store.database.write() as conn:
        cancel_batch(conn, job.batch_id, now=store.now)


def expired(store: Store, job: ClaimedJob) -> None:
    with store.database.write() as conn:
        conn.execute(update(jobs).values(deadline=store.now - timedelta(seconds=1), expires=True))
        assert expire_due(conn, now=store.now) == 1


WITHOUT_A_NEW_ANSWER: dict[str, Callable[[Store, ClaimedJob], None]] = {
    "it failed": lambda store, job: asked(store, job, FAILURE),
    "it was cancelled while it ran": cancelled_while_it_runs,
    "it was cancelled and answered": cancelled_and_answered,
    "it was cancelled and given back": given_back_when_cancelled,
    "it was cancelled and its worker died": rescued_when_cancelled,
    "it was ended to be deleted": ended_when_deleted,
    "it was cancelled while it waited": cancelled_with_others,
    "its batch was cancelled": cancelled_with_its_batch,
    "its deadline passed": expired,
}


@pytest.mark.parametrize("how", WITHOUT_A_NEW_ANSWER)
def test_a_job_that_gets_no_new_answer_goes_back_to_its_old_one(store: Store, how: str) -> None:
    job = cut_answer(store)
    retry(store)

    WITHOUT_A_NEW_ANSWER[how](store, job)

    assert store.counts() == {JobState.SUCCEEDED: 1}
    assert (row(store, job).state, row(store, job).answer) == (JobState.SUCCEEDED, "half")
    assert row(store, job).finished_at == store.now
    assert whole(store)
    assert retry(store) == 1, "and can be asked once more"


def test_what_went_wrong_the_second_time_stands_in_its_attempts(store: Store) -> None:
    job = cut_answer(store)
    retry(store)

    asked(store, job, FAILURE)

    with store.database.read() as conn:
        attempts = list_attempts(conn, job.id)
    assert [(one.outcome, one.error_code) for one in attempts] == [
        ("succeeded", None),
        ("failed", "context_overflow"),
    ]
    assert shown(store, f"SELECT charged FROM jobs WHERE id = {job.id}") == [(1,)]


def test_a_job_that_is_held_or_waits_for_another_try_keeps_its_old_answer(store: Store) -> None:
    job = cut_answer(store)
    retry(store)

    asked(store, job, Held(Code.MODEL_MISSING, "nobody has it"))
    assert row(store, job).answer == "half"
    assert whole(store)
    with store.database.write() as conn:
        unhold_some(conn, Selection(job.batch_id), limit=10)
        promote_sealed(conn, limit=100, now=store.now)
    asked(store, job, Retried(Code.HOST_BUSY, "busy", store.now, False))
    assert (store.counts(), row(store, job).answer) == ({JobState.SCHEDULED: 1}, "half")
    assert whole(store)


def test_a_late_answer_of_a_worker_that_was_given_up_replaces_the_old_one_once(store: Store) -> None:
    job = cut_answer(store)
    retry(store)
    again = claim(store)
    with store.database.write() as conn:
        rescue_holder(conn, now=store.now)

    assert store.finish(again, Succeeded(a_result(answer="late"))).accepted
    assert store.finish(again, Succeeded(a_result(answer="late"))).refused

    assert (store.counts(), row(store, job).answer) == ({JobState.SUCCEEDED: 1}, "late")
    assert whole(store)


def test_an_answer_from_before_the_retry_that_comes_late_changes_nothing(store: Store) -> None:
    job = cut_answer(store)
    retry(store)

    assert store.finish(job).refused

    assert (store.counts(), row(store, job).answer) == ({JobState.QUEUED: 1}, "half")


def test_an_old_answer_is_listed_as_succeeded_and_its_job_as_queued_no_more(store: Store) -> None:
    job = cut_answer(store)
    retry(store)

    def listed(**chosen: Any) -> list[int]:
        return [one.job_id for one in iter_results(store.database, Selection(**chosen))]

    assert listed() == listed(states=frozenset({JobState.SUCCEEDED})) == listed(answers=CUT) == [job.id]
    assert listed(since=store.now) == [job.id]
    assert listed(states=frozenset({JobState.QUEUED})) == listed(until=store.now) == []


def test_no_stored_answer_is_taken_for_a_job_that_is_asked_again_nor_its_old_one_for_others(
    store: Store,
) -> None:
    request = {"options": {"seed": 1}}
    job = cut_answer(store, request=request, reuse=True)
    retry(store)
    store.submit(new_job(1, request=request, reuse=True))

    with store.database.write() as conn:
        assert reuse_waiting(conn, job.model, "d1", now=store.now, limit=10) == Looked(1, 0)


def test_an_old_answer_that_stays_is_not_taken_for_what_its_request_says_now(store: Store) -> None:
    job = cut_answer(store, request={"options": {"seed": 1, "num_predict": 5}}, reuse=True)
    with store.database.write() as conn:
        conn.execute(text("INSERT INTO fresh_results (job_id) SELECT job_id FROM results"))
    retry(store, options={"num_predict": 4096})
    number(store)
    asked(store, job, FAILURE)
    number(store)
    store.submit(new_job(1, request={"options": {"seed": 1, "num_predict": 4096}}, reuse=True))

    with store.database.write() as conn:
        assert reuse_waiting(conn, job.model, "d1", now=store.now, limit=10) == Looked(1, 0)


def test_what_goes_on_from_an_answer_is_asked_again_after_it_and_what_only_follows_is_not(
    store: Store,
) -> None:
    after = After(("c1",))
    batch = store.submit(
        new_job(1),
        new_job(2, after=After(("c1",), carry=True)),
        new_job(3, after=after),
        new_job(4, after=After(("c2",), combines=True)),
    )
    ids = shown(store, f"SELECT id FROM jobs WHERE batch_id = {batch} ORDER BY id")
    first, second, third, fourth = (found[0] for found in ids)
    with store.database.write() as conn:
        link_jobs(
            conn,
            [
                Link(second, first, True, False),
                Link(third, first, False, False),
                Link(fourth, second, False, False, combines=True),
            ],
        )
        mark_followed(conn, batch)
    for _ in range(3):
        for job in store.claim():
            store.finish(job, Succeeded(a_result(answer="half", cut=job.id == first)))
    assert store.counts() == {JobState.SUCCEEDED: 4}

    assert retry(store) == 3

    assert store.counts() == {JobState.QUEUED: 1, JobState.WAITING: 2, JobState.SUCCEEDED: 1}
    assert whole(store)
    again = claim(store)
    store.finish(again, FAILURE)
    with store.database.write() as conn:
        settle_followers(conn, now=store.now)
    [child] = store.claim()
    assert child.id == second
    with store.database.write() as conn:
        cancel_some(conn, Selection(batch, frozenset({fourth})), now=store.now, limit=10)
    store.finish(child)
    assert store.counts() == {JobState.SUCCEEDED: 4}
    assert whole(store)
    with store.database.write() as conn:
        assert finish_batches(conn, now=store.now) == [batch]


def test_the_copy_that_a_schedule_keeps_of_an_answer_is_renewed_with_it(store: Store) -> None:
    job = cut_answer(store)
    document = {"schedule_id": 1, "custom_id": "a.md", "model": job.model}
    with store.database.write() as conn:
        at = {"added_at": store.now, "changed_at": store.now}
        conn.execute(insert(schedules).values(id=1, name="nightly", spec={}, spec_version=1, **at))
        conn.execute(
            insert(schedule_documents).values(
                **document,
                path="a.md",
                firing_id=1,
                change="new",
                asked_job=job.id,
                answered_job=job.id,
                digest="d1",
                answered_at=store.now,
                first_seen_at=store.now,
                last_seen_at=store.now,
            )
        )
        conn.execute(insert(schedule_answers).values(**document, job_id=job.id, answer="half"))
    copy = "SELECT a.answer, d.digest FROM schedule_answers a JOIN schedule_documents d ON d.answered_job = a.job_id"
    retry(store)
    assert shown(store, copy) == [("half", "d1")]
    store.later(60)

    store.finish(claim(store), Succeeded(a_result(answer="all of it")), digest="d2")

    assert shown(store, copy) == [("all of it", "d2")]
    with store.database.read() as conn:
        assert conn.scalar(select(schedule_documents.c.answered_at)) == store.now
    assert whole(store)
