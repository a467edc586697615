"""Every recorded scene, played to the simulator on a virtual clock, goes as it went on the real servers."""

import asyncio

import pytest

from simulator import Line
from simulator.host import Host
from tests.contract.compare import cached_prompts
from tests.contract.exceptions import EXCEPTIONS
from tests.contract.recording import Scene, scene, scene_names
from tests.contract.replay import Played, play
from tests.contract.scripted import host_settings
from tests.contract.verdict import problems
from tests.contract.virtual_time import run_virtually
from tests.contract.wire import SimulatedWire

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("line", ["O", "H"])
@pytest.mark.parametrize("name", scene_names())
def test_a_scene_goes_as_recorded(name: str, line: Line) -> None:
    recorded = scene(line, name)

    played, runner_starts = run_virtually(played_to_the_simulator(recorded))

    found = problems(recorded, played)
    if runner_starts != recorded.runner_starts:
        found.append(f"{runner_starts} loads begun, recorded {recorded.runner_starts}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_shared_prefix_saves_where_it_saved(line: Line) -> None:
    recorded = scene(line, "prefix-cache")

    played, _ = run_virtually(played_to_the_simulator(recorded))

    savings = cached_prompts(played)
    assert [here for here, _ in savings] == [there for _, there in savings]


def test_the_exceptions_are_about_scenes_that_exist() -> None:
    for _, name, which in EXCEPTIONS:
        exchanges = scene("O", name).exchanges
        assert which in {one.label for one in exchanges} | {str(one.number) for one in exchanges}


async def played_to_the_simulator(recorded: Scene) -> tuple[list[Played], int]:
    """Play a scene to a host of its own; how it went, and how many loads were begun."""
    host = Host(host_settings(recorded), asyncio.get_running_loop(), coalesce=0.0)
    host.start()
    played = await play(recorded, SimulatedWire(host), _FromOutside(host))
    host.kill()
    return played, host.counters.runner_starts


class _FromOutside:
    """What the recorder did with signals."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def kill_runner(self) -> None:
        for loaded in self._host.scheduler.loaded.values():
            loaded.runner.process.kill()

    def stop_runner(self) -> None:
        for loaded in self._host.scheduler.loaded.values():
            loaded.runner.process.stop()

    def continue_runner(self) -> None:
        for loaded in self._host.scheduler.loaded.values():
            loaded.runner.process.go_on()

    def kill_server(self) -> None:
        self._host.kill()
