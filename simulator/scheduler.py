"""Which model is in memory: one queue of those that need a load, worked on strictly in order.

A request whose model is loaded with the same options is granted at once and never queued. Every other waits in
one pending queue; the scheduler takes the first, makes room for it however long that takes, loads it, and only
then looks at the next. Source: ``server/sched.go``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from simulator.clock import Clock
from simulator.durations import FOREVER
from simulator.faults import Fault
from simulator.models import LocalModel
from simulator.options import RunnerOptions, differ
from simulator.process import RunnerDied
from simulator.runner import Runner
from simulator.settings import HostSettings
from simulator.state import Counters


class QueueFull(Exception):
    """The pending queue is full: 503."""


class LoadFailed(Exception):
    """The model could not be loaded; the text is the server's."""


@dataclass(eq=False, slots=True)
class Loaded:
    """A runner in memory and who uses it. ``session`` is its keep_alive in seconds."""

    model: LocalModel
    options: RunnerOptions
    shift: bool
    runner: Runner
    session: float
    size: int
    users: int = 0
    expires_at_ns: int = 0
    timer: asyncio.TimerHandle | None = None
    unloading: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class LoadRequest:
    """What a request needs loaded."""

    model: LocalModel
    options: RunnerOptions
    keep_alive: float | None
    shift: bool
    granted: asyncio.Future[Loaded]
    loading: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        """Whether the client hung up: cancelling the request cancels what it waits for, before it runs again."""
        return self.granted.cancelled()


