"""What one pass over a host leaves to the next, and what it does not wait for."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import simulator
from tests.integration.serving.test_serve import (
    MODELS,
    TENTH,
    add,
    counts,
    opened_gpu,
    serve,
    simulated,
    submit,
)
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.health import HealthLimits
from worker.domain.hosts import Host
from worker.domain.jobs import ClaimedJob, JobState
from worker.errors import DatabaseUnavailable
from worker.health.findings import HealthFacts, findings
from worker.serving.attempt import Ending, attempt_jobs
from worker.serving.history import HostHistory
from worker.serving.outbox import Outbox
from worker.serving.pace import Paces
from worker.serving.spool import Spool
from worker.storage.engine import Database
from worker.storage.hosts import set_host
from worker.storage.pulses import read_pulses


class Until(threading.Event):
    """A stop that is asked for as soon as something has happened."""

    def __init__(self, happened: Callable[[], bool]) -> None:
        super().__init__()
        self._happened = happened

    def is_set(self) -> bool:
        return self._happened()


def stays(running: simulator.RunningHost, clock: Clock) -> timedelta:
    """For how long the host will keep the one model that it has loaded."""
    with opened_gpu(running_host(running)) as gpu:
        (model,) = gpu.loaded()
    assert model.expires_at is not None
    return model.expires_at - clock.now()


def running_host(running: simulator.RunningHost) -> Host:
    return Host(running.name, running.url, 1)


def test_a_hint_of_a_pass_that_was_stopped_is_kept_for_when_the_run_is_over(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        jobs = [
            {"model": MODELS[0], "prompt": f"Say {n}.", "keep_alive": hint}
            for n, hint in enumerate(("2h", 5, 5, 5, 5, 5))
        ]
        batch = submit(database, clock, jobs)
        history = HostHistory(Paces(host.name))
        outbox = Outbox(database, host.name, clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))

        first = serve(
            database, clock, host, history=history, outbox=outbox, stop=Until(lambda: outbox.accepted > 0)
        )
        after_first = stays(running, clock)
        second = serve(database, clock, host, history=history)

        assert (first.reason, second.reason) == ("stopped", "no work")
        assert first.jobs < 6
        assert after_first < timedelta(minutes=11)
        assert timedelta(minutes=110) < stays(running, clock) <= timedelta(hours=2)
        assert counts(database, batch) == {JobState.SUCCEEDED: 6}
        assert running.state()["loads"] == 1


@pytest.mark.parametrize(("hint", "least"), [("2h", timedelta(minutes=110)), (-1, timedelta(days=365))])
def test_a_run_that_is_stopped_when_its_batch_is_done_leaves_the_model_as_its_jobs_asked(
    database: Database, clock: Clock, tmp_path: Path, hint: object, least: timedelta
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Say 1.", "keep_alive": hint}])
        outbox = Outbox(database, host.name, clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))

        served = serve(
            database, clock, host, outbox=outbox, batch_id=batch.id, stop=Until(lambda: outbox.accepted > 0)
        )

        assert served.reason == "stopped"
        assert stays(running, clock) > least
        assert running.state()["loads"] == 1


def test_a_lease_that_could_not_be_given_back_does_not_keep_the_same_process_out(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that was full when the pass ended, and has room again."""
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        history = HostHistory(Paces(host.name))

        def full(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("worker.serving.loop.leave_host", full)
            serve(database, clock, host, history=history)
        assert history.refusals.lease is not None
        other = serve(database, clock, host)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Say 1."}])
        again = serve(database, clock, host, history=history)

        assert (other.reason, again.reason) == ("served by another worker", "no work")
        assert history.refusals.lease is None
        assert counts(database, batch) == {JobState.SUCCEEDED: 1}


def test_a_database_that_takes_nothing_is_remembered_until_it_takes_something(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = DatabaseUnavailable("database or disk is full")

    def refuse(*_: object) -> None:
        raise full

    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Say 1."}])
        history = HostHistory(Paces(host.name))
        with monkeypatch.context() as patch:
            patch.setattr("worker.serving.steps._follow", refuse)
            serve(database, clock, host, history=history)
        refusal = history.refusals.reason
        serve(database, clock, host, history=history)

        assert (refusal, history.refusals.reason) == (full, None)
        assert counts(database, batch) == {JobState.SUCCEEDED: 1}


@pytest.mark.parametrize("ends", ["run stopped", "worker stopped"])
def test_a_pass_that_ends_after_its_last_job_unloads_the_model_where_that_was_asked(
    database: Database, clock: Clock, tmp_path: Path, ends: str
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Say 1.", "keep_alive": 0}])
        outbox = Outbox(database, host.name, clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))
        more: dict[str, Any] = {"stop": Until(lambda: outbox.accepted > 0)}
        if ends == "run stopped":
            more["batch_id"] = batch.id

        served = serve(database, clock, host, outbox=outbox, **more)

        assert served.reason == "stopped"
        with opened_gpu(host) as gpu:
            wait_until(lambda: gpu.loaded() == [], description="the model is unloaded")


def test_a_run_that_is_interrupted_leaves_the_model_as_its_jobs_asked(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        jobs = [{"model": MODELS[0], "prompt": f"Say {n}.", "keep_alive": 0} for n in range(6)]
        batch = submit(database, clock, jobs)
        outbox = Outbox(database, host.name, clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))

        served = serve(
            database, clock, host, outbox=outbox, batch_id=batch.id, stop=Until(lambda: outbox.accepted > 0)
        )

        assert served.jobs < 6
        with opened_gpu(host) as gpu:
            wait_until(lambda: gpu.loaded() == [], description="the model is unloaded")


def test_a_lone_slot_does_not_wait_for_its_group(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(5)])
        began = clock.monotonic()

        serve(database, clock, host, timings=replace(TENTH, group=60.0))

        assert clock.monotonic() - began < 30
        assert counts(database, batch) == {JobState.SUCCEEDED: 5}


def test_other_settings_of_a_host_reach_a_worker_that_is_busy(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(num_parallel=4, time_scale=0.2)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(60)])

        def change() -> None:
            wait_until(lambda: running.state()["requests"], description="a job runs")
            with database.write() as conn:
                set_host(conn, host.name, slots=4)

        thread = threading.Thread(target=change)
        thread.start()
        served = serve(database, clock, host)
        thread.join()

        assert served.reason == "host changed"
        assert 0 < served.jobs < 60  # those that ran came to their end, the others were given back
        assert counts(database, batch) == {JobState.SUCCEEDED: served.jobs, JobState.QUEUED: 60 - served.jobs}
        assert serve(database, clock, host).reason == "host changed"  # and nothing runs with the old ones


