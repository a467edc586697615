"""What has ended costs the services nothing: a pass does as much beside thousands of ended batches as beside a few."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, new_job
from worker.dispatch.services import batch_services, fleet_services, urgent_services
from worker.maintenance.hold import hosts_to_wake
from worker.maintenance.keeping import due_batches, prune_due
from worker.maintenance.service import Service
from worker.settings import load_settings
from worker.storage.backlog import read_backlog

FEW, MANY = 20, 3000
STEPS = 100
"""Instructions of SQLite's machine that are counted as one."""


def ended(store: Store, first: int, last: int) -> None:
    """Batches that ended long ago, each with its counts; some are kept for ever, some for a time of their own."""
    with store.database.write() as conn:
        for number in range(first, last):
            conn.execute(
                text(
                    "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at, finished_at, keep_seconds, windows) "
                    "VALUES (:key, :key, :state, 1, :at, :sealed, :finished, :keep, '{}')"
                ),
                {
                    "key": f"ended-{number}",
                    "state": "refused" if number % 7 == 0 else "finished",
                    "at": "2025-01-01 00:00:00+00",
                    "sealed": None if number % 7 == 0 else "2025-01-01 00:00:00+00",
                    "finished": None if number % 7 == 0 else "2025-01-01 00:00:00+00",
                    "keep": (None, 0, 86_400 * 36_500)[number % 3],
                },
            )
        conn.execute(
            text(
                "INSERT INTO counts (batch_id, runner_key, priority, state, jobs) "
                "SELECT id, 'm:1', 2, 'succeeded', 1 FROM batches WHERE key LIKE 'ended-%' "
                "ON CONFLICT DO NOTHING"
            )
        )


@contextmanager
def counted(store: Store) -> Iterator[list[int]]:
    """How many instructions SQLite does within the block."""
    steps: list[int] = []

    def watch(connection: Any, *_: object) -> None:
        connection.set_progress_handler(lambda: steps.append(1), STEPS)

    def rest(connection: Any, *_: object) -> None:
        connection.set_progress_handler(None, 0)

    engine = store.database._engine
    event.listen(engine, "checkout", watch)
    event.listen(engine, "checkin", rest)
    try:
        yield steps
    finally:
        event.remove(engine, "checkout", watch)
        event.remove(engine, "checkin", rest)


def services(home: Path) -> list[Service]:
    settings = load_settings({}, home=home)
    slow = [one for one in fleet_services(settings).services if one.name not in {"notices", "schedules"}]
    return [
        *urgent_services(lease=90, wake=lambda hosts: None),
        *batch_services(keep=timedelta(days=36_000), hosts=lambda: None),
        *slow,
    ]


def test_no_service_reads_what_has_ended(store: Store, tmp_path: Path) -> None:
    if store.database.dialect != "sqlite":
        pytest.skip("only SQLite counts its instructions; the indexes are the same")
    clock = FakeClock(store.now)
    store.submit(new_job(1))  # open work, so that a decision has something to count

    def work(service: Service) -> int:
        for _ in range(2):  # the second pass has nothing to do any more
            with counted(store) as steps:
                service.run_once(store.database, clock)
        return len(steps)

    ended(store, 0, FEW)
    few = {service.name: work(service) for service in services(tmp_path)}
    ended(store, FEW, MANY)
    many = {service.name: work(service) for service in services(tmp_path)}

    grown = {name: (few[name], many[name]) for name in few if many[name] > few[name] + 20}
    assert grown == {}


def test_decisions_and_folds_do_not_read_the_counts_of_what_has_ended(store: Store) -> None:
    if store.database.dialect != "sqlite":
        pytest.skip("only SQLite counts its instructions; the indexes are the same")
    clock = FakeClock(store.now)
    store.submit(new_job(1), new_job(2))

    def work(number: int) -> tuple[int, int]:
        with counted(store) as steps:
            with store.database.read() as conn:
                read_backlog(conn, now=store.now)
            hosts_to_wake(store.database, clock=clock)
        decision = len(steps)
        store.submit(new_job(1), key=f"work-{number}")
        fold = next(one for one in services(Path()) if one.name == "fold")
        with counted(store) as steps:
            assert fold.run_once(store.database, clock)["folded"]
        return decision, len(steps)

    ended(store, 0, FEW)
    few = work(1)
    ended(store, FEW, MANY)
    many = work(2)

    assert [after - before for before, after in zip(few, many, strict=True)] == [
        pytest.approx(0, abs=20),
        pytest.approx(0, abs=20),
    ]


@pytest.mark.parametrize(("default", "older"), [(30, None), (None, 400), (30, 5)])
def test_what_is_due_is_what_was_kept_long_enough_whatever_it_says(
    store: Store, default: int | None, older: int | None
) -> None:
    ends = {"finished": NOW - timedelta(days=100), "refused": NOW - timedelta(days=100)}
    keeps = [None, 0, 50, 200]
    with store.database.write() as conn:
        for state, at in ends.items():
            for keep in keeps:
                conn.execute(
                    text(
                        "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at, finished_at, keep_seconds) "
                        "VALUES (:name, :name, :state, 0, :at, :over, :over, :keep)"
                    ),
                    {
                        "name": f"{state}-{keep}",
                        "state": state,
                        "at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                        "over": None if state == "refused" else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                        "keep": None if keep is None else keep * 86_400,
                    },
                )
    days = {
        name: None if given is None else timedelta(days=given)
        for name, given in {"default": default, "older_than": older}.items()
    }

    due = due_batches(store.database, clock=FakeClock(NOW), **days)

    expected = {(30, None): [None, 50], (None, 400): [], (30, 5): [None, 50, 200]}[default, older]
    assert sorted(one.name for one in due.batches) == sorted(
        f"{state}-{keep}" for state in ends for keep in expected
    )


def test_a_pass_takes_only_so_many_of_what_is_due(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.maintenance import keeping

    monkeypatch.setattr(keeping, "MOST_BATCHES", 3)
    ended(store, 0, 14)
    clock = FakeClock(store.now)

    def there() -> int:
        with store.database.read() as conn:
            return conn.scalar(text("SELECT count(*) FROM batches WHERE pruned_at IS NULL")) or 0

    before = there()
    prune_due(store.database, clock=clock, default=timedelta(days=1), rest=lambda _: None)

    assert 0 < before - there() <= 2 * 3
