"""Jobs that follow others: when they begin, what they go on from, and what becomes of them where there is no answer."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, a_result, new_job
from worker.clock import Clock
from worker.domain.attempts import Failed, Held, Succeeded
from worker.domain.jobs import After, ClaimedJob, JobState, NewJob
from worker.domain.selection import Selection
from worker.door.chains import mark_parents
from worker.errors import Code
from worker.maintenance.actions import cancel_jobs, retry_jobs
from worker.maintenance.keeping import delete_jobs
from worker.maintenance.promote import settle_rounds
from worker.storage import tables
from worker.storage.batches import create_batch, promote_sealed, seal_batch
from worker.storage.check import check_database
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection
from worker.storage.follows.links import Link, link_jobs, mark_followed
from worker.storage.follows.parents import parents_of
from worker.storage.follows.runners import conversations_of, share_runner
from worker.storage.ids import job_id, place_of
from worker.storage.jobs import expire_due, insert_jobs
from worker.storage.results import get_result

FAILURE = Failed(Code.UNSUPPORTED, "no")


def chain(store: Store, *jobs: NewJob) -> int:
    """A sealed batch of jobs whose ``after`` names places."""
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key=f"k{len(store.batches)}", name="b", source=None, now=store.now)
        insert_jobs(conn, batch.id, jobs, now=store.now)
        links = [
            Link(
                job_id(batch.id, job.seq),
                parent if isinstance(parent, int) else job_id(batch.id, int(parent)),
                job.after.carry,
                job.after.release,
            )
            for job in jobs
            if job.after is not None
            for parent in job.after.parents
        ]
        link_jobs(conn, links)
        share_runner(conn, list(conversations_of(links)))
        mark_followed(conn, batch.id)
        seal_batch(conn, batch.id, jobs=len(jobs), now=store.now)
        promote_sealed(conn, limit=100_000, now=store.now)
    store.batches.append(batch.id)
    return batch.id


def turn(seq: int, *parents: int | str, carry: bool = True, release: bool = False, **more: Any) -> NewJob:
    return new_job(seq, after=After(tuple(map(str, parents)), carry, release), **more)


def settled(store: Store) -> None:
    settle_rounds(store.database, now=store.now)


def promises(store: Store) -> list[str]:
    return [
        f"{one.name}: {one.places}" for one in check_database(store.database, now=store.now) if one.broken
    ]


def clock(store: Store) -> Clock:
    return FakeClock(store.now)


def ids(claimed: list[ClaimedJob]) -> list[str]:
    return [job.custom_id for job in claimed]


def test_a_turn_begins_once_the_one_before_it_is_answered_and_goes_on_from_its_context(store: Store) -> None:
    chain(store, new_job(1), turn(2, 1), turn(3, 2))

    (first,) = store.claim()
    store.finish(first, Succeeded(a_result(context=(1, 2, 3))), digest="d" * 64)
    (second,) = store.claim()

    assert first.request.get("context") is None
    assert (second.custom_id, second.request["context"], second.request["context_digest"]) == (
        "c2",
        [1, 2, 3],
        "d" * 64,
    )
    assert store.counts() == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1, JobState.WAITING: 1}
    assert promises(store) == []


def test_a_job_waits_for_the_last_of_several(store: Store) -> None:
    chain(store, new_job(1), new_job(2), new_job(3), turn(4, 1, 2, 3, carry=False))
    first, second, third = store.claim()

    store.finish(first)
    store.finish(third)
    assert store.claim() == []
    store.finish(second)

    (fourth,) = store.claim()
    assert (fourth.custom_id, fourth.request.get("context")) == ("c4", None)


def test_a_conversation_whose_turn_fails_ends_with_it_and_says_so(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1), turn(3, 2), turn(4, 3))

    store.finish(store.claim()[0], FAILURE)
    settled(store)

    assert store.counts() == {JobState.FAILED: 4}
    with store.database.read() as conn:
        second, last = (get_result(conn, job_id(batch, seq)) for seq in (2, 4))
    assert second.error_code == last.error_code == "parent_failed"
    assert second.error_message == "c1, which it follows, failed (unsupported)"
    assert promises(store) == []


def test_a_turn_that_may_goes_on_without_an_answer_before_it(store: Store) -> None:
    chain(store, new_job(1), turn(2, 1, release=True), turn(3, 2))

    store.finish(store.claim()[0], FAILURE)
    (second,) = store.claim()

    assert (second.custom_id, second.request.get("context")) == ("c2", None)
    store.finish(second)
    assert ids(store.claim()) == ["c3"]


def test_one_parent_without_an_answer_is_enough(store: Store) -> None:
    chain(store, new_job(1), new_job(2), turn(3, 1, 2, carry=False))
    first, _second = store.claim()

    store.finish(first, FAILURE)

    assert store.counts() == {JobState.FAILED: 2, JobState.RUNNING: 1}


def test_what_follows_a_cancelled_job_is_cancelled(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1), turn(3, 2), new_job(4))

    cancel_jobs(store.database, Selection(batch, custom_ids=frozenset({"c1"})), clock=clock(store))
    settled(store)

    assert store.counts() == {JobState.CANCELLED: 3, JobState.QUEUED: 1}
    assert promises(store) == []


def test_a_job_that_waits_expires_and_what_follows_it_fails(store: Store) -> None:
    deadline = store.now + timedelta(minutes=1)
    chain(store, new_job(1), turn(2, 1, deadline=deadline, expires=True), turn(3, 2))
    store.claim()

    store.later(61)
    with store.database.write() as conn:
        expire_due(conn, now=store.now)
    settled(store)

    assert store.counts() == {JobState.RUNNING: 1, JobState.EXPIRED: 1, JobState.FAILED: 1}


@pytest.mark.thorough
def test_a_long_conversation_is_given_up_without_end_of_the_stack(store: Store) -> None:
    turns = 1200
    chain(store, new_job(1), *(turn(n, n - 1) for n in range(2, turns + 1)))

    store.finish(store.claim()[0], FAILURE)
    for _ in range(turns):
        if store.counts() == {JobState.FAILED: turns}:
            break
        settled(store)

    assert store.counts() == {JobState.FAILED: turns}
    assert promises(store) == []


def test_a_retried_turn_brings_back_what_failed_for_want_of_it(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1), turn(3, 2), new_job(4))
    first, fourth = store.claim()
    store.finish(first, FAILURE)
    store.finish(fourth)
    settled(store)

    one = Selection(job_ids=frozenset({job_id(batch, 1)}), batch_id=batch)
    assert retry_jobs(store.database, one, clock=clock(store)).jobs == 3
    with store.database.write() as conn:
        promote_sealed(conn, limit=100, now=store.now)

    assert store.counts() == {JobState.QUEUED: 1, JobState.WAITING: 2, JobState.SUCCEEDED: 1}
    for expected in ("c1", "c2", "c3"):
        (job,) = store.claim()
        assert job.custom_id == expected
        store.finish(job)
    assert store.counts() == {JobState.SUCCEEDED: 4}
    assert promises(store) == []


def test_a_turn_that_failed_itself_is_retried_from_the_same_context(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1))
    store.finish(store.claim()[0], Succeeded(a_result(context=(5,))))
    store.finish(store.claim()[0], FAILURE)

    retry_jobs(store.database, Selection(batch, states=frozenset({JobState.FAILED})), clock=clock(store))
    settled(store)

    (again,) = store.claim()
    assert again.request["context"] == [5]


def test_a_retry_of_a_turn_whose_parent_failed_fails_again_while_that_one_has_no_answer(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1))
    store.finish(store.claim()[0], FAILURE)
    second = Selection(batch, custom_ids=frozenset({"c2"}))

    retry_jobs(store.database, second, clock=clock(store))
    settled(store)

    assert store.counts() == {JobState.FAILED: 2}


def test_a_batch_of_which_all_waits_for_held_jobs_goes_on_by_nobody(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1), turn(3, 2))
    store.finish(store.claim()[0], Held(Code.MODEL_MISSING, "gone"))

    with store.database.read() as conn:
        progress = batch_progress(conn, batch)
        (before,) = parents_of(conn, job_id(batch, 3))

    assert (progress.open, progress.total) == (0, 3)
    assert (before.custom_id, before.state) == ("c2", JobState.WAITING)


def test_a_job_may_follow_one_of_an_earlier_batch_that_has_ended(store: Store) -> None:
    first = store.submit(new_job(1))
    store.finish(store.claim()[0], Succeeded(a_result(context=(8, 9))))

    chain(store, new_job(1, after=After((job_id(first, 1),), carry=True)))
    settled(store)

    (second,) = store.claim()
    assert second.request["context"] == [8, 9]


def test_what_a_conversation_goes_on_from_is_not_deleted_before_it_has_ended(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1))
    store.finish(store.claim()[0], Succeeded(a_result(context=(1,))))
    first = Selection(batch, custom_ids=frozenset({"c1"}))

    assert delete_jobs(store.database, [first], clock=clock(store), rest=lambda _: None).jobs == 0
    store.finish(store.claim()[0])
    assert delete_jobs(store.database, [first], clock=clock(store), rest=lambda _: None).jobs == 1
    assert promises(store) == []


def test_all_turns_of_a_conversation_have_one_runner_large_enough_for_the_last(store: Store) -> None:
    wide: dict[str, Any] = {"runner_key": "qwen3:8b num_ctx>=4096", "estimate": 1000}
    chain(store, new_job(1, **wide), turn(2, 1, **wide), turn(3, 2, **wide), new_job(4, **wide))

    (first,) = store.claim(runner_key="qwen3:8b num_ctx>=6144")
    (other,) = store.claim(runner_key="qwen3:8b num_ctx>=4096")

    assert (first.custom_id, other.custom_id) == ("c1", "c4")
    assert promises(store) == []


def test_what_a_large_batch_waits_for_is_marked_a_part_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.storage.follows.links.MARKED_AT_ONCE", 4)
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=store.now)
        insert_jobs(
            conn, batch.id, [new_job(1), *(turn(seq, seq - 1) for seq in range(2, 11))], now=store.now
        )
        links = [Link(job_id(batch.id, seq), job_id(batch.id, seq - 1), True, False) for seq in range(2, 11)]
        link_jobs(conn, links)
        mark_followed(conn, batch.id)
        first = marked(conn)

    mark_parents(store.database, batch.id)

    with store.database.write() as conn:
        assert (first, marked(conn)) == ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9])
        seal_batch(conn, batch.id, jobs=10, now=store.now)
        promote_sealed(conn, limit=100, now=store.now)
    store.finish(store.claim()[0], Succeeded(a_result(context=(1,))))
    assert ids(store.claim()) == ["c2"]
    assert promises(store) == []


def marked(conn: Connection) -> list[int]:
    """The places of the jobs whose ends are news."""
    j = tables.jobs.c
    return [place_of(job) for job in conn.scalars(select(j.id).where(j.followed).order_by(j.id))]


@pytest.mark.parametrize("conversations", [20, 100])
def test_conversations_are_given_their_runners_in_a_few_statements(store: Store, conversations: int) -> None:
    """Not one query and one update for each: a batch of 100,000 of them held everybody up for minutes."""
    wide: dict[str, Any] = {"runner_key": "qwen3:8b num_ctx>=4096", "estimate": 3000}
    jobs = [
        turn(seq, seq - 1, **wide) if seq % 3 != 1 else new_job(seq, **wide)
        for seq in range(1, 3 * conversations + 1)
    ]
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=store.now)
        insert_jobs(conn, batch.id, jobs, now=store.now)
        links = [Link(id_, id_ - 1, carry=True, release=False) for id_ in follower_ids(batch.id, jobs)]
        link_jobs(conn, links)
    statements: list[str] = []
    event.listen(store.database._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    with store.database.write() as conn:
        share_runner(conn, list(conversations_of(links)))

    assert len([one for one in statements if not one.startswith("BEGIN")]) <= 5
    with store.database.read() as conn:
        keys = conn.execute(select(tables.jobs.c.runner_key).distinct()).scalars().all()
    assert keys == ["qwen3:8b num_ctx>=12288"] and promises(store) == []


def follower_ids(batch: int, jobs: Iterable[NewJob]) -> list[int]:
    return [job_id(batch, job.seq) for job in jobs if job.after is not None]


def test_an_answer_that_went_on_from_another_is_taken_for_no_other_job(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=store.now)
        insert_jobs(conn, batch.id, [new_job(1), turn(2, 1)], now=store.now)
        keys = conn.exec_driver_sql("SELECT reuse_key IS NULL FROM payloads ORDER BY job_id").scalars().all()

    assert [bool(key) for key in keys] == [False, True]


@pytest.mark.thorough
def test_the_two_last_parents_that_end_at_once_let_their_child_go(store: Store) -> None:
    rounds = 25
    for _ in range(rounds):
        chain(store, new_job(1), new_job(2), turn(3, 1, 2, carry=False))
    claimed = store.claim(limit=100, token="t1")
    barrier = threading.Barrier(2)

    def finish(jobs: list[ClaimedJob]) -> None:
        for job in jobs:
            barrier.wait()
            store.finish(job)

    with ThreadPoolExecutor(2) as pool:
        halves = [[job for job in claimed if job.custom_id == name] for name in ("c1", "c2")]
        for done in [pool.submit(finish, half) for half in halves]:
            done.result()
    settled(store)

    assert len(store.claim(limit=100)) == rounds
    assert promises(store) == []