def test_a_defect_in_a_slot_ends_the_pass_and_what_was_not_begun_is_given_back(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_at_the_third(jobs: Sequence[ClaimedJob], **more: Any) -> list[Ending]:
        if jobs[0].custom_id == "3":
            raise ZeroDivisionError
        return attempt_jobs(jobs, **more)

    monkeypatch.setattr("worker.serving.parts.attempt_jobs", break_at_the_third)
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        jobs = [{"model": MODELS[0], "prompt": f"Say {n}.", "custom_id": str(n)} for n in range(9)]
        batch = submit(database, clock, jobs)

        with pytest.raises(ZeroDivisionError):
            serve(database, clock, host)

    left = counts(database, batch)
    assert left.pop(JobState.RUNNING, 0) <= 1  # the broken one, until its lease is over
    assert left[JobState.SUCCEEDED] >= 3
    assert not being_served(database)


def test_a_defect_of_the_heartbeat_ends_the_pass(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> frozenset[int]:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.serving.heartbeat.cancel_requested", broken)
    with simulator.running(simulated(time_scale=0.2)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(200)])

        with pytest.raises(ZeroDivisionError):
            serve(database, clock, host)

    assert JobState.RUNNING not in counts(database, batch)
    assert not being_served(database)


def test_defects_are_counted_where_health_shows_them(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> list[Ending]:
        raise ZeroDivisionError("nothing")

    monkeypatch.setattr("worker.serving.parts.attempt_jobs", broken)
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(9)])
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                serve(database, clock, host)

    with database.read() as conn:
        facts = HealthFacts(clock.now(), fleet=False, held=True, pulses=read_pulses(conn))
    [message] = [found.message for found in findings(facts, HealthLimits()) if found.about == "defects.gpu-1"]
    assert message.startswith("serving gpu-1 failed 2 times within a day, last ")
    assert message.endswith(": nothing")
    later = replace(facts, now=facts.now + timedelta(days=2))
    assert not [found for found in findings(later, HealthLimits()) if found.about == "defects.gpu-1"]


def test_a_defect_while_leaving_is_counted_and_the_host_is_given_back_all_the_same(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("at the end")

    monkeypatch.setattr("worker.serving.view.HostView.keep_paces", broken)
    monkeypatch.setattr("worker.serving.view.HostView.exchange_paces", lambda _: None)
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        with pytest.raises(ZeroDivisionError):
            serve(database, clock, host)

    with database.read() as conn:
        facts = HealthFacts(clock.now(), fleet=False, held=True, pulses=read_pulses(conn))
    [message] = [found.message for found in findings(facts, HealthLimits()) if found.about == "defects.gpu-1"]
    assert message.endswith(": at the end")
    assert not being_served(database)


def being_served(database: Database) -> bool:
    with database.read() as conn:
        return bool(conn.execute(text("SELECT count(*) FROM hosts WHERE serving_token IS NOT NULL")).scalar())
