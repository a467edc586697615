"""Stored answers and what becomes of them: replaced, deleted, asked anew, claimed at the same moment."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import Store, new_job, stored_context
from worker.domain.attempts import Failed
from worker.domain.jobs import ClaimedJob, JobState, NewJob
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.number import number_all
from worker.storage.actions import retry_some
from worker.storage.check import check_database
from worker.storage.extend import replace_jobs
from worker.storage.keeping import forget_jobs
from worker.storage.results import get_result
from worker.storage.reuse import LOOKED_UP, NEW, Looked, reuse_claimed, reuse_waiting, wants_reuse

MODEL = "qwen3:8b"


def asking(seq: int, **fields: Any) -> NewJob:
    return new_job(seq, prompt="Say it.", request={"options": {"seed": 1}}, reuse=True, **fields)


def answer(store: Store, job: NewJob, digest: str = "d1") -> int:
    """An answer to ``job``, numbered; its id."""
    store.submit(job)
    [claimed] = store.claim()
    store.finish(claimed, digest=digest)
    number_all(store.database)
    return claimed.id


def look(store: Store, digest: str = "d1", *, mark: int = NEW, **more: Any) -> Looked:
    with store.database.write() as conn:
        return reuse_waiting(conn, MODEL, digest, now=store.now, limit=100, mark=mark, **more)


def broken(store: Store) -> list[str]:
    return [one.name for one in check_database(store.database, now=store.now) if one.broken]


def test_an_answer_is_copied_with_its_context_and_without_what_it_took(store: Store) -> None:
    source = answer(store, asking(1))
    batch = store.submit(asking(1))

    assert look(store) == Looked(1, 1)

    with store.database.read() as conn:
        [job] = conn.scalars(text("SELECT id FROM jobs WHERE batch_id = :batch"), {"batch": batch})
        row, context = get_result(conn, job), stored_context(conn, job)
    assert (row.answer, row.reasoning, row.reused_from, row.attempts) == (
        "天空 is blue",
        "Let me think.",
        source,
        0,
    )
    assert (row.eval_seconds, row.load_seconds, row.total_seconds) == (None, None, None)
    assert context == ([151644, 14880, 0, 7], "d1")
    assert store.counts() == {JobState.SUCCEEDED: 1}
    assert broken(store) == []


def test_other_weights_have_other_answers(store: Store) -> None:
    answer(store, asking(1), digest="d1")
    store.submit(asking(1))

    assert look(store, "d2") == Looked(1, 0)
    assert look(store, "d1", mark=LOOKED_UP) == Looked(1, 1)


def test_what_was_looked_at_in_vain_is_not_looked_at_again(store: Store) -> None:
    store.submit(asking(1))
    look(store)

    with store.database.read() as conn:
        assert not wants_reuse(conn, [MODEL])
    assert look(store) == Looked(0, 0)


def test_an_answer_that_was_deleted_is_not_taken(store: Store) -> None:
    source = answer(store, asking(1))
    with store.database.write() as conn:
        forget_jobs(conn, store.batches[-1], [source])
    store.submit(asking(1))
    with store.database.write() as conn:  # as where the row was held by somebody when its job went
        conn.execute(
            text("UPDATE jobs SET finished_at = :now, state = 'failed' WHERE id = :id"),
            {"now": "2026-11-23T02:00:00.000000Z", "id": source},
        )

    assert look(store) == Looked(1, 0)


def test_a_job_that_is_asked_something_else_since_gives_no_answer_to_the_old_question(store: Store) -> None:
    source = answer(store, asking(1))
    with store.database.write() as conn:
        stale = conn.execute(text("SELECT key, digest, job_id FROM reusable")).one()
        replace_jobs(conn, store.batches[-1], [(source, new_job(1, prompt="Something else."))])
        conn.execute(text("UPDATE jobs SET state = 'queued'"))
    [again] = store.claim(token="t2")
    store.finish(again, digest="d1")
    with store.database.write() as conn:
        conn.execute(
            text("INSERT INTO reusable (key, digest, job_id) VALUES (:key, :digest, :job)"),
            {"key": stale.key, "digest": stale.digest, "job": source},
        )
    store.submit(asking(1))

    assert look(store) == Looked(1, 0)


def test_a_failure_is_no_answer(store: Store) -> None:
    store.submit(asking(1))
    store.finish(store.claim()[0], Failed(Code.CUT, "cut", partial="half"), digest="d1")
    store.submit(asking(1))

    assert look(store) == Looked(1, 0)


def test_the_newest_copy_is_taken_and_names_the_job_that_was_asked(store: Store) -> None:
    source = answer(store, asking(1))
    store.submit(asking(1))
    look(store)
    number_all(store.database)
    with store.database.write() as conn:
        forget_jobs(conn, store.batches[0], [source])
    batch = store.submit(asking(1))

    assert look(store) == Looked(1, 1)

    with store.database.read() as conn:
        found = conn.scalars(text("SELECT reused_from FROM results WHERE batch_id = :b"), {"b": batch}).all()
    assert found == [source]
    assert broken(store) == []


def test_a_claimed_job_whose_answer_is_there_was_never_tried(store: Store) -> None:
    answer(store, asking(1))
    store.submit(asking(1), new_job(2))
    claimed = store.claim()

    taken = take(store, claimed)

    assert taken == {claimed[0].id}
    with store.database.read() as conn:
        row = get_result(conn, claimed[0].id)
    assert (row.state, row.attempts, row.started_at) == (JobState.SUCCEEDED, 0, None)
    assert store.finish(claimed[0]).refused == [claimed[0].id]
    assert store.counts() == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1}
    assert broken(store) == []


@pytest.mark.parametrize(
    "since", ["UPDATE jobs SET cancel_requested_at = submitted_at", "UPDATE jobs SET lease_token = 'other'"]
)
def test_a_claimed_job_that_is_cancelled_or_no_longer_ours_takes_nothing(store: Store, since: str) -> None:
    answer(store, asking(1))
    store.submit(asking(1))
    claimed = store.claim()
    with store.database.write() as conn:
        conn.execute(text(f"{since} WHERE state = 'running'"))

    assert take(store, claimed) == frozenset()


def take(store: Store, claimed: list[ClaimedJob]) -> frozenset[int]:
    with store.database.write() as conn:
        return reuse_claimed(conn, claimed, {MODEL: "d1"}, now=store.now)


def test_a_job_asked_again_with_an_option_that_leaves_it_to_chance_takes_nothing(store: Store) -> None:
    answer(store, asking(1))
    batch = store.submit(asking(1))
    store.finish(store.claim()[0], Failed(Code.CUT, "cut"))
    with store.database.write() as conn:
        retry_some(conn, Selection(batch), now=store.now, options={"seed": None, "temperature": 1}, limit=10)
        conn.execute(text("UPDATE jobs SET state = 'queued' WHERE state = 'scheduled'"))

    assert look(store) == Looked(0, 0)
