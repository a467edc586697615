"""Only the process that took a firing may work on it, as long as its lease holds."""

from datetime import timedelta

import pytest

from tests.integration.storage.conftest import Store
from worker.domain.schedules import Firing, FiringState, ScheduleSpec, Tallies
from worker.storage.firings import (
    end_firing,
    get_firing,
    keep_firing,
    let_firing_go,
    open_firing,
    run_firing,
    take_firing,
)
from worker.storage.schedules import add_schedule

LEASE = timedelta(minutes=10)


@pytest.fixture
def taken(store: Store) -> Firing:
    """A firing that ``mine`` has taken."""
    spec = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",))
    with store.database.write() as conn:
        schedule = add_schedule(conn, "nightly", spec, next_at=store.now, now=store.now)
        firing = open_firing(conn, schedule, store.now, state=FiringState.DUE, now=store.now)
        assert firing is not None
        taken = take_firing(conn, firing.id, token="mine", now=store.now, lease=LEASE)
    assert taken is not None
    return taken


def test_nobody_takes_a_firing_that_another_works_on_until_its_lease_is_over(
    store: Store, taken: Firing
) -> None:
    with store.database.write() as conn:
        assert take_firing(conn, taken.id, token="theirs", now=store.now, lease=LEASE) is None
        assert take_firing(conn, taken.id, token="theirs", now=store.now + LEASE, lease=LEASE) is not None


def test_nobody_changes_a_firing_that_another_works_on(store: Store, taken: Firing) -> None:
    with store.database.write() as conn:
        assert not keep_firing(conn, taken.id, token="theirs", until=store.now + LEASE)
        assert not run_firing(conn, taken.id, token="theirs", batch_id=None, tallies=Tallies(), report={})
        assert not end_firing(conn, taken.id, FiringState.FAILED, token="theirs", now=store.now)
        let_firing_go(conn, taken.id, token="theirs")

        assert get_firing(conn, taken.id) == taken
        assert keep_firing(conn, taken.id, token="mine", until=store.now + LEASE)
