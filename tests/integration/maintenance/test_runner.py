"""Services run, fail and are counted each on its own, and the pulse of their pool says which of them fail."""

import threading

import pytest

from tests.clocks import FakeClock
from worker.errors import DatabaseContended, DatabaseRefused, DatabaseUnavailable
from worker.maintenance.background import Background
from worker.maintenance.heart import Heart
from worker.maintenance.runner import REPORT_AGAIN, Runner
from worker.maintenance.service import Counts, Service, each
from worker.storage.engine import Database
from worker.storage.pulses import read_pulses


class Faulty:
    """A service that raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = ValueError("row 7")
        self.passes = 0

    def __call__(self, database: Database, clock: object) -> Counts:
        self.passes += 1
        if self.error is not None:
            raise self.error
        return {"repaired": 1}


def counting(database: Database, clock: object) -> Counts:
    return {"counted": 2}


def pool(*services: Service) -> Runner:
    return Runner(Heart("pool", every=1), services)


def test_a_service_that_fails_does_not_stop_those_after_it(database: Database) -> None:
    runner = pool(Service("faulty", Faulty()), Service("counting", counting))

    assert runner.run_due(database, FakeClock()) == {"counting": {"counted": 2}}


def test_the_pulse_names_the_service_that_fails_until_it_works_again(database: Database) -> None:
    faulty, clock = Faulty(), FakeClock()
    runner = pool(Service("faulty", faulty))

    def failing() -> object:
        runner.run_due(database, clock)
        clock.advance(1)
        with database.read() as conn:
            return read_pulses(conn)["pool"].detail.get("failing")

    assert failing() == {"faulty": "row 7"}
    faulty.error = None
    assert failing() is None


def test_the_same_error_is_reported_once_in_a_while(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    faulty, clock = Faulty(), FakeClock()
    runner = pool(Service("faulty", faulty))

    def reports() -> int:
        caplog.clear()
        runner.run_due(database, clock)
        return caplog.messages.count("service.failed")

    assert [reports(), reports()] == [1, 0]
    clock.advance(REPORT_AGAIN)
    assert reports() == 1
    faulty.error = ValueError("row 8")
    assert reports() == 1
    faulty.error = None
    runner.run_due(database, clock)
    assert runner.failing == {}


def test_a_service_with_a_cadence_of_its_own_runs_when_it_is_due(database: Database) -> None:
    faulty, clock = Faulty(), FakeClock()
    runner = pool(Service("slow", faulty, every=60), Service("counting", counting))

    for _ in range(3):
        assert "counting" in runner.run_due(database, clock)
        clock.advance(30)

    assert faulty.passes == 2


def test_a_database_that_is_away_ends_the_pass(database: Database) -> None:
    away, after = Faulty(), Faulty()
    away.error = DatabaseUnavailable("no route to it")
    runner = pool(Service("away", away), Service("after", after))

    assert (runner.run_due(database, FakeClock()), after.passes) == ({}, 0)


class Contended:
    """A service, or the work on an item, that meets another transaction some times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> int:
        if self.left:
            self.left -= 1
            raise DatabaseContended("deadlock detected")
        return 1


def test_a_service_that_met_another_transaction_is_run_again_at_once(database: Database) -> None:
    twice, always = Contended(2), Contended(1000)
    runner = pool(
        Service("always", lambda d, c: {"done": always(d, c)}),
        Service("twice", lambda d, c: {"done": twice(d, c)}),
    )

    assert runner.run_due(database, FakeClock()) == {"twice": {"done": 1}}
    assert list(runner.failing) == ["always"]


def test_a_statement_that_is_refused_stops_no_other_service(database: Database) -> None:
    refused = Faulty()
    refused.error = DatabaseRefused("too slow (in storage.jobs.promote)")
    runner = pool(Service("refused", refused), Service("counting", counting))

    assert "counting" in runner.run_due(database, FakeClock())
    assert "storage.jobs.promote" in runner.failing["refused"]


def test_an_item_that_always_meets_another_transaction_stops_no_other_item(database: Database) -> None:
    done: list[str] = []
    always = Contended(1000)

    def work(name: str) -> int:
        if name == "a":
            return always()
        done.append(name)
        return 1

    runner = pool(Service("items", lambda _d, _c: {"done": each("abc", work, name=lambda name: name)}))
    runner.run_due(database, FakeClock())

    assert done == ["b", "c"]
    assert runner.failing == {"items": "a: deadlock detected"}


def test_one_item_that_fails_does_not_keep_the_others_from_being_done(database: Database) -> None:
    def open_schedule(name: str) -> int:
        if name == "b":
            raise ValueError("no such zone")
        return 1

    runner = pool(
        Service("firings", lambda _d, _c: {"opened": each("abc", open_schedule, name=lambda name: name)})
    )
    runner.run_due(database, FakeClock())

    assert runner.failing == {"firings": "b: no such zone"}


def test_a_background_service_holds_up_no_other_and_its_error_is_reported_by_the_next_pass(
    database: Database,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(database: Database, clock: object) -> Counts:
        begun.set()
        assert go_on.wait(60)
        raise ValueError("mail server")

    background = Background("slow", slow)
    runner = pool(Service("slow", background), Service("counting", counting))

    assert "counting" in runner.run_due(database, FakeClock())
    assert begun.wait(60)
    assert "counting" in runner.run_due(database, FakeClock())  # while the first pass goes on
    go_on.set()
    assert background.wait(60)
    runner.run_due(database, FakeClock())
    assert runner.failing == {"slow": "mail server"}
    assert background.wait(60)
