"""Operations on some jobs of a batch, and pauses, retries and priorities of many: they survive whoever began them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, new_job
from tests.integration.storage.test_operations import broken, lines, most_rows, rows, states
from tests.maintenance import tick, tidy
from worker.domain.attempts import Failed
from worker.domain.batches import BatchState
from worker.domain.jobs import After, JobState, Priority
from worker.domain.operations import Operation, Verb
from worker.domain.selection import Selection
from worker.errors import Code, Conflict
from worker.maintenance import operate
from worker.maintenance.actions import (
    Changed,
    cancel_jobs,
    pause_batch,
    prioritise_jobs,
    resume_batch,
    retry_jobs,
)
from worker.maintenance.keeping import delete_jobs
from worker.maintenance.operate import run_operation
from worker.storage import pauses
from worker.storage.backlog import read_backlog
from worker.storage.batches import cancel_batch, get_batch
from worker.storage.counts import batch_progress
from worker.storage.follows.links import Link, link_jobs
from worker.storage.ids import job_id
from worker.storage.operations import open_operation, open_operations, unreadable_operations

CLOCK = FakeClock(NOW)
FAILURE = Failed(Code.UNSUPPORTED, "no")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "CHUNK", 10)
    monkeypatch.setattr(operate, "LINES", 10)
    monkeypatch.setattr(operate, "WINDOW", 3)
    monkeypatch.setattr(pauses, "MANY", 10)


def some(batch: int, **conditions: Any) -> Selection:
    """Of the 60 jobs of ``a_batch`` every second one."""
    return Selection(batch, metadata=(("kind", "even"),), **conditions)


def a_batch(store: Store) -> int:
    return store.submit(*(new_job(n, metadata={"kind": ("even", "odd")[n % 2]}) for n in range(1, 61)))


def a_failed_batch(store: Store) -> int:
    batch = a_batch(store)
    for job in store.claim(100):
        store.finish(job, FAILURE)
    return batch


def goes_on(store: Store, batch: int) -> Operation | None:
    with store.database.read() as conn:
        return open_operation(conn, batch)


def stands(store: Store, batch: int) -> str:
    with store.database.read() as conn:
        return batch_progress(conn, batch).stands


def a_paused_batch(store: Store) -> int:
    batch = a_batch(store)
    pause_batch(store.database, batch, clock=CLOCK)
    return batch


Begin = Callable[[Store, int], Changed]
SELECTED: dict[str, tuple[Callable[[Store], int], Begin, str, dict[str, int]]] = {
    "cancel": (
        a_batch,
        lambda s, b: cancel_jobs(s.database, some(b), clock=CLOCK, most_seconds=0),
        "open, cancelling 20 of 30",
        {"cancelled": 30, "queued": 30},
    ),
    "retry": (
        a_failed_batch,
        lambda s, b: retry_jobs(s.database, some(b), clock=CLOCK, most_seconds=0),
        "open, retrying 20 of 30",
        {"failed": 30, "queued": 30},
    ),
    "set": (
        a_batch,
        lambda s, b: prioritise_jobs(s.database, some(b), Priority.HIGH, clock=CLOCK, most_seconds=0),
        "open, setting the priority of 20 of 30",
        {"queued": 60},
    ),
    "pause": (
        a_batch,
        lambda s, b: pause_batch(s.database, b, clock=CLOCK, most_seconds=0),
        "pausing 10 of 60",
        {"scheduled": 60},
    ),
    "resume": (
        a_paused_batch,
        lambda s, b: resume_batch(s.database, b, clock=CLOCK, most_seconds=0),
        "resuming 10 of 60",
        {"queued": 60},
    ),
}


@pytest.mark.parametrize("verb", SELECTED)
def test_what_somebody_began_is_continued_by_the_service(store: Store, verb: str) -> None:
    make, begin, words, ends = SELECTED[verb]
    batch = make(store)

    changed = begin(store, batch)
    assert changed.remaining and stands(store, batch) == words
    operation = goes_on(store, batch)
    assert operation is not None and operation.verb is Verb(verb)

    store.later(60)
    for _ in range(2):
        tidy(store.database, clock=FakeClock(store.now))
    if verb == "retry":
        tick(store.database, clock=FakeClock(store.now))

    assert goes_on(store, batch) is None
    assert states(store, batch) == ends and broken(store) == []
    if verb == "set":
        assert rows(store, "SELECT priority, count(*) FROM jobs GROUP BY priority ORDER BY 1") == [
            (1, 30),
            (2, 30),
        ]


@pytest.mark.parametrize("verb", ["cancel", "retry", "set"])
def test_no_transaction_of_a_selection_changes_more_rows_than_a_chunk(store: Store, verb: str) -> None:
    make, begin, _, _ = SELECTED[verb]
    batch = make(store)

    def work() -> None:
        begin(store, batch)
        tidy(store.database, clock=CLOCK)

    assert most_rows(store, work) <= 20  # asked again, and its results are written


def test_a_deletion_of_some_jobs_that_was_interrupted_is_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = a_batch(store)
    running = store.claim(3)

    class Killed(Exception):
        pass

    def killed(_: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        delete_jobs(store.database, [some(batch)], clock=CLOCK, rest=killed)
    assert stands(store, batch).startswith("open, deleting ")

    store.later(60)
    tidy(store.database, clock=FakeClock(store.now))

    assert goes_on(store, batch) is None
    assert len(running) == 3 and states(store, batch) == {"queued": 28, "running": 2}
    assert broken(store) == []


def test_a_cancel_of_the_batch_ends_a_deletion_first_that_was_interrupted(store: Store) -> None:
    batch = a_batch(store)

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete_jobs(store.database, [some(batch)], clock=CLOCK, rest=killed)
    cancel_jobs(store.database, Selection(batch), clock=CLOCK)

    assert states(store, batch) == {"cancelled": 30} and broken(store) == []


def test_two_that_work_one_retry_off_report_it_once(store: Store) -> None:
    batch = a_failed_batch(store)
    failed = Selection(batch, states=frozenset({JobState.FAILED}))
    retry_jobs(store.database, failed, clock=CLOCK, most_seconds=0)
    operation = goes_on(store, batch)
    assert operation is not None
    other = run_operation

    def also(_: float) -> None:
        other(store.database, operation.id, clock=CLOCK)

    reports: list[Operation] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(operate, "report", reports.append)
        run_operation(store.database, operation.id, clock=CLOCK, rest=also)

    assert [one.verb for one in reports] == [Verb.RETRY]


def test_a_conversation_over_two_chunks_is_deleted_whole(store: Store) -> None:
    """Turns that others go on from cannot go before these are cancelled, which is in a later chunk."""
    batch = store.submit(
        *(new_job(n, after=After((str(n - 1),), carry=True) if n > 1 else None) for n in range(1, 31))
    )
    with store.database.write() as conn:
        link_jobs(
            conn,
            [Link(job_id(batch, n), job_id(batch, n - 1), carry=True, release=False) for n in range(2, 31)],
        )

    gone = delete_jobs(store.database, [Selection(batch)], clock=CLOCK, rest=lambda _: None)

    assert (gone.jobs, gone.batches, states(store, batch)) == (30, (batch,), {})
    assert broken(store) == []


def test_jobs_that_are_named_one_by_one_go_in_chunks_too(store: Store) -> None:
    batch, other = a_batch(store), store.submit(new_job(1))
    ids = frozenset(job_id(batch, n) for n in range(1, 36)) | {job_id(other, 1)}

    done = cancel_jobs(store.database, Selection(job_ids=ids), clock=CLOCK)

    assert (done.jobs, done.remaining, set(done.batches)) == (36, 0, {batch, other})
    assert states(store, batch) == {"cancelled": 35, "queued": 25} and broken(store) == []


# -- one a batch at a time ------------------------------------------------------------------------------------------


def test_a_second_operation_waits_for_the_first_and_the_same_one_goes_on_with_it(store: Store) -> None:
    batch = a_failed_batch(store)
    retry_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)

    with pytest.raises(Conflict, match=f"batch {batch}: retry still goes on"):
        cancel_jobs(store.database, some(batch), clock=CLOCK)
    with pytest.raises(Conflict, match="retry still goes on"):
        retry_jobs(store.database, some(batch), clock=CLOCK, options={"seed": 1})
    again = retry_jobs(store.database, some(batch), clock=CLOCK)

    assert (again.jobs, again.remaining) == (30, 0)
    assert len(rows(store, "SELECT id FROM operations")) == 1


def test_a_cancel_of_the_whole_batch_supersedes_what_goes_on(store: Store) -> None:
    batch = a_failed_batch(store)
    with store.database.write() as conn:
        conn.execute(text("UPDATE batches SET state = 'open'"))
    retry_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)

    cancel_jobs(store.database, Selection(batch), clock=CLOCK)

    assert states(store, batch) == {"cancelled": 20, "failed": 40} and broken(store) == []
    assert rows(store, "SELECT verb, error FROM operations ORDER BY id") == [
        ("retry", "superseded: cancel"),
        ("cancel", None),
    ]


def test_a_batch_is_paused_at_once_whatever_goes_on_with_it(store: Store) -> None:
    batch = a_batch(store)
    prioritise_jobs(store.database, some(batch), Priority.HIGH, clock=CLOCK, most_seconds=0)

    pause_batch(store.database, batch, clock=CLOCK)

    assert states(store, batch) == {"scheduled": 60}
    assert stands(store, batch) == "paused, setting the priority of 20 of 30"


def test_a_resume_supersedes_a_pause_and_the_reverse(store: Store) -> None:
    batch = a_batch(store)
    pause_batch(store.database, batch, clock=CLOCK, most_seconds=0)
    resume_batch(store.database, batch, clock=CLOCK, most_seconds=0)
    pause_batch(store.database, batch, clock=CLOCK)

    assert goes_on(store, batch) is None
    assert states(store, batch) == {"scheduled": 60} and broken(store) == []


def test_a_retry_finishes_a_pause_whose_rows_still_follow(store: Store) -> None:
    batch = a_batch(store)
    for job in store.claim(5):
        store.finish(job, FAILURE)
    pause_batch(store.database, batch, clock=CLOCK, most_seconds=0)

    done = retry_jobs(store.database, Selection(batch, states=frozenset({JobState.FAILED})), clock=CLOCK)

    assert done.jobs == 5 and states(store, batch) == {"scheduled": 60}


# -- from the moment of the decision --------------------------------------------------------------------------------


def test_jobs_of_a_batch_that_is_being_paused_are_no_work_that_waits(store: Store) -> None:
    batch = a_batch(store)

    pause_batch(store.database, batch, clock=CLOCK, most_seconds=0)

    assert states(store, batch) == {"queued": 50, "scheduled": 10}
    with store.database.read() as conn:
        assert read_backlog(conn, now=NOW) == []
    assert store.claim(100) == []


def test_jobs_of_a_batch_of_which_some_are_being_cancelled_are_claimed(store: Store) -> None:
    batch = a_batch(store)

    cancel_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)

    with store.database.read() as conn:
        [waiting] = read_backlog(conn, now=NOW)
    assert waiting.jobs == 40 and len(store.claim(100)) == 40


def test_a_batch_that_paused_by_itself_goes_on_when_the_last_of_a_retry_is_asked_again(store: Store) -> None:
    batch = a_failed_batch(store)
    store.submit(new_job(1))
    with store.database.write() as conn:
        pauses.pause_batch(conn, batch, code="same_failure", reason="r", now=NOW)
    retry_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)
    assert stands(store, batch) == "paused, retrying 20 of 30"

    tidy(store.database, clock=CLOCK)

    with store.database.read() as conn:
        assert get_batch(conn, batch).state is BatchState.OPEN


# -- on record --------------------------------------------------------------------------------------------------------


def test_a_small_action_is_done_at_once_and_leaves_no_record(store: Store) -> None:
    batch = store.submit(*lines(5))

    done = prioritise_jobs(store.database, Selection(batch), Priority.HIGH, clock=CLOCK, most_seconds=0)

    assert (done.jobs, done.remaining) == (5, 0)
    assert rows(store, "SELECT * FROM operations") == []


def test_an_operation_says_who_decided_it(store: Store) -> None:
    batch = a_batch(store)

    cancel_jobs(store.database, some(batch), clock=CLOCK, principal="anna", most_seconds=0)

    operation = goes_on(store, batch)
    assert operation is not None
    assert (operation.principal, operation.selection) == ("anna", some(batch))


def test_operations_that_ended_a_week_ago_are_forgotten(store: Store) -> None:
    old, young, open_ = (store.submit(*lines(25)) for _ in range(3))
    cancel_jobs(store.database, Selection(old), clock=CLOCK)
    store.later(6 * 86400)
    cancel_jobs(store.database, Selection(young), clock=FakeClock(store.now))
    with store.database.write() as conn:
        cancel_batch(conn, open_, now=NOW)

    store.later(2 * 86400)
    operate.operate(store.database, FakeClock(store.now))

    assert rows(store, "SELECT batch_id FROM operations ORDER BY 1") == [(young,), (open_,)]


def test_an_operation_that_this_version_cannot_read_stops_no_other_and_is_named(store: Store) -> None:
    bad, good = a_batch(store), a_batch(store)
    for batch in (bad, good):
        cancel_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)
    newer = {"selection": '{"batch_id": 1, "moods": ["sad"]}', "batch": bad}
    with store.database.write() as conn:
        conn.execute(text("UPDATE operations SET selection = :selection WHERE batch_id = :batch"), newer)

    tidy(store.database, clock=CLOCK)

    assert goes_on(store, good) is None and stands(store, bad) == "open"
    with store.database.read() as conn:
        assert open_operations(conn) == []
        [unreadable] = unreadable_operations(conn)
    assert "moods" in str(unreadable)


def test_the_last_step_of_an_operation_that_ended_elsewhere_is_not_taken_again(store: Store) -> None:
    batch = a_batch(store)
    cancel_jobs(store.database, some(batch), clock=CLOCK, most_seconds=0)
    operation = goes_on(store, batch)
    assert operation is not None
    cancel_jobs(store.database, Selection(batch), clock=CLOCK)

    after = run_operation(store.database, operation.id, clock=CLOCK)

    assert (after.done, after.error) == (20, "superseded: cancel")


def test_the_age_of_a_deletion_counts_for_those_that_still_run(store: Store) -> None:
    batch = store.submit(*lines(3))
    store.claim(1)

    gone = delete_jobs(
        store.database, [some(batch), Selection(batch)], clock=CLOCK, rest=lambda _: None, wait=0
    )

    assert gone.jobs == 3 and states(store, batch) == {}
    assert timedelta(0) < operate.RETENTION
