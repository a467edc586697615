"""Hosts that run: several in one background thread, or in the foreground until Ctrl-C."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from simulator.faults import Fault
from simulator.host import Host, settled
from simulator.models import Disk
from simulator.settings import HostSettings

T = TypeVar("T")


class RunningHost:
    """A host that runs in another thread. Every method may be called from any thread."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop

    @property
    def name(self) -> str:
        return self._host.settings.name

    @property
    def url(self) -> str:
        return self._host.url

    def state(self) -> dict[str, Any]:
        """What ``GET /simulator/state`` answers; also of a host that is down."""
        return self._call(self._host.state)

    def set_faults(self, *faults: Fault) -> None:
        """Replace the fault script."""
        self._call(lambda: self._host.set_faults(faults))

    def reset(self) -> None:
        """Start to count again."""
        self._call(self._host.counters.reset)

    def stop(self) -> None:
        """Shut down; connections in use break."""
        self._call(self._host.kill, settle=True)

    def kill(self) -> None:
        """Die at once, as under SIGKILL."""
        self._call(self._host.kill, settle=True)

    def kill_runner(self, model: str) -> None:
        """Kill the runner of a loaded model: what it says ends with an error, ``/api/ps`` goes on listing it."""
        self._with_runner(model, "kill")

    def stop_runner(self, model: str) -> None:
        """Let the runner of a loaded model stand still, as a wedged GPU does."""
        self._with_runner(model, "stop")

    def continue_runner(self, model: str) -> None:
        """Let a stopped runner go on."""
        self._with_runner(model, "go_on")

    def start_again(self) -> None:
        """Start a host that was killed or stopped, on the same port, with nothing loaded.

        Raises:
            OSError: the port is taken meanwhile.
        """
        if not self._host.running:
            asyncio.run_coroutine_threadsafe(self._host.listen(), self._loop).result()

    def _with_runner(self, model: str, act: str) -> None:
        def do() -> None:
            runner = self._host.runner_of(model)
            if runner is None:
                raise LookupError(f"{model} is not loaded on {self.name}")
            getattr(runner.process, act)()

        self._call(do)

    def _call(self, work: Callable[[], T], *, settle: bool = False) -> T:
        async def on_loop() -> T:
            done = work()
            if settle:
                await settled()
            return done

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result()


@contextmanager
def running(*hosts: HostSettings) -> Iterator[tuple[RunningHost, ...]]:
    """Run hosts in one background thread of this process while the block lasts.

    Raises:
        OSError: a port is taken.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated hosts", daemon=True)
    thread.start()
    started: list[Host] = []
    registries = {settings.registry: Disk((), 0) for settings in hosts if settings.registry}
    try:
        for settings in hosts:
            registry = registries.get(settings.registry)
            host = asyncio.run_coroutine_threadsafe(_started(settings, loop, registry), loop).result()
            started.append(host)
        yield tuple(RunningHost(host, loop) for host in started)
    finally:
        asyncio.run_coroutine_threadsafe(_ended(started), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def serve(hosts: Sequence[HostSettings]) -> None:
    """Run hosts until a signal ends the process; prints name and URL of each when all listen.

    Raises:
        OSError: a port is taken.
    """
    with running(*hosts) as listening:
        for host in listening:
            print(f"{host.name} {host.url}", flush=True)
        while not threading.Event().wait(
            0.25
        ):  # in slices: else a signal that comes as it begins is never seen
            pass


async def _started(settings: HostSettings, loop: asyncio.AbstractEventLoop, registry: Disk | None) -> Host:
    host = Host(settings, loop, registry=registry)
    await host.listen()
    return host


async def _ended(hosts: Sequence[Host]) -> None:
    """Kill the hosts and wait until what they were doing is over."""
    for host in hosts:
        host.kill()
    await settled()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest)
    for host in hosts:
        host.diary.close()
