"""Hosts whose other endpoints answer while generation is dead, and jobs that kill their host."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

import simulator
from simulator import Fault
from tests.integration.serving.test_serve import (
    MODELS,
    TENTH,
    add,
    counts,
    simulated,
    submit,
)
from tests.maintenance import tick
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.hosts import Health, Host
from worker.domain.jobs import JobState
from worker.ollama.client import Deadlines, OllamaHost
from worker.serving.history import HostHistory
from worker.serving.loop import PassResult, serve_host
from worker.serving.pace import Paces
from worker.serving.session import ServingContext
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import add_host, resume_host
from worker.storage.ids import job_id
from worker.storage.results import list_attempts

QUICK = Deadlines(
    connect=2, first_byte=0.5, silence=0.3, load=20, floor_tokens_per_second=20, floor_after=0.2, probe=2
)
PATIENT = replace(TENTH, linger=0.2, lease=1.5, renew=0.5)
"""A host steps back for a third of the lease at most."""


class Serving:
    """Passes over one host, and the tick between them, until told otherwise."""

    def __init__(self, database: Database, clock: Clock, host: Host) -> None:
        self._database, self._clock, self._host = database, clock, host
        self.history = HostHistory(Paces(host.name))
        self.passes: list[PassResult] = []

    def go_on(self, batch: Batch, *, until: dict[JobState, int], passes: int = 60) -> None:
        """Serve until the batch stands so. Raises AssertionError after so many passes."""
        gpu = OllamaHost(self._host.url, slots=self._host.slots, deadlines=QUICK)
        try:
            for _ in range(passes):
                if counts(self._database, batch) == until:
                    return
                self.pass_over(gpu)
        finally:
            gpu.close()
        raise AssertionError(f"{counts(self._database, batch)} after {passes} passes")

    def once(self) -> PassResult:
        """One pass."""
        gpu = OllamaHost(self._host.url, slots=self._host.slots, deadlines=QUICK)
        try:
            return self.pass_over(gpu)
        finally:
            gpu.close()

    def pass_over(self, gpu: OllamaHost) -> PassResult:
        wait_until(lambda: not self.history.paused(self._clock.monotonic()), description="the pause is over")
        tick(self._database, clock=self._clock)
        context = ServingContext(self._database, self._host, gpu, self._clock, PATIENT)
        result = serve_host(context, history=self.history)
        self.passes.append(result)
        return result


def jobs_for(*prompts: str) -> list[dict[str, Any]]:
    return [
        {"model": MODELS[0], "prompt": prompt, "custom_id": prompt, "options": {"num_predict": 8}}
        for prompt in prompts
    ]


def health(database: Database, clock: Clock) -> tuple[Health, str | None]:
    with database.read() as conn:
        row = read_hosts(conn, clock.now())[0]
    return row.health, row.health_reason


@pytest.mark.fault(21)
def test_a_reply_that_drips_is_given_up_and_its_runner_unloaded(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        running.set_faults(Fault("drip", prompt="drips", times=1, seconds=0.15))
        batch = submit(database, clock, jobs_for("drips", "goes"))

        Serving(database, clock, host).go_on(batch, until={JobState.SUCCEEDED: 2})

        assert running.state()["unloads"] >= 1
        with database.read() as conn:
            attempts = list_attempts(conn, job_id(batch.id, 1))
            ends = [(row.outcome, row.error_code, row.charged) for row in attempts]
        assert ends == [("retried", "below_floor", False), ("succeeded", None, False)]


@pytest.mark.fault(21)
def test_a_wedged_runner_behind_healthy_endpoints_is_unloaded_and_its_jobs_are_asked_again(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(time_scale=0.1)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, jobs_for("one", "two", "three"))
        serving = Serving(database, clock, host)
        wedged = threading.Thread(target=_wedge, args=(running,))
        wedged.start()

        serving.go_on(batch, until={JobState.SUCCEEDED: 3})

        wedged.join()
        assert running.state()["unloads"] >= 1
        assert health(database, clock) == (Health.READY, None)


def _wedge(running: simulator.RunningHost) -> None:
    wait_until(lambda: running.state()["concurrent"] > 0, description="it generates", interval=0.001)
    running.stop_runner(MODELS[0])


@pytest.mark.fault(21)
def test_a_host_that_hangs_again_when_newly_loaded_goes_into_quarantine_and_comes_back(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        running.set_faults(Fault("hang", times=0))
        batch = submit(database, clock, jobs_for(*(f"job {n}" for n in range(8))))
        serving = Serving(database, clock, host)
        gpu = OllamaHost(host.url, slots=host.slots, deadlines=QUICK)

        while (served := serving.pass_over(gpu)).reason != "in quarantine":
            assert len(serving.passes) < 10

        state, reason = health(database, clock)
        assert state is Health.QUARANTINED
        assert "2 times in a row" in str(reason)
        assert serving.pass_over(gpu) == replace(served, jobs=0, loads=0)
        running.set_faults()
        with database.write() as conn:
            resume_host(conn, host.name)
        serving.go_on(batch, until={JobState.SUCCEEDED: 8})
        assert health(database, clock) == (Health.READY, None)
        gpu.close()


@pytest.mark.fault(25)
@pytest.mark.parametrize("kind", ["crash", "runner_death"])
def test_a_job_that_kills_its_host_is_held_after_three_deaths_and_its_neighbours_are_answered(
    database: Database, clock: Clock, kind: Any
) -> None:
    with simulator.running(simulated(num_parallel=4, time_scale=0.01)) as (running,):
        host = add(database, clock, running, slots=4)
        running.set_faults(Fault(kind, prompt="poison", times=0, after_chunks=2))
        others = [f"job {n}" for n in range(20)]
        batch = submit(database, clock, jobs_for(*others[:2], "poison", *others[2:]))
        ended = threading.Event()
        supervisor = threading.Thread(target=_start_again, args=(running, ended))
        supervisor.start()

        Serving(database, clock, host).go_on(batch, until={JobState.SUCCEEDED: 20, JobState.HELD: 1})

        ended.set()
        supervisor.join()
        with database.read() as conn:
            attempts = [list_attempts(conn, job_id(batch.id, seq)) for seq in range(1, 22)]
        deaths = [sum(row.error_code in ("reply_cut", "runner_died") for row in rows) for rows in attempts]
        assert deaths.pop(2) == 3
        assert set(deaths) <= {0, 1, 2}
        assert not any(row.charged for rows in attempts for row in rows)


def _start_again(running: simulator.RunningHost, ended: threading.Event) -> None:
    """What systemd does."""
    while not ended.wait(0.05):
        running.start_again()


@pytest.mark.fault(15)
def test_a_host_that_swallows_everything_is_given_up_and_another_answers(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated("gpu-2")) as (running,), black_hole() as url:
        well, gone = add(database, clock, running), Host("gpu-1", url, 2)
        with database.write() as conn:
            add_host(conn, gone, now=clock.now())
        batch = submit(database, clock, jobs_for("one", "two"))

        lost = Serving(database, clock, gone).once()
        Serving(database, clock, well).go_on(batch, until={JobState.SUCCEEDED: 2})

        assert lost.reason == "unreachable"
        assert health(database, clock)[0] is Health.UNREACHABLE


@contextmanager
def black_hole() -> Iterator[str]:
    """A port that takes connections and requests, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
