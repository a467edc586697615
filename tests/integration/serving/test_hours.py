"""Batches and hosts with hours of their own, on both databases: what is kept back, and how that is said."""

from datetime import timedelta

from tests.clocks import FakeClock
from tests.integration.serving.test_explain import At, reasons, seen, store
from tests.integration.storage.conftest import NOW, Store, new_job
from tests.maintenance import tick
from worker.domain.hosts import Health
from worker.domain.jobs import JobState
from worker.maintenance.hold import hosts_to_wake
from worker.maintenance.windows import set_windows
from worker.policy.windows import Windows, parse_windows
from worker.quote.forecast import forecast
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import get_host
from worker.storage.windows import set_host_windows

__all__ = ["store"]

EVENING = parse_windows(["22:00-06:00"], "UTC")
BUSINESS = parse_windows(["09:00-17:00"], "UTC")


def of_host(store: Store, hours: Windows | None, name: str = "gpu-1") -> None:
    with store.database.write() as conn:
        set_host_windows(conn, name, None if hours is None else hours.plain)


def of_batch(store: Store, batch: int, hours: Windows | None) -> None:
    set_windows(store.database, batch, hours, clock=At(store.now))


def test_a_host_outside_of_its_window_is_closed_and_not_drained(store: Store) -> None:
    batch = store.submit(new_job(1))
    assert NOW.hour == 2
    of_host(store, BUSINESS)

    with store.database.read() as conn:
        view = next(one for one in read_hosts(conn, NOW) if one.name == "gpu-1")
        assert not get_host(conn, "gpu-1").draining
    assert (view.health, view.draining, view.closed) == (Health.CLOSED, False, True)
    assert view.opens_at == NOW.replace(hour=9)
    [told] = reasons(store, batch)
    assert told == (
        "gpu-1 is outside of its window (09:00-17:00 (UTC)), which opens at 09:00:00 (in 7 h): "
        "caravan hosts set gpu-1 --no-window"
    )


def test_a_closed_host_is_not_woken(store: Store) -> None:
    store.submit(new_job(1))
    store.later(7200)  # nobody serves any more
    clock = FakeClock(store.now)
    assert hosts_to_wake(store.database, clock=clock) == ["gpu-1", "gpu-2"]

    of_host(store, BUSINESS)

    assert hosts_to_wake(store.database, clock=clock) == ["gpu-2"]


def test_an_open_host_is_as_any_other(store: Store) -> None:
    batch = store.submit(new_job(1))
    of_host(store, EVENING)

    assert reasons(store, batch) == []
    assert [host.closed for host in seen(store, batch).hosts] == [False, False]


def test_a_batch_that_is_given_hours_is_taken_back_and_says_when_it_goes_on(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))

    of_batch(store, batch, BUSINESS)

    assert store.counts() == {JobState.SCHEDULED: 2}
    assert store.claim() == []
    [told] = reasons(store, batch)
    assert told == (
        f"batch {batch} is outside of its window (09:00-17:00 (UTC)), which opens at 09:00:00 (in 7 h); "
        f"caravan edit {batch} --no-window"
    )


def test_a_batch_goes_on_when_its_window_opens_or_is_taken_away(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    of_batch(store, batch, BUSINESS)
    tick(store.database, clock=At(store.now))
    assert store.counts() == {JobState.SCHEDULED: 2}

    tick(store.database, clock=At(NOW + timedelta(hours=7)))
    assert store.counts() == {JobState.QUEUED: 2}

    of_batch(store, batch, BUSINESS)
    of_batch(store, batch, None)
    tick(store.database, clock=At(store.now))
    assert store.counts() == {JobState.QUEUED: 2}
    assert reasons(store, batch) == []


def test_it_is_said_beforehand_whether_the_window_suffices(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 41)))
    assert forecast(store.database, batch, clock=At(NOW)) is None

    of_batch(store, batch, BUSINESS)
    found = forecast(store.database, batch, clock=At(NOW))
    assert found is not None
    assert found.enough
    assert found.opens_at == NOW.replace(hour=9)
    assert "nothing starts before 2026-" in found.message

    of_batch(store, batch, parse_windows(["02:00-02:01"], "UTC"))
    short = forecast(store.database, batch, clock=At(NOW))
    assert short is not None
    assert short.enough is False
    assert "it will not be done when that closes at" in short.message
    assert short.windows > 1


def test_nothing_is_forecast_of_a_model_that_no_host_has(store: Store) -> None:
    batch = store.submit(new_job(1, model="nobody:1b", runner_key="nobody:1b"))
    of_batch(store, batch, BUSINESS)

    found = forecast(store.database, batch, clock=At(NOW))

    assert found is not None
    assert found.enough is None
