"""A job that was too long for its window has another runner key from then on: counted there, claimed there, once."""

from collections.abc import Sequence

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, ending, new_job
from tests.integration.storage.test_batch_actions import told_truly
from worker.domain.attempts import Failed, Retried
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, JobState
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.actions import retry_jobs
from worker.storage.batches import promote_sealed
from worker.storage.extend import replace_jobs
from worker.storage.finishes import finish_jobs
from worker.storage.hosts import record_probe
from worker.storage.ids import job_id
from worker.storage.jobs import promote_due
from worker.storage.results import list_attempts

CLOCK = FakeClock(NOW)
SHORT, LONG = "qwen3:8b num_ctx>=4096", "qwen3:8b num_ctx>=8192"
LARGER = Retried(Code.CONTEXT_OVERFLOW, "4,404 tokens", NOW, charged=False, runner_key=LONG)
TOO_LONG = Failed(Code.CONTEXT_OVERFLOW, "9,000 tokens")


def test_a_job_that_is_given_a_larger_window_is_counted_and_claimed_under_its_new_key(store: Store) -> None:
    store.submit(new_job(1, runner_key=SHORT), new_job(2, runner_key=SHORT))
    first, second = store.claim(runner_key=SHORT)

    with store.database.write() as conn:
        finish_jobs(conn, [ending(first, LARGER), ending(second)], now=NOW)
    promote(store)

    assert store.counts() == {JobState.QUEUED: 1, JobState.SUCCEEDED: 1}
    told_truly(store)
    assert store.claim(token="t2", runner_key=SHORT) == []
    [again] = store.claim(token="t2", runner_key=LONG)
    assert (again.id, again.widened, again.charged) == (first.id, True, 0)
    with store.database.read() as conn:
        attempt = list_attempts(conn, first.id)[0]
    assert (attempt.outcome, attempt.charged) == ("retried", False)


def test_who_asks_again_lets_a_window_grow_again(store: Store) -> None:
    batch = too_long_twice(store)

    retry_jobs(store.database, failed(batch), clock=CLOCK)

    [again] = store.claim(token="t3", runner_key=LONG)
    assert not again.widened
    told_truly(store)


def test_a_job_that_is_asked_otherwise_was_never_too_long(store: Store) -> None:
    batch = too_long_twice(store)

    with store.database.write() as conn:
        replace_jobs(conn, batch, [(job_id(batch, 1), new_job(1, prompt="Shorter.", runner_key=SHORT))])
    promote(store)

    [again] = store.claim(token="t3", runner_key=SHORT)
    assert not again.widened
    told_truly(store)


def test_what_is_tried_again_with_other_options_keeps_a_window_for_its_length(store: Store) -> None:
    named = new_job(2, request={"options": {"num_ctx": 2048}})
    batch = store.submit(new_job(1, prompt="x" * 9_000), named, new_job(3))
    for job in store.claim():
        store.finish(job, TOO_LONG)

    retry_jobs(store.database, failed(batch), clock=CLOCK, options={"num_predict": 1200, "num_ctx": None})

    assert names(store.claim(token="t2", runner_key=SHORT)) == ["c2", "c3"]
    assert names(store.claim(token="t2", runner_key="qwen3:8b num_ctx>=6144")) == ["c1"]
    told_truly(store)


def test_a_model_that_reasons_keeps_its_room_when_it_is_tried_again(store: Store) -> None:
    with store.database.write() as conn:
        model = HostModel("qwen3:8b", "d", thinking=True, trained_context=6144)
        record_probe(conn, "gpu-1", version="0.24.0", models=[model], now=NOW)
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0], TOO_LONG)

    retry_jobs(store.database, failed(batch), clock=CLOCK, options={"temperature": 0})

    assert names(store.claim(token="t2", runner_key="qwen3:8b num_ctx>=6144")) == ["c1"]


def too_long_twice(store: Store) -> int:
    """A batch whose one job was too long for its first window and for the larger one."""
    batch = store.submit(new_job(1, runner_key=SHORT))
    store.finish(store.claim(runner_key=SHORT)[0], LARGER)
    promote(store)
    [larger] = store.claim(token="t2", runner_key=LONG)
    assert larger.widened
    store.finish(larger, TOO_LONG)
    return batch


def promote(store: Store) -> None:
    with store.database.write() as conn:
        promote_due(conn, now=NOW)
        promote_sealed(conn, limit=100, now=NOW)


def failed(batch: int) -> Selection:
    return Selection(batch, states=frozenset({JobState.FAILED}))


def names(jobs: Sequence[ClaimedJob]) -> list[str]:
    return [job.custom_id for job in jobs]
