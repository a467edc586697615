"""The threads of the embedded stack outlive a defect in what they call."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import simulator
from api_schemas.jobs import JobDefaults
from tests.door import submit_lines
from tests.waiting import wait_until
from worker.clock import Clock
from worker.dispatch import services
from worker.domain.batches import Batch, BatchState
from worker.domain.hosts import Host
from worker.errors import DatabaseUnavailable, NoHost
from worker.maintenance.runner import Runner
from worker.serving.loop import serve_host
from worker.settings import load_settings
from worker.stack import embedded as stack_module
from worker.stack import served_host
from worker.stack.embedded import Embedded, embedded, join_hosts
from worker.storage.batches import get_batch
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import add_host


@pytest.mark.parametrize("error", [ValueError("a defect"), DatabaseUnavailable("away")])
@pytest.mark.parametrize(("module", "what"), [(served_host, "serve_host"), (services, "promote")])
def test_what_breaks_once_is_tried_again_and_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: ModuleType, what: str, error: Exception
) -> None:
    real: Any = getattr(module, what)
    broken: list[str] = []

    def breaks_once(*args: Any, **kwargs: Any) -> Any:
        if not broken:
            broken.append(what)
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(module, what, breaks_once)
    host = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    model = simulator.demo_models()[0].name
    with (
        simulator.running(host) as (running,),
        embedded(
            load_settings({}, home=tmp_path / "home", tick_seconds=0.05, idle_poll_seconds=0.05)
        ) as stack,
    ):
        join_hosts(stack, [Host("gpu-1", running.url)])
        batch = submit_lines(
            stack.database,
            [f'{{"model": "{model}", "prompt": "x"}}'],
            key="k",
            name="b",
            defaults=JobDefaults(),
            clock=stack.clock,
        ).batch
        stack.serve([Host("gpu-1", running.url)])

        def done() -> bool:
            with stack.database.read() as conn:
                return bool(broken) and batch_progress(conn, batch.id).done == 1

        wait_until(done, description="the job is answered though something broke")


def test_a_host_that_an_earlier_run_used_is_forgotten_where_it_is_not_there_any_more(
    database_url: str, tmp_path: Path
) -> None:
    gone, added = Host("127.0.0.1:1", "http://127.0.0.1:1"), Host("gpu-9", "http://127.0.0.1:2")
    with embedded(load_settings({}, home=tmp_path / "home", database_url=database_url)) as stack:
        with stack.database.write() as conn:
            add_host(conn, gone, now=stack.clock.now(), permanent=False)
            add_host(conn, added, now=stack.clock.now())
        with pytest.raises(NoHost):
            join_hosts(stack, [gone, added])
        with stack.database.read() as conn:
            left = [row.host.name for row in read_hosts(conn, stack.clock.now())]

    assert left == ["gpu-9"]


def submitted(database: Database, clock: Clock, key: str, **fields: object) -> Batch:
    """A batch of one job, as another process submits it: the stack is told nothing."""
    job = {"model": simulator.demo_models()[0].name, "prompt": key, **fields}
    return submit_lines(
        database, [json.dumps(job)], key=key, name=key, defaults=JobDefaults(), clock=clock
    ).batch


@contextmanager
def at_rest(url: str, home: Path, **settings: float) -> Iterator[tuple[Embedded, Database, list[str]]]:
    """A stack that serves a host and has come to rest, a connection of another process, and the names of the hosts that
    were served since."""
    host = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    served: list[str] = []
    left = threading.Event()
    serve = serve_host

    def counted(*args: Any, **kwargs: Any) -> Any:
        served.append(args[0].host.name)
        ended = serve(*args, **kwargs)
        left.set()
        return ended

    fast = {"linger_seconds": 0.0, "idle_poll_seconds": 0.02, **settings}
    with (
        pytest.MonkeyPatch.context() as patch,
        simulator.running(host) as (running,),
        embedded(load_settings({}, home=home, database_url=url, **fast), command="up") as stack,
        closing(open_database(url)) as other,
    ):
        patch.setattr(served_host, "serve_host", counted)
        join_hosts(stack, [Host("gpu-1", running.url)])
        stack.serve([Host("gpu-1", running.url)])
        assert left.wait(30)
        served.clear()
        yield stack, other, served


def is_done(database: Database, batch: Batch) -> bool:
    with database.read() as conn:
        return batch_progress(conn, batch.id).done == 1


def test_what_another_process_submits_is_noticed_without_a_tick(database_url: str, tmp_path: Path) -> None:
    hours = 3600.0
    with at_rest(database_url, tmp_path, tick_seconds=hours, chores_seconds=hours) as (stack, other, served):
        for key in ("first", "second"):
            batch = submitted(other, stack.clock, key, priority="interactive")

            wait_until(lambda batch=batch: is_done(other, batch), description=f"the {key} job is answered")  # type: ignore[misc]

    assert set(served) == {"gpu-1"}


def test_a_host_that_rests_is_woken_though_the_services_have_other_work(
    database_url: str, tmp_path: Path
) -> None:
    with at_rest(database_url, tmp_path) as (stack, other, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "run_due", lambda *_: {})
        batch = submitted(other, stack.clock, "urgent", priority="interactive")

        wait_until(lambda: is_done(other, batch), description="the job is answered")


def test_at_rest_no_host_is_served_and_nothing_is_logged(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passes = threading.Semaphore(0)
    with at_rest(database_url, tmp_path, tick_seconds=0.02, chores_seconds=0.02) as (stack, _, served):
        caplog.clear()
        run_due = Runner.run_due

        def counted(self: Any, *args: Any) -> Any:
            passes.release()
            return run_due(self, *args)

        with caplog.at_level(logging.INFO), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Runner, "run_due", counted)
            for _ in range(30):
                assert passes.acquire(timeout=30)
            messages = [record.message for record in caplog.records if record.name.startswith("caravan")]

        assert (served, messages) == ([], [])
        assert stack.hosts == ["gpu-1"]


def test_a_stack_that_closes_waits_for_its_threads(tmp_path: Path) -> None:
    ended: list[str] = []
    with embedded(load_settings({}, home=tmp_path / "home")) as stack:

        def end_late() -> None:
            stack.stop.wait()
            with stack.database.read():
                ended.append("before the database was closed")

        stack.health = threading.Thread(target=end_late, daemon=True)
        stack.health.start()
        stack.serve([])

    assert ended == ["before the database was closed"]
    assert [thread.name for thread in stack.threads if thread.is_alive()] == []


def test_a_thread_that_outlives_its_stack_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stack_module, "CUT_SECONDS", 0.05)
    release = threading.Event()

    with embedded(load_settings({}, home=tmp_path / "home", stop_grace_seconds=0.05)) as stack:
        stack.health = threading.Thread(target=release.wait, name="slow", daemon=True)
        stack.health.start()

    release.set()
    stack.health.join()
    assert "threads of it still run: slow" in caplog.text


def test_a_host_that_is_taken_while_the_stack_stops_is_not_served(tmp_path: Path) -> None:
    with embedded(load_settings({}, home=tmp_path / "home")) as stack:
        stack.ask_to_stop()
        stack.serve([Host("gpu-1", "http://127.0.0.1:9")])
        [served] = stack.served.values()
        assert served.thread is not None
        served.thread.join(10)

        assert not served.thread.is_alive()


def test_a_batch_whose_last_job_ended_as_the_stack_stopped_is_over(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "settle_batches", lambda *_: {})  # as if they had been stopped before

    with at_rest(database_url, tmp_path) as (stack, other, _):
        batch = submitted(other, stack.clock, "last")
        wait_until(lambda: is_done(other, batch), description="the job is answered")

    with closing(open_database(database_url)) as after, after.read() as conn:
        assert get_batch(conn, batch.id).state is BatchState.FINISHED
