"""Loads a runner on purpose: unload what has to go, see it gone, load with the exact options, check the result."""

import threading
from collections.abc import Collection

from worker.domain.hosts import LoadedModel
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.policy.keep_alive import PRELOAD_SECONDS
from worker.records import record

LOOK_EVERY = 0.5


@record
class Loaded:
    """A runner that is there, and what ``/api/ps`` said of it, where it lists it."""

    seconds: float
    entry: LoadedModel | None

    @property
    def window(self) -> int | None:
        """The context length it really has."""
        return None if self.entry is None else self.entry.context_length

    @property
    def memory(self) -> int | None:
        """Bytes that it takes."""
        return None if self.entry is None or not self.entry.size else self.entry.size


def load_runner(
    gpu: OllamaHost, key: RunnerKey, *, host: str, timings: Timings, keep: Collection[str] = ()
) -> Loaded:
    """Have ``key`` loaded on a host whose slots are dry. Costs 5 ms where it is loaded already.

    Whatever else is loaded, but for the models in ``keep``, is unloaded first and seen gone: a load for which there is
    no room lets the server pick its own victim (``server/sched.go findRunnerToUnload``: the shortest keep_alive, not
    the oldest). Raises HostError when the load fails.
    """
    for other in _to_unload(gpu.loaded(), {key.model, *keep}):
        unload_runner(gpu, other.name, host=host, timings=timings)
    seconds = gpu.load(key, keep_alive=PRELOAD_SECONDS)
    return Loaded(seconds, next((model for model in gpu.loaded() if model.name == key.model), None))


def unload_runner(gpu: OllamaHost, model: str, *, host: str, timings: Timings) -> bool:
    """Have ``model`` unloaded, and look whether it goes: False where it does not. Raises HostError."""
    gpu.unload(model)
    gone = _see_gone(gpu, model, timings)
    if gone:
        emit("runner.unloaded", host=host, model=model)
    return gone


def _to_unload(loaded: list[LoadedModel], keep: Collection[str]) -> list[LoadedModel]:
    return [other for other in loaded if other.name not in keep]


def _see_gone(gpu: OllamaHost, name: str, timings: Timings) -> bool:
    """Wait until ``/api/ps`` no longer lists ``name``; the acknowledgement comes before the unload happens.

    Gives up after ``timings.unload`` seconds: somebody else may keep it busy, and the load then waits its turn.
    Looks twice a second: reading ``/api/ps`` often can crash a server before 0.32.4.
    """
    pause, waited = threading.Event(), 0.05
    pause.wait(waited)  # it is gone after about 50 ms where there is no GPU's memory to wait for
    while any(model.name == name for model in gpu.loaded()):
        if waited >= timings.unload:
            return False
        pause.wait(LOOK_EVERY)
        waited += LOOK_EVERY
    return True
