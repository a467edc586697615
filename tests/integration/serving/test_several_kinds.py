"""Prompts, chats and texts on hosts that hold one model, or an embedding model beside one that speaks."""

import threading
from dataclasses import replace
from typing import Any

import pytest

import simulator
from tests.integration.serving.test_serve import MODELS, add, counts, serve, simulated, submit
from worker.clock import Clock
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.explain.reasons import why_nothing_moves
from worker.explain.situation import Server, situation
from worker.hosts.registry import register
from worker.ollama.client import OllamaHost
from worker.storage.engine import Database

EMBEDDING = simulator.embedding_model()
GIB = 2**30


def spoken(number: int, model: str) -> dict[str, Any]:
    """A prompt or a chat, in turns."""
    if number % 2:
        return {"model": model, "messages": [{"role": "user", "content": f"Say {number}."}]}
    return {"model": model, "prompt": f"Say {number}."}


def test_chats_and_prompts_of_two_models_take_at_most_four_loads_on_two_hosts(
    database: Database, clock: Clock
) -> None:
    short = {"options": {"num_predict": 4}}
    lines = [spoken(n, MODELS[n // 2 % 2]) | short for n in range(600)]
    with simulator.running(simulated("gpu-1"), simulated("gpu-2")) as running:
        hosts = [add(database, clock, one) for one in running]
        batch = submit(database, clock, lines)
        threads = [threading.Thread(target=serve, args=(database, clock, host)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        loads = [one.state()["loads"] for one in running]
    assert counts(database, batch) == {JobState.SUCCEEDED: 600}
    assert sum(loads) <= 4


def beside(database: Database, clock: Clock, running: simulator.RunningHost, **changes: Any) -> Host:
    host = replace(add(database, clock, running), **changes)
    register(database, host, open_host=lambda h: OllamaHost(h.url), clock=clock)
    return host


@pytest.mark.parametrize(
    ("at_once", "memory", "loads"),
    [(2, None, 2), (2, 6 * GIB, 2), (1, None, 4)],
)
def test_an_embedding_model_stays_beside_one_that_speaks_where_the_host_holds_both(
    database: Database, clock: Clock, at_once: int, memory: int | None, loads: int
) -> None:
    models = (*simulator.demo_models(), EMBEDDING)
    with simulator.running(simulated(models=models, max_loaded_models=2)) as (running,):
        host = beside(database, clock, running, models_at_once=at_once, memory=memory)
        for turn in range(3):
            texts: list[dict[str, Any]] = [
                {"kind": "embed", "model": EMBEDDING.name, "input": f"text {turn} {n}"} for n in range(8)
            ]
            batch = submit(
                database, clock, texts + [spoken(n, MODELS[1]) for n in range(8)], key=f"turn {turn}"
            )
            serve(database, clock, host)
            assert counts(database, batch) == {JobState.SUCCEEDED: 16}

        assert running.state()["loads"] == loads


def test_no_two_models_stay_loaded_that_take_more_than_the_host_has(database: Database, clock: Clock) -> None:
    """5 GiB hold both as they are on disk, and not with their windows."""
    with simulator.running(simulated(models=(*simulator.demo_models(), EMBEDDING), max_loaded_models=2)) as (
        running,
    ):
        host = beside(database, clock, running, models_at_once=2, memory=5 * GIB)
        texts: list[dict[str, Any]] = [
            {"kind": "embed", "model": EMBEDDING.name, "input": f"text {n}"} for n in range(8)
        ]
        for turn in range(2):
            batch = submit(
                database, clock, texts + [spoken(n, MODELS[1]) for n in range(8)], key=f"turn {turn}"
            )
            serve(database, clock, host)
            assert counts(database, batch) == {JobState.SUCCEEDED: 16}
            assert sum(model.size for model in OllamaHost(host.url).loaded()) <= 5 * GIB


def test_a_model_that_alone_is_too_large_for_a_host_is_named_with_what_helps(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = beside(database, clock, running, memory=2 * GIB)
        batch = submit(database, clock, [spoken(0, MODELS[1])])
        serve(database, clock, host)
        now = situation(database, batch.id, clock=clock, server=Server.SELF)

    assert counts(database, batch) == {JobState.QUEUED: 1}
    [reason] = why_nothing_moves(now, clock.now())
    assert reason == (
        "qwen2.5:7b takes 4.7 GB, and gpu-1 has 2.1 GB for models: caravan hosts set gpu-1 --memory SIZE"
    )
