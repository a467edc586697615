"""A simulated host on a virtual clock, and a client that talks to it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from simulator import HostSettings, Script, SimulatedModel
from simulator.host import Host
from tests.contract.virtual_time import run_virtually
from tests.contract.wire import Reply, SimulatedWire, Talk

T = TypeVar("T")

WORDS = Script({263: "one", 264: " two", 265: " three"}, {263: 264, 264: 265, 265: 263}, first=263)
"""Speaks for ever."""


def model(name: str, **changes: Any) -> SimulatedModel:
    """An endless speaker: two seconds to load, ten tokens a second, a hundred tokens a second to read."""
    usual: dict[str, Any] = {
        "script": WORDS,
        "vocabulary_size": 266,
        "layers": 2,
        "kv_width": 64,
        "size_bytes": 1_000_000,
        "trained_context": 8_192,
        "load_seconds": 2.0,
        "tokens_per_second": 10.0,
        "prompt_tokens_per_second": 100.0,
    }
    return SimulatedModel(name, **(usual | changes))


class Stage:
    """What a test does to a host."""

    def __init__(self, settings: HostSettings) -> None:
        self.host = Host(settings, asyncio.get_running_loop(), coalesce=0.0)
        self.host.start()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def talk(self) -> Talk:
        return Talk(SimulatedWire(self.host))

    async def post(self, path: str, value: Any) -> Reply:
        return await self.talk().run("POST", path, json.dumps(value).encode())

    async def get(self, path: str) -> Any:
        reply = await self.talk().run("GET", path, b"")
        return json.loads(reply.lines[0][1])

    async def generate(self, name: str, prompt: str = "x", *, tokens: int = 1, **fields: Any) -> Reply:
        """Ask for ``tokens`` tokens, not streamed."""
        options = {"num_predict": tokens} | fields.pop("options", {})
        asked = {"model": name, "prompt": prompt, "stream": False, "options": options} | fields
        return await self.post("/api/generate", asked)

    def begin(self, name: str, prompt: str = "x", **fields: Any) -> "asyncio.Task[Reply]":
        """Ask, and go on meanwhile."""
        return asyncio.get_running_loop().create_task(self.generate(name, prompt, **fields))

    async def resident(self) -> list[str]:
        return sorted(one["name"].removesuffix(":latest") for one in (await self.get("/api/ps"))["models"])


def on_stage(scenario: Callable[[Stage], Awaitable[T]], *models: SimulatedModel, **settings: Any) -> T:
    """Play a scenario on a host of its own, in virtual time."""

    async def play() -> T:
        stage = Stage(HostSettings("stage", models, **settings))
        try:
            return await scenario(stage)
        finally:
            stage.host.kill()

    return run_virtually(play())


def said(reply: Reply) -> dict[str, Any]:
    """The last line of a reply as an object."""
    value: dict[str, Any] = json.loads(reply.lines[-1][1])
    return value


def texts(reply: Reply) -> list[str]:
    """The text of each chunk of a stream."""
    return [json.loads(line).get("response", "") for _, line in reply.lines]
