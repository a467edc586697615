"""A batch that only fails stops by itself, once, and says why."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, ending, new_job
from worker.domain.attempts import Failed, Retried
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.maintenance.actions import resume_batch, retry_jobs
from worker.serving.brake import Braked, MaxFailures, apply_brakes, parse_max_failures
from worker.storage.batches import get_batch
from worker.storage.finishes import finish_jobs
from worker.storage.tables import batches

CLOCK = FakeClock(NOW)
OVERFLOW = Failed(Code.CONTEXT_OVERFLOW, "the prompt has 9,000 tokens,\n the window 4,096")


def test_a_batch_whose_first_twenty_outcomes_fail_with_one_code_pauses_itself_and_says_so(
    store: Store,
) -> None:
    batch = submitted(store, 100)
    fail(store, 19)
    assert brake(store) == []

    fail(store, 1)
    [braked] = brake(store)

    assert (braked.batch_id, braked.code) == (batch, "same_failure")
    assert braked.reason == (
        "20 of 20 outcomes failed with context_overflow: the prompt has 9,000 tokens, the window 4,096; "
        f"correct it, then: caravan resume {batch}, or caravan retry {batch} --state failed"
    )
    with store.database.read() as conn:
        found = get_batch(conn, batch)
    assert (found.state, found.pause_code, found.pause_reason) == (
        BatchState.PAUSED,
        "same_failure",
        braked.reason,
    )
    assert store.counts() == {JobState.FAILED: 20, JobState.SCHEDULED: 80}
    assert brake(store) == []


def test_failures_of_several_codes_or_one_success_do_not_stop_a_batch(store: Store) -> None:
    submitted(store, 50)
    fail(store, 19)
    fail(store, 1, Failed(Code.UNSUPPORTED, "x"))
    assert brake(store) == []

    submitted(store, 50)
    succeed(store, 1)
    fail(store, 30)

    assert brake(store) == []


def test_a_batch_of_fewer_jobs_and_a_retry_that_is_not_final_never_stop_one(store: Store) -> None:
    submitted(store, 19)
    fail(store, 19)
    assert brake(store) == []

    submitted(store, 30)
    fail(store, 19)
    for job in store.claim(11, batch_id=store.batches[-1]):
        store.finish(job, Retried(Code.CONTEXT_OVERFLOW, "x", NOW, True))

    assert brake(store) == []


def test_twenty_more_failures_after_a_resume_stop_it_again_and_fewer_do_not(store: Store) -> None:
    batch = submitted(store, 100)
    fail(store, 24)
    assert len(brake(store)) == 1
    resume_batch(store.database, batch, clock=CLOCK)

    fail(store, 19)
    assert brake(store) == []
    fail(store, 1)

    [braked] = brake(store)
    assert braked.reason.startswith("20 of 20 outcomes failed since it went on with context_overflow: ")


def test_failures_of_another_code_after_a_resume_stop_it_too(store: Store) -> None:
    batch = submitted(store, 100)
    fail(store, 20)
    brake(store)
    resume_batch(store.database, batch, clock=CLOCK)

    store.later(60)
    fail(store, 20, Failed(Code.UNSUPPORTED, "no vision"))

    assert "with unsupported: no vision" in brake(store)[0].reason


def test_failures_of_several_codes_after_a_resume_do_not_stop_it(store: Store) -> None:
    batch = submitted(store, 100)
    fail(store, 24)
    brake(store)
    resume_batch(store.database, batch, clock=CLOCK)

    store.later(60)
    fail(store, 10)
    fail(store, 10, Failed(Code.UNSUPPORTED, "no vision"))

    assert brake(store) == []


def test_after_a_retry_of_what_failed_the_batch_goes_on_and_is_judged_anew(store: Store) -> None:
    batch = submitted(store, 60)
    fail(store, 20)
    brake(store)

    retry_jobs(store.database, Selection(batch, states=frozenset({JobState.FAILED})), clock=CLOCK)

    assert store.counts() == {JobState.QUEUED: 60}
    fail(store, 19)
    assert brake(store) == []
    fail(store, 1)
    assert len(brake(store)) == 1


def test_more_failures_than_allowed_pause_a_batch_and_after_a_resume_they_count_anew(store: Store) -> None:
    batch = submitted(store, 60, max_failures="3")
    succeed(store, 30)
    fail(store, 3)
    assert brake(store) == []

    fail(store, 1)
    [braked] = brake(store)

    assert braked.code == "max_failures"
    assert braked.reason.startswith(
        "4 of 34 outcomes failed, more than --max-failures 3 allows; caravan status"
    )
    resume_batch(store.database, batch, clock=CLOCK)
    fail(store, 3)
    assert brake(store) == []
    fail(store, 1)
    assert len(brake(store)) == 1


def test_a_share_of_failures_is_judged_from_the_twentieth_outcome_on(store: Store) -> None:
    submitted(store, 60, max_failures="10%")
    fail(store, 5)
    succeed(store, 14)
    assert brake(store) == []

    succeed(store, 1)

    assert brake(store)[0].reason.startswith("5 of 20 outcomes failed, more than --max-failures 10% allows")


def test_many_that_stored_failures_at_once_pause_the_batch_once(store: Store) -> None:
    batch = submitted(store, 100)
    fail(store, 40)
    with ThreadPoolExecutor(4) as pool:
        told = [
            braked
            for found in pool.map(lambda _: apply_brakes(store.database, [batch], clock=CLOCK), range(8))
            for braked in found
        ]

    assert [braked.code for braked in told] == ["same_failure"]
    assert store.counts() == {JobState.FAILED: 40, JobState.SCHEDULED: 60}


def test_batches_that_are_not_there_or_have_ended_are_left_alone(store: Store) -> None:
    batch = submitted(store, 20)
    fail(store, 20)
    with store.database.write() as conn:
        conn.execute(text("UPDATE batches SET state = 'finished', finished_at = created_at"))

    assert apply_brakes(store.database, [batch, 999], clock=CLOCK) == []
    assert apply_brakes(store.database, [], clock=CLOCK) == []


def test_a_limit_is_a_number_or_a_share() -> None:
    assert parse_max_failures("0") == MaxFailures(0)
    assert parse_max_failures(" 12.5% ") == MaxFailures(12.5, percent=True)


@pytest.mark.parametrize("text", ["", "%", "-1", "5 %", "101%", "1.5", "five", "٣", "1" * 20, "1e3"])
def test_a_limit_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="--max-failures"):
        parse_max_failures(text)


def submitted(store: Store, jobs: int, *, max_failures: str | None = None) -> int:
    batch = store.submit(*(new_job(seq) for seq in range(1, jobs + 1)))
    with store.database.write() as conn:
        conn.execute(update(batches).where(batches.c.id == batch).values(max_failures=max_failures))
    return batch


def fail(store: Store, jobs: int, outcome: Failed = OVERFLOW) -> None:
    _end(store, jobs, outcome)


def succeed(store: Store, jobs: int) -> None:
    _end(store, jobs, None)


def _end(store: Store, jobs: int, outcome: Failed | None) -> None:
    claimed = store.claim(jobs, batch_id=store.batches[-1])
    assert len(claimed) == jobs
    with store.database.write() as conn:
        finish_jobs(conn, [ending(job, outcome) for job in claimed], now=store.now)


def brake(store: Store) -> list[Braked]:
    return apply_brakes(store.database, store.batches, clock=CLOCK)
