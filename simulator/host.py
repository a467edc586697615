"""One simulated host: its disk, its scheduler, its server; alive, killed, and started again."""

import asyncio
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from simulator.clock import COALESCE_SECONDS, Clock
from simulator.diary import Diary
from simulator.endpoints import dispatch
from simulator.faults import Fault, FaultScript
from simulator.http import JSON, Connection, Reply, Request
from simulator.models import Disk, LocalModel
from simulator.options import RunnerOptions
from simulator.runner import Gpu, Runner
from simulator.scheduler import Scheduler
from simulator.settings import HostSettings
from simulator.speech import Voice, voice_of
from simulator.state import Counters
from simulator.wording import error_body


class Host:
    """A host on an event loop. Counters and faults outlive a crash of its server; what was loaded does not."""

    def __init__(
        self,
        settings: HostSettings,
        loop: asyncio.AbstractEventLoop,
        *,
        coalesce: float = COALESCE_SECONDS,
        registry: Disk | None = None,
    ) -> None:
        """``registry`` is what it pulls from and pushes to; one of its own where it is None."""
        self.settings = settings
        self.clock = Clock(loop, settings.time_scale, coalesce=coalesce)
        self.counters = Counters()
        self.diary = Diary(settings.diary)
        self.faults = FaultScript(settings.faults)
        self.disk = Disk(settings.models, self.clock.wall_ns())
        self.registry = registry or Disk((), 0)
        for model in Disk(settings.pullable, self.clock.wall_ns()):
            self.registry.add(model.name, model, model.modified_ns)
        self.port = settings.port
        self._voices: dict[str, Voice] = {}
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._gpu = Gpu()
        self.scheduler = self._new_scheduler()
        self._scheduling: asyncio.Task[None] | None = None
        self._lives = 0

    @property
    def running(self) -> bool:
        return self._scheduling is not None

    @property
    def url(self) -> str:
        return f"http://{'127.0.0.1' if self.settings.bind in ('', '0.0.0.0', '::') else self.settings.bind}:{self.port}"

    async def listen(self) -> None:
        """Start the server on its port (a free one the first time it is 0, the same again later).

        Raises:
            OSError: the port is taken.
        """
        loop, life = self.clock.loop, self._lives
        await settled()
        self._server = await loop.create_server(
            lambda: self._connection(life), self.settings.bind, self.port, backlog=1_024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start to work, without a port: for connections handed in by :meth:`connection`."""
        self._gpu = Gpu()
        self.scheduler = self._new_scheduler()
        self._scheduling = self.clock.loop.create_task(self.scheduler.run())

    def connection(self) -> Connection:
        """A protocol that serves one connection."""
        return self._connection(self._lives)

    def _connection(self, life: int) -> Connection:
        # the server may die between the moment it accepts a connection and that in which it is made
        return Connection(
            self._handle, self._connections, self._client_gone, self.clock.loop, lambda: self._lives == life
        )

    def kill(self) -> None:
        """Die as a killed process does: connections break, nobody listens, nothing is loaded any more."""
        self._lives += 1
        if self._server is not None:
            _close(self._server, self.clock.loop)
            self._server = None
        if self._scheduling is not None:
            self._scheduling.cancel()
            self._scheduling = None
        self.scheduler.close()
        for connection in list(self._connections):
            connection.abort()

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the fault script; counting starts again."""
        self.faults = FaultScript(faults)

    def runner_of(self, model: str) -> Runner | None:
        """The runner of a loaded model, to stop or kill its process."""
        for loaded in self.scheduler.loaded.values():
            if loaded.model.name.short in (model, f"{model}:latest"):
                return loaded.runner
        return None

    def state(self) -> dict[str, Any]:
        """What ``GET /simulator/state`` answers."""
        return {
            "name": self.settings.name,
            "line": self.settings.line,
            **self.counters.to_json(),
            "resident": sorted(loaded.model.name.short for loaded in self.scheduler.loaded.values()),
            "faults": self.faults.to_json(),
        }

    def _new_scheduler(self) -> Scheduler:
        return Scheduler(self.settings, self.clock, self.counters, self._new_runner, self._load_fault)

    def _load_fault(self, model: LocalModel) -> Fault | None:
        return self.faults.strike_load(model.name.short)

    def _new_runner(self, model: LocalModel, options: RunnerOptions) -> Runner:
        voice = self._voices.get(model.blob)
        if voice is None:
            voice = self._voices[model.blob] = voice_of(model.model, self.settings.seed)
        size = model.memory(options.num_ctx, self.settings.num_parallel)
        off_gpu = max(0.0, 1 - self.settings.memory_bytes / size) if self.settings.gpu else 0.0
        return Runner(model.model, options, self.settings, self.clock, voice, gpu=self._gpu, off_gpu=off_gpu)

    def _client_gone(self) -> None:
        self.counters.disconnects += 1

    async def _handle(self, request: Request, reply: Reply) -> None:
        try:
            await dispatch(self, request, reply)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if not reply.started:
                reply.send(500, JSON, error_body("the simulator itself failed, see its log"))


def _close(server: asyncio.Server, loop: asyncio.AbstractEventLoop) -> None:
    """Accept nothing more, and close when what was accepted just now has its transport: asyncio makes that one turn of
    the loop later, and leaks the socket of a server that has closed meanwhile."""
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    loop.call_soon(loop.call_soon, server.close)


async def settled() -> None:
    """Let the loop turn until what was killed is closed."""
    for _ in range(4):
        await asyncio.sleep(0)
