"""Prompts, chats and texts on hosts that hold one model, or an embedding model beside one that speaks."""

import threading
from dataclasses import replace
from typing import Any

import pytest

import simulator
from tests.integration.serving.test_serve import (
    MODELS,
    add,
    clock,
    counts,
    database,
    serve,
    simulated,
    submit,
)
from worker.clock import Clock
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.hosts.registry import register
from worker.ollama.client import OllamaHost
from worker.storage.engine import Database

__all__ = ["clock", "database"]

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


@pytest.mark.parametrize(("at_once", "memory", "loads"), [(2, None, 2), (2, 16 * GIB, 2), (1, None, 4)])
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
