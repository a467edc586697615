"""What processes write while nothing happens: next to nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, new_job
from worker.dispatch.services import batch_services, urgent_feature_services, urgent_services
from worker.domain.hosts import Host, HostModel
from worker.hosts.registry import look_again
from worker.maintenance.heart import REST, Heart
from worker.maintenance.runner import Runner
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts
from worker.storage.pulses import read_pulses

MINUTES = 16


class Written:
    """Rows that statements wrote, and on SQLite the versions of the file that another connection sees."""

    def __init__(self, database: Database) -> None:
        self.rows = 0
        self.versions: set[int] = set()
        self._database = database
        self._other = sqlite3.connect(str(database.url.database)) if database.dialect == "sqlite" else None

    def look(self) -> None:
        """See whether anything was committed since the last look."""
        if self._other is not None:
            self.versions.add(self._other.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def counted(self) -> Iterator[None]:
        def count(_conn: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
                self.rows += max(cursor.rowcount, 0)

        self.look()
        event.listen(self._database._engine, "after_cursor_execute", count)
        try:
            yield
        finally:
            event.remove(self._database._engine, "after_cursor_execute", count)
            if self._other is not None:
                self._other.close()


def processes() -> list[Runner]:
    """Both pools of services, with the pulses of a fleet."""
    urgent = [*urgent_services(lease=90, wake=lambda hosts: None), *urgent_feature_services()]
    chores = batch_services(keep=timedelta(days=30), hosts=lambda: None)
    return [Runner(Heart("tick", every=5), urgent), Runner(Heart("chores", every=15), chores)]


def test_processes_that_rest_write_a_row_each_in_five_minutes(store: Store) -> None:
    clock, pools, written = FakeClock(), processes(), Written(store.database)
    beat = Heart("beat", every=5)
    for pool in pools:
        pool.run_due(store.database, clock)

    with written.counted():
        for _ in range(MINUTES * 4):
            clock.advance(15)
            for pool in pools:
                assert pool.run_due(store.database, clock) == {}
                written.look()
            beat.beat(store.database, clock)
            written.look()

    most = 3 * (MINUTES * 60 // REST + 1)
    assert written.rows <= most
    assert len(written.versions) - 1 <= most


def test_a_process_that_rests_has_its_usual_pulse_again_once_there_is_work(store: Store) -> None:
    clock, heart = FakeClock(), Heart("tick", every=5)
    heart.beat(store.database, clock)
    clock.advance(5)
    heart.beat(store.database, clock)
    at_rest = pulse(store)
    store.submit(new_job(1))

    clock.advance(5)
    heart.beat(store.database, clock)
    at_work = pulse(store)
    clock.advance(5)
    heart.beat(store.database, clock, failing={"prune": "a defect"})

    assert (at_rest.at, at_rest.detail["rests"]) == (clock.now() - timedelta(seconds=15), REST)
    assert at_work.at == clock.now() - timedelta(seconds=5)
    assert "rests" not in at_work.detail
    assert pulse(store).detail["failing"] == {"prune": "a defect"}


def pulse(store: Store) -> Any:
    with store.database.read() as conn:
        return read_pulses(conn)["tick"]


class Gpu:
    """A host that says what it has."""

    def __init__(self) -> None:
        self.has = [HostModel("qwen3:8b", "d", False, 40960, capabilities=("completion",))]

    def version(self) -> str:
        return "0.33.0"

    def models(self) -> list[HostModel]:
        return self.has

    def close(self) -> None:
        pass


@pytest.mark.parametrize("minutes", [20])
def test_a_host_that_is_as_it_was_is_stored_once_in_five_minutes(store: Store, minutes: int) -> None:
    clock, gpu, written = FakeClock(), Gpu(), Written(store.database)
    host = Host("gpu-1", "http://gpu-1:11434")

    def look() -> None:
        look_again(
            store.database,
            host,
            open_host=lambda _: gpu,  # type: ignore[arg-type, return-value]
            clock=clock,
            max_age=timedelta(seconds=REST),
        )

    look()
    with written.counted():
        for _ in range(minutes):
            clock.advance(60)
            look()
    stored = written.rows
    gpu.has = [*gpu.has, HostModel("new:1", "e", False, None)]
    look()

    assert stored <= 2 * minutes * 60 // REST
    with store.database.read() as conn:
        assert read_hosts(conn, clock.now())[0].models == {"qwen3:8b", "new:1"}
