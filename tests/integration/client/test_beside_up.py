"""``Caravan.run`` where ``caravan up`` serves the same home: it joins, and knows when that is gone."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import simulator
from caravan import AlreadyRunning, BatchProgress, Caravan, InputRefused, NoHost
from worker.errors import DatabaseUnavailable
from worker.hosts.registry import register
from worker.hosts.selection import select_hosts
from worker.stack.embedded import Embedded, embedded
from worker.stack.home import lock_home
from worker.storage.engine import Database

MODEL = "llama3.2:3b"


@pytest.fixture
def caravan(tmp_path: Path) -> Iterator[Caravan]:
    with Caravan(tmp_path / "home", tick_seconds=0.1) as opened:
        yield opened


@pytest.fixture
def up(caravan: Caravan) -> Iterator[Embedded]:
    """What ``caravan up`` does, in a thread."""
    with embedded(caravan.settings, command="up") as stack:
        stack.serve([], follow=lambda report: report.kept)
        yield stack


def add(caravan: Caravan, up: Embedded, url: str) -> None:
    (host,) = select_hosts(caravan.database, [url], None)
    register(caravan.database, host, open_host=up.open_host, clock=caravan.clock)


def test_it_joins_and_up_does_the_work(caravan: Caravan, up: Embedded, host: simulator.RunningHost) -> None:
    heard: list[int] = []
    add(caravan, up, host.url)

    batch = caravan.run(
        ["x", "y"], model=MODEL, callback=lambda progress: heard.append(progress.done), poll=0.02
    )

    assert [line["state"] for line in batch] == ["succeeded"] * 2
    assert heard[-1] == 2
    assert host.state()["requests"] == 2


def test_hosts_it_names_are_added_to_up(caravan: Caravan, up: Embedded, host: simulator.RunningHost) -> None:
    batch = caravan.run(["x"], hosts=[host.url], slots=3, model=MODEL, poll=0.02)

    assert [line["state"] for line in batch] == ["succeeded"]
    assert [served.host.slots for served in up.served.values()] == [3]


def test_a_model_that_none_of_its_hosts_has_is_refused(
    caravan: Caravan, up: Embedded, host: simulator.RunningHost
) -> None:
    add(caravan, up, host.url)

    with pytest.raises(InputRefused, match=r"no host has the model 'llama3\.2:3'"):
        caravan.run(["x"], model="llama3.2:3")


def test_an_up_without_a_host_that_answers_takes_nothing_in(caravan: Caravan, up: Embedded) -> None:
    with pytest.raises(NoHost, match="serves no host yet"):
        caravan.run(["x"], model=MODEL)
    with pytest.raises(NoHost, match=r"can be reached \(http://127.0.0.1:9: connection refused\)"):
        caravan.run(["x"], hosts=["http://127.0.0.1:9"], model=MODEL)
    assert caravan.batches() == []


def test_when_up_is_gone_for_long_enough_it_says_so(caravan: Caravan, host: simulator.RunningHost) -> None:
    with ExitStack() as held:
        held.enter_context(lock_home(caravan.settings.home, command="up"))

        def end(_: BatchProgress) -> None:
            held.close()

        with pytest.raises(NoHost, match="caravan up has ended; the same call goes on with it"):
            caravan.run(["x"], hosts=[host.url], model=MODEL, callback=end, poll=0.01, wait_hosts=0.05)

    batch = caravan.run(["x"], hosts=[host.url], model=MODEL)

    assert [line["state"] for line in batch] == ["succeeded"]


def test_beside_another_run_it_is_refused_by_name(caravan: Caravan, host: simulator.RunningHost) -> None:
    with (
        lock_home(caravan.settings.home, command="run"),
        pytest.raises(AlreadyRunning, match=r"\(caravan run\)"),
    ):
        caravan.run(["x"], hosts=[host.url], model=MODEL)


def test_a_database_that_is_away_when_all_is_answered_costs_no_answer(
    caravan: Caravan, host: simulator.RunningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Database.write
    done: list[bool] = []

    def away(database: Database) -> Any:
        if done:
            raise DatabaseUnavailable("locked")
        return write(database)

    def heard(progress: BatchProgress) -> None:
        if not progress.open:
            done.append(True)

    monkeypatch.setattr(Database, "write", away)

    batch = caravan.run(["x", "y"], hosts=[host.url], model=MODEL, callback=heard, poll=0.02)

    monkeypatch.undo()
    assert [line["state"] for line in batch] == ["succeeded"] * 2


def test_a_database_that_is_away_between_two_looks_is_ridden_out(
    caravan: Caravan, host: simulator.RunningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.stack import main_job

    looked: list[bool] = []

    def away(*_: Any, **__: Any) -> Any:
        looked.append(True)
        raise DatabaseUnavailable("locked")

    host.set_faults(simulator.Fault("drip", times=0, seconds=0.01))
    monkeypatch.setattr(main_job, "situation", away)
    monkeypatch.setattr(main_job, "SITUATION_SECONDS", 0.0)

    batch = caravan.run(["x"], hosts=[host.url], model=MODEL, poll=0.01)

    assert looked
    assert [line["state"] for line in batch] == ["succeeded"]
