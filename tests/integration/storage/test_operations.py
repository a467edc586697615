"""Operations on whole batches: the batch changes at once, its rows follow in chunks, whoever is killed in between."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from api_schemas.jobs import JobDefaults
from tests.clocks import FakeClock
from tests.door import submit_lines
from tests.integration.storage.conftest import KEY, NOW, Store, a_result, ending, new_job
from tests.maintenance import tick, tidy
from worker.domain.attempts import Succeeded
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.domain.notices import Addressee, Channel
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import Conflict, InputRefused, Problem
from worker.maintenance import operate
from worker.maintenance.actions import cancel_jobs, retry_jobs
from worker.maintenance.keeping import delete_jobs, prune_due
from worker.maintenance.operate import run_operation, take_step
from worker.storage.ahead import open_jobs
from worker.storage.backlog import read_backlog, read_due
from worker.storage.batches import cancel_batch, create_batch, get_batch
from worker.storage.check import check_database
from worker.storage.counts import batch_progress
from worker.storage.jobs import insert_jobs
from worker.storage.leases import renew, renew_host, take_host
from worker.storage.notices import due_notices, promise_notices
from worker.storage.operations import open_operation, open_operations
from worker.storage.refusals import list_rejects, refuse_batch
from worker.storage.rescues import rescue_stale

CLOCK = FakeClock(NOW)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "CHUNK", 10)
    monkeypatch.setattr(operate, "LINES", 10)


def cancelled(store: Store, batch: int) -> Operation:
    with store.database.write() as conn:
        return cancel_batch(conn, batch, now=store.now)


def step(store: Store, operation: Operation) -> Operation:
    with store.database.write() as conn:
        return take_step(conn, operation.id, now=store.now, wait=timedelta(0))[0]


def uploaded(store: Store, jobs: int, key: str = "k") -> int:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key=key, name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, lines(jobs), now=NOW)
    return batch.id


def lines(count: int, **fields: Any) -> list[Any]:
    return [new_job(seq, **fields) for seq in range(1, count + 1)]


def broken(store: Store) -> list[tuple[str, Any]]:
    return [(one.name, one.places) for one in check_database(store.database, now=NOW) if one.broken]


def states(store: Store, batch: int) -> dict[str, int]:
    with store.database.read() as conn:
        rows = conn.execute(
            text("SELECT state, count(*) FROM jobs WHERE batch_id = :batch GROUP BY state"), {"batch": batch}
        )
        return {row[0]: row[1] for row in rows}


def most_rows(store: Store, work: Callable[[], object]) -> int:
    """The most rows of ``jobs`` that one transaction of ``work`` changed."""
    changed: list[int] = [0]
    engine = store.database._engine

    def began(conn: Any) -> None:
        changed.append(0)

    def executed(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("UPDATE jobs", "DELETE FROM jobs", "WITH picked")):
            changed[-1] += max(0, cursor.rowcount)

    event.listen(engine, "begin", began)
    event.listen(engine, "after_cursor_execute", executed)
    try:
        work()
    finally:
        event.remove(engine, "begin", began)
        event.remove(engine, "after_cursor_execute", executed)
    assert sum(changed) > 0
    return max(changed)


# -- the bound of a chunk -------------------------------------------------------------------------------------------


def test_no_transaction_of_a_cancel_changes_more_rows_than_a_chunk(store: Store) -> None:
    batch = store.submit(*lines(35))

    def cancel() -> None:
        done = cancel_jobs(store.database, Selection(batch), clock=CLOCK)
        assert (done.jobs, done.running) == (35, 0)

    assert most_rows(store, cancel) == 10
    assert states(store, batch) == {"cancelled": 35} and broken(store) == []


def test_no_transaction_of_a_delete_changes_more_rows_than_a_chunk_twice(store: Store) -> None:
    batch = store.submit(*lines(35))

    def delete() -> None:
        gone = delete_jobs(store.database, [Selection(batch)], clock=CLOCK, rest=lambda _: None)
        assert (gone.jobs, gone.batches) == (35, (batch,))

    assert most_rows(store, delete) <= 2 * 10  # cancelled, and deleted
    assert states(store, batch) == {} and broken(store) == []


def test_no_transaction_of_a_refusal_changes_more_rows_than_a_chunk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.door.upload.CHUNK", 7)
    monkeypatch.setattr("worker.door.intake.SAMPLE", 1)
    upload = [json.dumps({"prompt": str(n)}) for n in range(35)] + ['{"prompt": 3}']

    def refuse() -> None:
        with pytest.raises(InputRefused, match="36"):
            submit(store, upload)

    assert most_rows(store, refuse) <= 10
    assert rows(store, "SELECT count(*) FROM jobs") == [(0,)] and broken(store) == []
    tidy(store.database, clock=CLOCK)
    assert rows(store, "SELECT count(*) FROM counts WHERE jobs <> 0") == [(0,)]


def submit(store: Store, upload: list[str]) -> None:
    submit_lines(
        store.database,
        upload,
        key="up",
        name="up",
        defaults=JobDefaults(model="qwen3:8b"),
        clock=CLOCK,
    )


def rows(store: Store, statement: str) -> list[tuple[Any, ...]]:
    with store.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(statement))]


# -- from the moment of the decision --------------------------------------------------------------------------------


def test_a_batch_is_cancelled_before_its_rows_are(store: Store) -> None:
    batch = store.submit(*lines(15))

    cancelled(store, batch)

    with store.database.read() as conn:
        assert get_batch(conn, batch).state is BatchState.CANCELLED
    assert states(store, batch) == {"queued": 15}


@pytest.mark.parametrize("dated", [False, True])
def test_jobs_of_a_cancelled_batch_are_not_claimed_and_those_around_it_are(store: Store, dated: bool) -> None:
    fields: dict[str, Any] = {"deadline": NOW + timedelta(hours=1), "expires": True} if dated else {}
    first, batch, last = (store.submit(*lines(3, **fields)) for _ in range(3))

    cancelled(store, batch)

    claimed = [job.batch_id for job in store.claim()]
    assert sorted(claimed) == [first] * 3 + [last] * 3
    assert store.claim(batch_id=batch) == []


def test_jobs_of_a_cancelled_batch_are_passed_over_whosever_turn_it_is(store: Store) -> None:
    first, second = store.submit(*lines(5)), store.submit(*lines(5))
    assert [job.batch_id for job in store.claim(1)] == [first]
    store.later(40)

    cancelled(store, second)

    assert [job.batch_id for job in store.claim(3)] == [first] * 3


def test_a_suspect_of_a_cancelled_batch_is_not_claimed(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET losses = 2"))

    cancelled(store, batch)

    assert store.claim_suspect(token="t1") == []


def test_jobs_of_a_cancelled_batch_are_not_promoted(store: Store) -> None:
    batch = store.submit(*lines(3))
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET state = 'scheduled', eligible_at = NULL"))
        conn.execute(text("UPDATE count_deltas SET state = 'scheduled' WHERE state = 'queued'"))
    cancelled(store, batch)

    tick(store.database, clock=CLOCK)

    assert states(store, batch) == {"scheduled": 3}


def test_jobs_of_a_cancelled_batch_are_no_work_that_waits(store: Store) -> None:
    other = store.submit(*lines(2, deadline=NOW + timedelta(hours=2)))
    batch = store.submit(*lines(15, deadline=NOW + timedelta(hours=1)))

    cancelled(store, batch)

    with store.database.read() as conn:
        [waiting] = read_backlog(conn, now=NOW)
        assert waiting.jobs == 2
        assert [(one.batch_id, one.jobs) for one in open_jobs(conn)] == [(other, 2)]
        assert read_due(conn, now=NOW) == {KEY: [(NOW + timedelta(hours=2), 2)]}
        assert read_backlog(conn, now=NOW, batch_id=batch) == []


def test_a_job_of_a_cancelled_batch_is_told_to_stop_and_its_late_answer_is_not_stored(store: Store) -> None:
    batch = store.submit(*lines(15))
    jobs = store.claim(2)

    operation = cancelled(store, batch)

    with store.database.write() as conn:
        told = renew(
            conn, token="t1", job_ids=[job.id for job in jobs], lease_until=NOW + timedelta(seconds=9)
        )
    assert told.cancel == {job.id for job in jobs} and operation.running == 2
    assert store.finish(jobs[0], Succeeded(a_result())).accepted == [jobs[0].id]
    assert rows(store, "SELECT count(*) FROM results") == [(0,)]
    done = run_operation(store.database, operation.id, clock=CLOCK)
    assert (done.done, done.running) == (13, 2)
    store.finish(jobs[1])
    assert states(store, batch) == {"cancelled": 15} and broken(store) == []


def test_an_answer_of_a_job_that_was_claimed_as_its_batch_was_cancelled_is_not_stored(store: Store) -> None:
    batch = store.submit(*lines(2))
    job, rescued = store.claim(2)
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET lease_until = NULL, lease_token = NULL, state = 'scheduled', "
                          "rescued_token = 't1' WHERE id = :id"), {"id": rescued.id})  # fmt: skip
    cancelled(store, batch)
    with store.database.write() as conn:  # its claim was not there to be seen
        conn.execute(text("UPDATE jobs SET cancel_requested_at = NULL"))

    store.finish(job)

    assert store.finish(rescued).refused == [rescued.id]
    assert rows(store, "SELECT count(*) FROM results") == [(0,)]


def test_no_stored_notice_is_sent_before_the_rows_of_a_cancelled_batch_have_followed(store: Store) -> None:
    batch = store.submit(*lines(15))
    with store.database.write() as conn:
        promise_notices(conn, batch, [Addressee(Channel.COMMAND, "true")], now=NOW)
    operation = cancelled(store, batch)

    with store.database.read() as conn:
        assert due_notices(conn, now=NOW, limit=9) == []
    run_operation(store.database, operation.id, clock=CLOCK)
    with store.database.read() as conn:
        assert len(due_notices(conn, now=NOW, limit=9)) == 1


def test_a_cancelled_batch_says_how_far_its_rows_have_followed(store: Store) -> None:
    batch = store.submit(*lines(25))
    operation = cancelled(store, batch)
    step(store, operation)

    with store.database.read() as conn:
        assert batch_progress(conn, batch).stands == "cancelling 10 of 25"
    run_operation(store.database, operation.id, clock=CLOCK)
    with store.database.read() as conn:
        assert batch_progress(conn, batch).stands == "cancelled"


# -- after a crash --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
def test_an_operation_that_was_interrupted_is_continued_by_the_service(store: Store, verb: Verb) -> None:
    batch = store.submit(*lines(35))
    store.claim(2)
    with store.database.write() as conn:
        operation = cancel_batch(conn, batch, now=store.now, verb=verb)
    step(store, operation)  # and whoever began it is killed

    store.later(60)
    later = FakeClock(store.now)
    tidy(store.database, clock=later)

    assert states(store, batch) == ({"cancelled": 33, "running": 2} if verb is Verb.CANCEL else {})
    with store.database.read() as conn:
        assert open_operations(conn) == []
        assert (get_batch(conn, batch).pruned_at is not None) == (verb is Verb.DELETE)
    with store.database.write() as conn:
        rescue_stale(conn, now=store.now + timedelta(hours=1))
    assert states(store, batch) in ({"cancelled": 35}, {}) and broken(store) == []


def test_a_refusal_that_was_interrupted_says_what_is_wrong_and_is_continued(store: Store) -> None:
    batch = uploaded(store, 25)
    with store.database.write() as conn:
        refuse_batch(conn, batch, [Problem(26, "prompt", "missing", "no prompt")], now=NOW)
    with store.database.read() as conn:
        assert get_batch(conn, batch).state is BatchState.REFUSED
        assert [problem.line for problem in list_rejects(conn, batch)] == [26]
        assert batch_progress(conn, batch).stands == "refused, dropping 25 lines"
        assert open_jobs(conn) == []
    assert states(store, batch) == {"scheduled": 25} and broken(store) == []

    tidy(store.database, clock=CLOCK)

    assert states(store, batch) == {} and broken(store) == []


def test_a_refused_batch_begins_anew_without_a_line_of_before(store: Store) -> None:
    batch = uploaded(store, 25, key="up")
    with store.database.write() as conn:
        refuse_batch(conn, batch, [Problem(26, "prompt", "missing", "no prompt")], now=NOW)
    with pytest.raises(Conflict, match="refuse"), store.database.write() as conn:
        create_batch(conn, key="up", name="b", source=None, now=NOW)

    submit(store, ['{"prompt": "another", "custom_id": "new"}'])

    assert rows(store, "SELECT custom_id, state FROM jobs") == [("new", "queued")]
    assert broken(store) == []


def test_a_step_that_fails_stops_no_other_operation_and_is_told(store: Store) -> None:
    bad, good = store.submit(*lines(3)), store.submit(*lines(3))
    cancelled(store, bad)
    cancelled(store, good)
    with store.database.write() as conn:
        conn.execute(text("UPDATE operations SET verb = 'refuse' WHERE batch_id = :bad"), {"bad": bad})
        conn.execute(text("INSERT INTO results (job_id, batch_id, custom_id, model, state, host, answer, attempts, "
                          "finished_at) SELECT id, batch_id, custom_id, model, 'succeeded', 'h', 'a', 1, submitted_at "
                          "FROM jobs WHERE batch_id = :bad"), {"bad": bad})  # fmt: skip

    with pytest.raises(Exception, match=f"batch {bad}"):
        operate.operate(store.database, CLOCK)

    assert states(store, good) == {"cancelled": 3}
    with store.database.read() as conn:
        [left] = open_operations(conn)
    assert left.batch_id == bad and left.error


# -- beside other commands ------------------------------------------------------------------------------------------


def test_a_batch_that_is_being_cancelled_cannot_be_retried_until_that_is_over(store: Store) -> None:
    batch = store.submit(*lines(25))
    operation = cancelled(store, batch)
    step(store, operation)
    again = Selection(batch, states=frozenset({JobState.CANCELLED}))

    with pytest.raises(Conflict, match="10 of 25"):
        retry_jobs(store.database, again, clock=CLOCK)

    run_operation(store.database, operation.id, clock=CLOCK)
    assert retry_jobs(store.database, again, clock=CLOCK).jobs == 25
    assert len(store.claim()) == 25 and broken(store) == []


def test_the_same_cancel_again_goes_on_with_what_was_interrupted(store: Store) -> None:
    batch = store.submit(*lines(25))
    step(store, cancelled(store, batch))

    assert cancel_jobs(store.database, Selection(batch), clock=CLOCK).jobs == 25
    with pytest.raises(Conflict, match="nothing left"):
        cancel_jobs(store.database, Selection(batch), clock=CLOCK)


def test_a_delete_supersedes_a_cancel(store: Store) -> None:
    batch = store.submit(*lines(25))
    step(store, cancelled(store, batch))

    gone = delete_jobs(store.database, [Selection(batch)], clock=CLOCK, rest=lambda _: None)

    assert (gone.jobs, gone.batches) == (25, (batch,))
    with store.database.read() as conn:
        assert open_operation(conn, batch) is None
    assert broken(store) == []


def test_a_batch_whose_rows_still_follow_is_not_pruned(store: Store) -> None:
    batch = store.submit(*lines(25))
    cancelled(store, batch)

    later = FakeClock(NOW + timedelta(days=30))

    assert prune_due(store.database, clock=later, default=timedelta(days=1), rest=lambda _: None) == 0


def test_a_batch_that_is_cancelled_during_its_upload_has_the_jobs_that_were_stored(store: Store) -> None:
    batch = uploaded(store, 13)
    operation = cancelled(store, batch)
    assert broken(store) == []

    run_operation(store.database, operation.id, clock=CLOCK)

    with store.database.read() as conn:
        assert get_batch(conn, batch).jobs == 13
    assert broken(store) == []


def test_two_that_work_one_cancel_off_at_once_count_each_job_once(store: Store) -> None:
    batch = store.submit(*lines(95))
    operation = cancelled(store, batch)
    gate = threading.Barrier(3)

    def work() -> Operation:
        gate.wait(timeout=10)
        return run_operation(store.database, operation.id, clock=CLOCK)

    with ThreadPoolExecutor(3) as threads:
        ends = [end.result(timeout=60) for end in [threads.submit(work) for _ in range(3)]]

    assert {end.done for end in ends} == {95}
    assert states(store, batch) == {"cancelled": 95} and broken(store) == []


def test_between_two_chunks_a_heartbeat_and_a_finish_of_another_batch_wait_for_nobody(store: Store) -> None:
    batch, other = store.submit(*lines(25)), store.submit(new_job(1))
    jobs = store.claim(limit=100, batch_id=other) + store.claim(limit=1, batch_id=batch)
    with store.database.write() as conn:
        assert take_host(conn, host="gpu-1", token="t1", now=NOW, until=NOW + timedelta(seconds=90))
    until = NOW + timedelta(seconds=500)
    beats = []

    def beat(_: float) -> None:
        with store.database.write() as conn:
            conn.execute(text("SELECT 1"))
            beats.append(renew_host(conn, host="gpu-1", token="t1", now=NOW, until=until))
            renew(conn, token="t1", job_ids=[job.id for job in jobs], lease_until=until)

    run_operation(store.database, cancelled(store, batch).id, clock=CLOCK, rest=beat)

    assert beats == [True, True]
    assert store.finish(jobs[0]).accepted == [jobs[0].id]
    assert ending(jobs[1]).token == "t1"
    assert states(store, other) == {"succeeded": 1}
