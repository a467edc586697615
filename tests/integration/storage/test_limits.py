"""A command with a limit on a batch that holds more: what lies outside is held, and asked by the next command without it."""

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, new_job
from tests.integration.storage.test_following_jobs import chain, promises, settled, turn
from worker.domain.attempts import Retried
from worker.domain.jobs import JobState
from worker.errors import Code
from worker.maintenance.actions import bound_jobs, pause_batch, resume_batch
from worker.storage.batches import finish_batches, promote_sealed
from worker.storage.counts import batch_progress
from worker.storage.ids import job_id
from worker.storage.jobs import promote_due

CLOCK = FakeClock(NOW)


def inside(batch: int, *places: int) -> frozenset[int]:
    return frozenset(job_id(batch, place) for place in places)


def claimed(store: Store) -> list[str]:
    jobs = store.claim()
    for job in jobs:
        store.finish(job)
    return [job.custom_id for job in jobs]


def test_jobs_outside_of_a_limit_are_never_claimed_until_it_is_lifted(store: Store) -> None:
    batch = store.submit(*(new_job(n) for n in range(1, 7)))

    bound_jobs(store.database, batch, inside(batch, 2, 5), clock=CLOCK)
    first = claimed(store)
    bound_jobs(store.database, batch, inside(batch, 1, 2), clock=CLOCK)
    second = claimed(store)
    with store.database.read() as conn:
        progress = batch_progress(conn, batch)
    bound_jobs(store.database, batch, None, clock=CLOCK)
    third = claimed(store)

    assert (first, second, third) == (["c2", "c5"], ["c1"], ["c3", "c4", "c6"])
    assert (progress.outside, progress.open, progress.total) == (3, 0, 6)
    assert promises(store) == []


def test_a_batch_is_not_finished_while_jobs_lie_outside_of_a_limit(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    bound_jobs(store.database, batch, inside(batch, 1), clock=CLOCK)
    claimed(store)

    with store.database.write() as conn:
        early = list(finish_batches(conn, now=NOW))
    bound_jobs(store.database, batch, None, clock=CLOCK)
    claimed(store)
    with store.database.write() as conn:
        late = list(finish_batches(conn, now=NOW))

    assert (early, len(late)) == ([], 1)


def test_a_running_job_outside_of_a_limit_is_counted_and_held_when_it_comes_back(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    (running,) = store.claim(1)
    keep = inside(batch, 2)

    before = bound_jobs(store.database, batch, keep, clock=CLOCK)
    store.finish(running, Retried(Code.HOST_ERROR, "no", NOW, charged=False))
    after = bound_jobs(store.database, batch, keep, clock=CLOCK)
    with store.database.write() as conn:
        promote_due(conn, now=NOW)

    assert (before, after) == (1, 0)
    assert claimed(store) == ["c2"]
    assert store.counts() == {JobState.SUCCEEDED: 1, JobState.HELD: 1}


def test_a_follower_outside_of_a_limit_waits_again_for_its_parent_when_it_is_lifted(store: Store) -> None:
    batch = chain(store, new_job(1), turn(2, 1, carry=False), turn(3, 2, carry=False))

    bound_jobs(store.database, batch, inside(batch, 1), clock=CLOCK)
    first = claimed(store)
    settled(store)
    second = claimed(store)
    bound_jobs(store.database, batch, None, clock=CLOCK)
    waiting = store.counts()
    rest = []
    for _ in range(2):
        settled(store)
        rest += claimed(store)

    assert (first, second, rest) == (["c1"], [], ["c2", "c3"])
    assert waiting == {JobState.SUCCEEDED: 1, JobState.WAITING: 2}
    assert promises(store) == []


def test_a_paused_batch_that_is_resumed_leaves_what_lies_outside_of_a_limit(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    pause_batch(store.database, batch, clock=CLOCK)
    bound_jobs(store.database, batch, inside(batch, 2), clock=CLOCK)

    resume_batch(store.database, batch, clock=CLOCK)
    with store.database.write() as conn:
        promote_sealed(conn, limit=10, now=NOW)

    assert claimed(store) == ["c2"]