class Scheduler:
    """The scheduler of one host. :meth:`run` is its loop; it ends by being cancelled."""

    def __init__(
        self,
        settings: HostSettings,
        clock: Clock,
        counters: Counters,
        make_runner: Callable[[LocalModel, RunnerOptions], Runner],
        load_fault: Callable[[LocalModel], Fault | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._make_runner = make_runner
        self._load_fault = load_fault
        self._pending: asyncio.Queue[LoadRequest] = asyncio.Queue(maxsize=settings.max_queue)
        self._unloaded = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.loaded: dict[str, Loaded] = {}

    async def grant(
        self,
        model: LocalModel,
        options: RunnerOptions,
        *,
        keep_alive: float | None,
        shift: bool,
    ) -> Loaded:
        """Wait until the model is in memory, and count as its user until :meth:`release`.

        Raises:
            QueueFull: too many wait for a load.
            LoadFailed: it could not be loaded.
        """
        loaded = self.loaded.get(model.blob)
        if (
            loaded is not None
            and not await self._needs_reload(loaded, model, options, shift)
            and self.loaded.get(model.blob) is loaded
            and not loaded.unloading
        ):
            self._use(loaded, keep_alive)
            return loaded
        wanted = LoadRequest(model, options, keep_alive, shift, self._clock.loop.create_future())
        try:
            self._pending.put_nowait(wanted)
        except asyncio.QueueFull:
            raise QueueFull from None
        try:
            return await wanted.granted
        except asyncio.CancelledError:
            if wanted.loading is not None:
                wanted.loading.cancel()
            if not wanted.gone and wanted.granted.done() and wanted.granted.exception() is None:
                self.release(wanted.granted.result())  # granted and cancelled in the same turn of the loop
            raise

    def release(self, loaded: Loaded) -> None:
        """A request ended. The last one arms the timer, or unloads at once when keep_alive is 0."""
        loaded.users -= 1
        if loaded.users or self.loaded.get(loaded.model.blob) is not loaded:
            return
        if loaded.session <= 0:
            self._unload(loaded)
            return
        self._arm(loaded)

    def expire(self, model: LocalModel) -> None:
        """Unload a model as soon as nobody uses it (an empty prompt with keep_alive 0)."""
        loaded = self.loaded.get(model.blob)
        if loaded is not None:
            loaded.expires_at_ns = self._clock.wall_ns()
            self._expire(loaded)

    def close(self) -> None:
        """Forget everything, as when the server dies."""
        for loaded in self.loaded.values():
            if loaded.timer is not None:
                loaded.timer.cancel()
            loaded.runner.process.kill()
        for task in self._tasks:
            task.cancel()
        self.loaded.clear()

    async def run(self) -> None:
        """Work on the pending queue, one request at a time."""
        while True:
            wanted = await self._pending.get()
            if not wanted.gone:
                await self._place(wanted)

    async def _place(self, wanted: LoadRequest) -> None:
        while True:
            loaded = self.loaded.get(wanted.model.blob)
            if loaded is not None and not loaded.unloading:
                if not await self._needs_reload(loaded, wanted.model, wanted.options, wanted.shift):
                    self._use(loaded, wanted.keep_alive)
                    if wanted.gone:
                        self.release(loaded)
                    else:
                        wanted.granted.set_result(loaded)
                    return
                victim = loaded
            elif loaded is not None:
                victim = loaded
            elif self._has_room(wanted):
                await self._load(wanted)
                return
            else:
                victim = self._victim()
                self._counters.evictions += 1
            self._unloaded.clear()
            self._expire(victim)
            await self._unloaded.wait()

    async def _needs_reload(
        self, loaded: Loaded, model: LocalModel, options: RunnerOptions, shift: bool
    ) -> bool:
        if loaded.model.projectors != model.projectors or differ(
            loaded.options, options, self._settings.line
        ):
            return True
        if self._settings.line == "H" and loaded.shift != shift:
            return True
        process = loaded.runner.process
        return process.dead or (process.stopped and not await loaded.runner.answers_pings())

    def _has_room(self, load: LoadRequest) -> bool:
        if not self.loaded:
            return True
        if len(self.loaded) >= self._settings.max_loaded_models:
            return False
        used = sum(loaded.size for loaded in self.loaded.values())
        free = self._settings.memory_bytes - used
        share = 1.0 if self._settings.line == "O" else 0.8
        return load.model.memory(load.options.num_ctx, self._settings.num_parallel) <= free * share

    def _victim(self) -> Loaded:
        """The idle runner with the shortest keep_alive, ties by weights; if none is idle, the first in that order."""
        order = sorted(self.loaded.values(), key=lambda loaded: (loaded.session, loaded.model.blob))
        return next((loaded for loaded in order if not loaded.users), order[0])

    async def _load(self, wanted: LoadRequest) -> None:
        """Load a model. It is bound to the request that wants it: when that goes, the load is given up."""
        runner = self._make_runner(wanted.model, wanted.options)
        record = self._counters.load_began(wanted.model.name.short, self._clock.stamp(), wanted.options)
        wanted.loading = self._spawn(self._read_weights(wanted, runner))
        if wanted.gone:
            wanted.loading.cancel()
        await asyncio.wait({wanted.loading})
        if wanted.loading.cancelled():
            record["outcome"] = "aborted"
            return
        error = wanted.loading.exception()
        if error is not None:
            record["outcome"] = "failed"
            if not wanted.gone:
                wanted.granted.set_exception(error)
            return
        record["outcome"] = "loaded"
        self._counters.loads += 1
        session = self._settings.keep_alive if wanted.keep_alive is None else wanted.keep_alive
        size = wanted.model.memory(wanted.options.num_ctx, self._settings.num_parallel)
        loaded = Loaded(wanted.model, wanted.options, wanted.shift, runner, session, size)
        self.loaded[wanted.model.blob] = loaded
        loaded.expires_at_ns = self._after(session)
        self._use(loaded, wanted.keep_alive)
        if wanted.gone:
            self.release(loaded)
        else:
            wanted.granted.set_result(loaded)

    async def _read_weights(self, wanted: LoadRequest, runner: Runner) -> None:
        what = "llama runner" if self._settings.line == "O" else "llama-server"
        fault = self._load_fault(wanted.model)
        try:
            async with asyncio.timeout(self._settings.load_timeout):
                if fault is not None:
                    await asyncio.sleep(fault.seconds)
                if fault is not None and fault.kind == "load_failure":
                    raise LoadFailed(fault.text or f"{what} process has terminated: exit status 2")
                await runner.load()
        except RunnerDied:
            raise LoadFailed(f"{what} process has terminated: signal: killed") from None
        except TimeoutError:
            progress = "progress 0.00 - " if self._settings.line == "O" else ""
            raise LoadFailed(f"timed out waiting for {what} to start - {progress}") from None

    def _use(self, loaded: Loaded, keep_alive: float | None) -> None:
        loaded.users += 1
        if loaded.timer is not None:
            loaded.timer.cancel()
            loaded.timer = None
        if keep_alive is not None:  # the last writer wins; whoever says nothing leaves what is there
            loaded.session = keep_alive

    def _expire(self, loaded: Loaded) -> None:
        if loaded.timer is not None:
            loaded.timer.cancel()
            loaded.timer = None
        loaded.session = 0.0
        if not loaded.users:
            self._unload(loaded)

    def _arm(self, loaded: Loaded) -> None:
        loaded.expires_at_ns = self._after(loaded.session)
        if loaded.timer is not None:
            loaded.timer.cancel()
            loaded.timer = None
        if loaded.session < FOREVER:
            loaded.timer = self._clock.loop.call_later(loaded.session, self._expire, loaded)

    def _after(self, seconds: float) -> int:
        return self._clock.wall_ns() + int(seconds * 1e9)

    def _unload(self, loaded: Loaded) -> None:
        if loaded.unloading:
            return
        loaded.unloading = True
        self._spawn(self._free(loaded))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._clock.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _free(self, loaded: Loaded) -> None:
        await self._clock.sleep(self._settings.unload_seconds)
        loaded.runner.process.kill()
        if self.loaded.get(loaded.model.blob) is loaded:
            del self.loaded[loaded.model.blob]
        self._counters.unloads += 1
        loaded.gone.set()
        if self._settings.memory_recovery_seconds:
            await self._clock.sleep(self._settings.memory_recovery_seconds)
        self._unloaded.set()
