"""After the database was away the living renew first: what remembers that is the database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from tests.integration.storage.conftest import Store, new_job
from tests.maintenance import tick
from worker.domain.jobs import ClaimedJob, JobState


class At:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def ticks(store: Store, clock: At, seconds: float, *, every: float = 5) -> int:
    """Tick for so long; how many jobs were rescued."""
    rescued = 0
    end = clock.at + timedelta(seconds=seconds)
    while clock.at < end:
        clock.at += timedelta(seconds=every)
        rescued += tick(store.database, clock=clock, lease=90)["rescued"]
    return rescued


def test_a_stale_lease_is_ended_within_two_minutes_of_its_last_renewal(store: Store) -> None:
    clock = At()
    ticks(store, clock, 100)
    store.submit(new_job(1))
    store.now = clock.at
    store.claim(lease=90)

    assert ticks(store, clock, 90) == 0
    assert ticks(store, clock, 10) == 1


@pytest.mark.parametrize("gap", [31, 600])
def test_nothing_is_rescued_for_a_lease_after_ticks_had_stopped(store: Store, gap: float) -> None:
    clock = At()
    ticks(store, clock, 100)
    store.submit(new_job(1))
    store.now = clock.at
    store.claim(lease=30)
    clock.at += timedelta(seconds=gap)

    assert ticks(store, clock, 90) == 0
    assert store.counts() == {JobState.RUNNING: 1}
    assert ticks(store, clock, 10) == 1


def at_work(store: Store) -> ClaimedJob:
    """Have a job that runs all the time: since when leases could be renewed is written only then."""
    store.submit(new_job(1))
    [job] = store.claim(lease=3600)
    return job


def test_a_control_that_starts_beside_another_goes_by_what_that_one_saw(store: Store) -> None:
    clock = At()
    at_work(store)
    ticks(store, clock, 100)
    store.submit(new_job(1))
    store.now = clock.at
    store.claim(lease=1)
    clock.at += timedelta(seconds=5)

    assert tick(store.database, clock=clock, lease=90)["rescued"] == 1


def test_after_a_rest_a_lease_is_ended_within_two_minutes_too(store: Store) -> None:
    clock = At()
    job = at_work(store)
    ticks(store, clock, 60)
    store.finish(job)
    ticks(store, clock, 900, every=10)
    store.submit(new_job(2))
    store.now = clock.at
    store.claim(lease=90)

    assert ticks(store, clock, 90, every=10) == 0
    assert ticks(store, clock, 20, every=10) == 1


def test_the_first_tick_of_all_rescues_nothing(store: Store) -> None:
    clock = At()
    store.submit(new_job(1))
    store.now = clock.at
    store.claim(lease=1)
    clock.at += timedelta(seconds=50)

    assert tick(store.database, clock=clock, lease=90)["rescued"] == 0


@pytest.mark.parametrize(("every", "most"), [(1, 30), (5, 18), (29, 4)])
def test_that_leases_could_be_renewed_is_written_thirty_times_in_a_lease_at_most(
    store: Store, every: float, most: int
) -> None:
    clock = At()
    at_work(store)
    writes: list[str] = []

    def seen(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO pulses"):
            writes.append(statement)

    event.listen(store.database._engine, "before_cursor_execute", seen)
    ticks(store, clock, 90, every=every)
    event.remove(store.database._engine, "before_cursor_execute", seen)
    ticks(store, clock, 30, every=every)
    store.submit(new_job(1))
    store.now = clock.at
    store.claim(lease=1)

    assert len(writes) <= most
    assert ticks(store, clock, 2 * every, every=every) == 1
