"""Jobs of every kind for the models that a live server has: ``CARAVAN_TEST_OLLAMA=http://127.0.0.1:11434``.

Any small models do (qwen2.5:0.5b, deepseek-r1:1.5b, all-minilm, …): what they say is not looked at, only that each job ends,
and that nothing but the model is ever to blame. Simulated hosts are asked the same, so that this is tested too.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api_schemas.jobs import JobDefaults
from simulator import HostSettings, Line, demo_models, running
from simulator.catalog import embedding_model, seeing_model
from tests.door import submit_lines
from worker.domain.hosts import Host, HostModel
from worker.domain.selection import Selection
from worker.domain.timings import Timings
from worker.errors import Code
from worker.exports.results import result_lines
from worker.hosts.registry import register
from worker.ollama.client import OllamaHost
from worker.serving.loop import serve_host
from worker.serving.session import ServingContext
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

URL = os.environ.get("CARAVAN_TEST_OLLAMA", "")
LARGEST, MOST_MODELS = 3_000_000_000, 6
"""Bytes of a model that is asked, and how many are: a server may have hundreds, on a slow disk."""
OF_THE_MODEL = {Code.EMPTY_ANSWER, Code.INVALID_OUTPUT, Code.INVALID_TOOL_CALL, Code.REPEATED_OUTPUT}
"""Ends of a job that a small model may bring about by what it says."""
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": PLACE}}
RED_DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJg"
    "gg=="
)

pytestmark = [
    pytest.mark.contract,
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", urlsplit(URL).hostname or "127.0.0.1"]),
]


@pytest.mark.skipif(not URL, reason="CARAVAN_TEST_OLLAMA is not set")
@pytest.mark.timeout(3600)
def test_the_models_of_a_live_server_are_asked_in_every_way_they_can(tmp_path: Path) -> None:
    _ask_all(tmp_path, URL)


@pytest.mark.parametrize("line", ["O", "H"])
def test_the_models_of_a_simulated_server_are_asked_in_every_way_they_can(tmp_path: Path, line: Line) -> None:
    models = (*demo_models()[2:], seeing_model(), embedding_model())
    with running(HostSettings("gpu-1", models, line=line, time_scale=0)) as (host,):
        _ask_all(tmp_path, host.url, largest=10**12)


def _ask_all(folder: Path, url: str, *, largest: int = LARGEST) -> None:
    """One pass over the server; raises AssertionError for a job that ended otherwise than by its model's doing."""
    with _opened(url) as (host, gpu):
        models = sorted((model for model in gpu.models() if model.size <= largest), key=lambda one: one.size)
        if not models:
            pytest.skip(f"{url} has no model of at most {largest:,} bytes")
        path = f"sqlite:///{folder / 'caravan.db'}"
        upgrade(path)
        database = open_database(path)
        clock = database.clock()
        register(database, host, open_host=lambda one: OllamaHost.of(one), clock=clock)
        jobs = [job for model in models[:MOST_MODELS] for job in _jobs_for(model)]
        batch = submit_lines(
            database, map(json.dumps, jobs), key="k", name="k", defaults=JobDefaults(), clock=clock
        ).batch
        serve_host(ServingContext(database, host, gpu, clock, Timings(linger=0)))
        results = {one["custom_id"]: one for one in result_lines(database, Selection(batch.id))}
        database.close()

    problems = [
        f"{name}: {one['state']} {one.get('error')}, answer {one.get('answer')!r}"
        for name, one in results.items()
        if not _is_right(name, one)
    ]
    assert len(results) == len(jobs)
    assert not problems, "\n".join(problems)
    for model in models[:MOST_MODELS]:
        twins = [results.get(f"{model.name} text {n}") for n in (0, 1)]
        if twins[0] is not None and twins[1] is not None:
            assert twins[0]["embedding"] == pytest.approx(twins[1]["embedding"], abs=1e-3)


def _is_right(name: str, result: dict[str, Any]) -> bool:
    code = (result.get("error") or {}).get("code")
    if name.endswith("too long"):
        return code == Code.CONTEXT_OVERFLOW
    return result["state"] == "succeeded" or code in OF_THE_MODEL


def _jobs_for(model: HostModel) -> Iterator[dict[str, Any]]:
    can = model.capabilities or ("completion",)
    name = model.name
    if "embedding" in can:
        too_long = "word " * ((model.trained_context or 8192) + 100)
        for n, text in enumerate(["A red cup.", "A red cup.", "请描述这只杯子。 😀", "x", too_long]):
            which = "too long" if text is too_long else f"text {n}"
            yield {"custom_id": f"{name} {which}", "kind": "embed", "model": name, "input": text}
    if "completion" not in can:
        return
    few = {"options": {"num_predict": 64, "num_ctx": 2048, "seed": 1}}
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Lisbon?"}]
    asked: dict[str, dict[str, Any]] = {
        "prompt": {"prompt": "Name a colour. 请 😀"},
        "chat": {"messages": turns},
        "format": {"prompt": "A city of Portugal, as JSON.", "format": PLACE},
        "chat with format": {"messages": turns, "format": PLACE},
        "json": {"prompt": "A city of Portugal, as JSON.", "format": "json"},
        "raw": {"prompt": "Once upon a time", "raw": True},
        "stop": {"prompt": "Count: 1 2 3", "options": {**few["options"], "stop": ["7"]}},
        "logprobs": {"prompt": "Yes or no?", "logprobs": True, "top_logprobs": 2},
        "no reasoning": {"prompt": "What is 2 + 2?", "think": False},
        "too long": {"prompt": "word " * 3000, "options": {**few["options"], "num_ctx": 2048}},
    }
    if "thinking" in can:
        asked["reasoning"] = {"prompt": "What is 2 + 2?", "think": True}
        asked["reasoning and format"] = {"messages": turns, "think": True, "format": PLACE}
    if "tools" in can:
        asked["tools"] = {"messages": [{"role": "user", "content": "Weather in Faro?"}], "tools": [WEATHER]}
        asked["forced tool"] = {**asked["tools"], "tool_choice": "required"}
    if "vision" in can:
        asked["image"] = {"prompt": "Which colour?", "images": [RED_DOT]}
    for which, fields in asked.items():
        kind = "chat" if "messages" in fields else "generate"
        yield {"custom_id": f"{name} {which}", "kind": kind, "model": name, **few, **fields}


@contextmanager
def _opened(url: str) -> Iterator[tuple[Host, OllamaHost]]:
    host = Host("live", url, 1)
    gpu = OllamaHost.of(host)
    try:
        yield host, gpu
    finally:
        gpu.close()
