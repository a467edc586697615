"""A worker that goes on after another one took its host (SIGSTOP, a machine that slept) overwrites nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

import simulator
from tests.integration.serving.test_serve import MODELS, add, serve, simulated, submit
from worker.clock import Clock
from worker.domain.hosts import Host, HostModel, LoadedModel
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.errors import Code, HostError, HostLost
from worker.ollama.client import OllamaHost
from worker.policy.facts import LoadRunner
from worker.serving.health import Breaker
from worker.serving.history import HostHistory
from worker.serving.machine import Machine
from worker.serving.pace import Paces
from worker.serving.runners import Runner
from worker.serving.session import HostSession, ServingContext
from worker.serving.view import HostView
from worker.storage.engine import Connection, Database
from worker.storage.hosts import add_host, block_key, publish_intent, record_probe, record_resident
from worker.storage.leases import take_host
from worker.storage.paces import StoredPace, save_paces
from worker.storage.runs import open_run

OLD, NEW = "old:1 num_ctx=4096", "new:1 num_ctx=4096"
STATE = {
    "hosts": "name",
    "residents": "host",
    "blocks": "host",
    "runs": "host",
    "paces": "host",
    "host_hours": "host",
}


class Gpu:
    """A host that does at once what it is told, or fails to load."""

    def __init__(self) -> None:
        self.error: HostError | None = None

    def load(self, *_: object, **__: object) -> float:
        if self.error is not None:
            raise self.error
        return 1.0

    def loaded(self) -> list[LoadedModel]:
        return []


class Zombie:
    """A worker whose host another one has taken, with everything it would write."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.gpu = Gpu()
        gpu: Any = self.gpu
        host = Host("gpu-1", "http://gpu-1:11434")
        self.session = HostSession(ServingContext(database, host, gpu, clock, Timings()), "old")
        self.history = HostHistory(Paces("gpu-1"))
        self.machine = Machine(self.session, self.history)
        self.machine._runners[OLD] = Runner(RunnerKey.parse(OLD), run_id=1)
        self.breaker = Breaker(self.session, self.machine, self.history)
        self.view = HostView(self.session, self.machine, self.history.paces)

    def decide(self) -> None:
        with self.session.write(fleet=True) as conn:
            self.machine.begin(conn, LoadRunner(OLD, "longest", ()), seconds=1)

    def intend_nothing(self) -> None:
        with self.session.write(fleet=True) as conn:
            self.machine.intend(conn, None)

    def fail_to_load(self) -> None:
        self.gpu.error = HostError(Code.LOAD_FAILED, "no")
        self.machine.load(OLD)

    def confirm(self) -> None:
        self.machine.confirm(OLD, dry=False)

    def block(self) -> None:
        self.machine.block(NEW, HostError(Code.LOAD_FAILED, "no"))

    def quarantine(self) -> None:
        self.history.condemned = "five failures in a row"
        self.breaker.mend()

    def recover(self) -> None:
        self.history.quarantines = 1
        self.breaker.add_answer(OLD, 1, None)

    def slow_down(self) -> None:
        for speed in [100.0] * 200 + [1.0] * 200:
            self.breaker.add_answer(OLD, 1000, speed)

    def keep_paces(self) -> None:
        for _ in range(20):
            self.history.paces.add_job(OLD, 1.0)
        self.view.keep_paces()


ACTIONS: dict[str, Callable[[Zombie], object]] = {
    "a look": lambda zombie: zombie.machine.record_look("0.1", [HostModel("x:1", "d", False, None)], []),
    "a key that it uses": lambda zombie: zombie.machine.use(OLD),
    "a runner that has gone": lambda zombie: zombie.machine.drop(OLD),
    "a runner that it looks for": Zombie.confirm,
    "a decision to load": Zombie.decide,
    "an intent that it takes back": Zombie.intend_nothing,
    "a load": lambda zombie: zombie.machine.load(NEW),
    "a load that failed": Zombie.fail_to_load,
    "a key to be left alone": Zombie.block,
    "a quarantine": Zombie.quarantine,
    "the end of a quarantine": Zombie.recover,
    "a slow host": Zombie.slow_down,
    "its paces": Zombie.keep_paces,
}


def state_of(conn: Connection) -> dict[str, list[Any]]:
    return {
        table: list(conn.execute(text(f"SELECT * FROM {table} WHERE {key} = 'gpu-1' ORDER BY 1, 2")))
        for table, key in STATE.items()
    }


def take_over(conn: Connection, clock: Clock) -> None:
    """What the worker that serves the host now has written of it."""
    now = clock.now()
    conn.execute(text("UPDATE hosts SET serving_token = NULL, serving_until = NULL WHERE name = 'gpu-1'"))
    assert take_host(conn, host="gpu-1", token="new", now=now, until=now + timedelta(seconds=90))
    publish_intent(conn, "gpu-1", NEW, now=now)
    record_resident(conn, "gpu-1", NEW, now=now)
    block_key(conn, "gpu-1", NEW, until=now - timedelta(seconds=1), reason="x", failures=1)
    open_run(conn, host="gpu-1", runner_key=NEW, reason="longest", now=now)
    save_paces(conn, [StoredPace("gpu-1", NEW, 1.0, 1.0, 1, None, 5)], now=now)


@pytest.mark.parametrize("action", ACTIONS)
def test_whoever_lost_its_host_writes_nothing_of_it_and_learns_that(
    database: Database, clock: Clock, action: str
) -> None:
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=clock.now())
        record_probe(conn, "gpu-1", version="0.24", models=[], now=clock.now())
        open_run(conn, host="gpu-1", runner_key=OLD, reason="longest", now=clock.now())
        take_over(conn, clock)
        before = state_of(conn)
    zombie = Zombie(database, clock)

    with pytest.raises(HostLost):
        ACTIONS[action](zombie)

    with database.read() as conn:
        assert state_of(conn) == before
    assert zombie.session.lost.is_set()


def test_a_worker_that_lost_its_host_within_a_load_ends_its_pass(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: dict[str, list[Any]] = {}
    load = OllamaHost.load

    def load_and_sleep(*arguments: Any, **more: Any) -> float:
        seconds = load(*arguments, **more)
        with database.write() as conn:
            take_over(conn, clock)
            state.update(state_of(conn))
        return seconds

    monkeypatch.setattr(OllamaHost, "load", load_and_sleep)
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        submit(database, clock, [{"model": MODELS[0], "prompt": "hello"}])

        served = serve(database, clock, host)

    with database.read() as conn:
        assert state_of(conn) == state
    assert (served.reason, served.jobs) == ("served by another worker", 0)
