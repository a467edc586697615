"""Jobs that ask what was asked before take the stored answer, and no host is asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import simulator
from api_schemas.jobs import JobDefaults
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.timings import Timings
from worker.ollama.client import Deadlines, OllamaHost
from worker.services.hosts import register
from worker.services.results import result_lines
from worker.services.serve import Served, serve_host
from worker.services.submit import submit_lines
from worker.services.tick import tick, tidy
from worker.storage.check import check_database
from worker.storage.engine import Database, open_database
from worker.storage.runs import count_loads

QUICK = Timings(
    lease=9, renew=2, cancel_poll=0.1, tick=0.5, budget=30, linger=0.0, idle_poll=0.05, group=0.05, unload=3
)
MODEL, OTHER = (model.name for model in simulator.demo_models()[:2])


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    opened = open_database(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def clock(database: Database) -> Clock:
    return database.clock()


@contextmanager
def a_host(database: Database, clock: Clock, **settings: Any) -> Iterator[tuple[Any, Host]]:
    told: dict[str, Any] = {"name": "gpu-1", "models": simulator.demo_models(), "time_scale": 0.0}
    with simulator.running(simulator.HostSettings(**{**told, **settings})) as (running,):
        host = Host("gpu-1", running.url)
        register(database, host, open_host=opened, clock=clock)
        yield running, host


def opened(host: Host) -> OllamaHost:
    return OllamaHost(host.url, deadlines=Deadlines(connect=2, first_byte=5, silence=5, total=10, load=10))


def submit(database: Database, clock: Clock, *rows: dict[str, Any], **defaults: Any) -> Batch:
    said: dict[str, Any] = {"model": MODEL, "options": {"seed": 1}, "reuse": True, **defaults}
    return submit_lines(
        database,
        [json.dumps(row) for row in rows],
        key=f"key-{clock.monotonic()}",
        name="b",
        source=None,
        defaults=JobDefaults(**said),
        clock=clock,
    ).batch


def serve(database: Database, host: Host, clock: Clock, **more: Any) -> Served:
    gpu = opened(host)
    try:
        return serve_host(database, host, gpu=gpu, clock=clock, timings=QUICK, stop=threading.Event(), **more)
    finally:
        gpu.close()
        tick(database, clock=clock)
        tidy(database, clock=clock)


def lines(database: Database, batch: Batch) -> list[dict[str, Any]]:
    return list(result_lines(database, batch.id))


def promises(database: Database, clock: Clock) -> list[str]:
    return [one.name for one in check_database(database, now=clock.now()) if one.broken]


def asked(running: Any) -> int:
    return sum(1 for request in running.diary.requests if request.path == "/api/generate" and request.prompt)


def test_the_same_request_takes_the_stored_answer_of_another_batch(database: Database, clock: Clock) -> None:
    rows = [{"prompt": f"Say {n}.", "custom_id": f"c{n}"} for n in range(5)]
    with a_host(database, clock) as (_, host):
        first = submit(database, clock, *rows, reuse=None)
        serve(database, host, clock)
        loads = count_loads(_read(database), None) if False else None
        second = submit(database, clock, *rows, {"prompt": "Say something new."})
        served = serve(database, host, clock)

    old, new = lines(database, first), lines(database, second)
    assert [line["answer"] for line in new[:5]] == [line["answer"] for line in old]
    assert [line["reused_from"] for line in new] == [line["job_id"] for line in old] + [None]
    assert [line["attempts"] for line in new] == [0, 0, 0, 0, 0, 1]
    assert served.jobs == 1
    assert loads is None
    assert new[0]["eval_seconds"] is None and new[0]["output_tokens"] == old[0]["output_tokens"]
    assert promises(database, clock) == []


def _read(database: Database) -> Any:
    return database
