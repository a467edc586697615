"""The recorded scenes, played to a live server: ``CARAVAN_TEST_OLLAMA=http://127.0.0.1:11434``.

The server needs the models of ``transcripts/models.json``. Scenes that kill or stop it, or change its models, are played only
with ``CARAVAN_TEST_OLLAMA_DISPOSABLE=1``, from the same machine and as a user who may send it signals; that of models needs a
registry that listens on 127.0.0.1:5001 as well. A simulated host is played to in the same way, so that this is tested too.
"""

import asyncio
import json
import os
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from simulator import Line, running
from tests.contract.recording import Scene, scene, scene_names
from tests.contract.replay import Played, play
from tests.contract.scripted import host_settings
from tests.contract.verdict import problems
from tests.contract.wire import LiveWire, Talk

URL = os.environ.get("CARAVAN_TEST_OLLAMA", "")
DISPOSABLE = os.environ.get("CARAVAN_TEST_OLLAMA_DISPOSABLE") == "1"
DEADLY = ("runner-dies", "poison-context")
CHANGING, REGISTRY = ("models",), ("127.0.0.1", 5001)
MADE_IN_SCENES = {"plain-copy", "plain-2k", "made", "made2", "made-q4"}
DEFAULTS = {"OLLAMA_KEEP_ALIVE": "5m"}
TELLS_OF_OTHERS = ("/api/version", "/api/tags", "/v1/models", "/api/ps")
"""What these answer depends on more than the scene."""

pytestmark = [
    pytest.mark.contract,
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", urlsplit(URL).hostname or "127.0.0.1"]),
]


@pytest.mark.skipif(not URL, reason="CARAVAN_TEST_OLLAMA is not set")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", scene_names())
def test_a_live_server_goes_as_recorded(name: str) -> None:
    tags = _asked("/api/tags")["models"]
    recorded, present = scene(_line(tags), name), {tag["name"] for tag in tags}
    _skip_what_cannot_be_played(recorded, present)

    played = asyncio.run(_played_from_empty(recorded))

    comparable = [one for one in played if not _has_other_models(one, present)]
    found = problems(recorded, comparable, paths_left_out=TELLS_OF_OTHERS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        *(("repeat-abort", "O"), ("repeat-abort", "H"), ("thinking", "H"), ("chat-tools", "O")),
        *(("chat-window", "H"), ("embed", "O"), ("embed", "H"), ("models", "H"), ("openai", "O")),
    ],
)
def test_a_simulated_server_passes_for_a_live_one(name: str, line: Line) -> None:
    recorded = scene(line, name)

    with running(host_settings(recorded)) as (host,):
        played = asyncio.run(_played_over_sockets(recorded, host.url))

    assert not problems(recorded, played)


async def _played_from_empty(recorded: Scene) -> list[Played]:
    """Unload what is loaded, as at the start of a recording, and play."""
    async with asyncio.timeout(60):
        while loaded := _asked("/api/ps")["models"]:
            for model in loaded:
                await Talk(LiveWire(URL)).run("POST", "/api/generate", _unload(model["name"]))
            await asyncio.sleep(0.2)
    return await play(recorded, LiveWire(URL), _Signals())


def _unload(model: str) -> bytes:
    return json.dumps({"model": model, "keep_alive": 0}).encode()


async def _played_over_sockets(recorded: Scene, url: str) -> list[Played]:
    return await play(recorded, LiveWire(url), _Signals())


def _asked(path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(URL.rstrip("/") + path, timeout=10) as response:
            value: dict[str, Any] = json.load(response)
            return value
    except OSError as error:
        pytest.skip(f"{URL} does not answer: {error}")


def _line(tags: list[dict[str, Any]]) -> Line:
    """H lists the capabilities of each model, O does not."""
    return "H" if any("capabilities" in tag for tag in tags) else "O"


def _skip_what_cannot_be_played(recorded: Scene, present: set[str]) -> None:
    if recorded.name in (*DEADLY, *CHANGING) and not DISPOSABLE:
        pytest.skip("kills the server or changes its models: CARAVAN_TEST_OLLAMA_DISPOSABLE=1 allows it")
    if recorded.name in CHANGING and not _listens(REGISTRY):
        pytest.skip("no registry listens on 127.0.0.1:5001")
    environment = _environment()
    unlike = {
        name: value
        for name, value in recorded.env.items()
        if environment.get(name, DEFAULTS.get(name)) != value
    }
    if unlike:
        pytest.skip(f"was recorded with {unlike}; this server was not started so, as far as can be known")
    wanted = {one.wanted_model for one in recorded.exchanges if one.answer and one.answer.status == 200}
    missing = {
        name for name in wanted if name and ":" not in name and f"{name.lower()}:latest" not in present
    }
    missing -= MADE_IN_SCENES
    if missing:
        pytest.skip(f"the server has no {', '.join(sorted(missing))}")


def _has_other_models(one: Played, present: set[str]) -> bool:
    """Whether the answer tells of a model that the recording server did not have and this one has, or the reverse."""
    name, answer = one.exchange.wanted_model, one.exchange.answer
    if not name or answer is None or answer.status == 200:
        return False
    text = "".join(line for _, line in answer.lines)
    is_there = (name if ":" in name else f"{name}:latest").lower() in present
    return is_there if answer.status == 404 else not is_there and "does not support" in text


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(address) == 0


def _environment() -> dict[str, str]:
    """The server's environment, where this user may see it."""
    try:
        return _server().environ()
    except (psutil.Error, LookupError):
        return {}


class _Signals:
    """Signals to the live server and its runners."""

    def kill_runner(self) -> None:
        for runner in _server().children(recursive=True):
            runner.kill()

    def stop_runner(self) -> None:
        for runner in _server().children(recursive=True):
            runner.suspend()

    def continue_runner(self) -> None:
        for runner in _server().children(recursive=True):
            runner.resume()

    def kill_server(self) -> None:
        _server().kill()


def _server() -> psutil.Process:
    """The process that listens where the tests were told."""
    port = urlsplit(URL).port or 11_434
    for connection in psutil.net_connections("tcp"):
        here = getattr(connection.laddr, "port", None) == port
        if here and connection.status == psutil.CONN_LISTEN and connection.pid:
            return psutil.Process(connection.pid)
    raise LookupError(f"nothing on this machine listens on port {port}")
