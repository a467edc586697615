"""Loads a runner on purpose: unload what is there, see it gone, load with the exact options, see what came of it."""

import threading
from dataclasses import dataclass

from worker.domain.hosts import LoadedModel
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.policy.keep_alive import PRELOAD_SECONDS


@dataclass(frozen=True, slots=True)
class Loaded:
    """A runner that is there. ``window`` is the context length it really has (``/api/ps``), where the host tells."""

    seconds: float
    window: int | None


def load_runner(gpu: OllamaHost, key: RunnerKey, *, host: str, timings: Timings) -> Loaded:
    """Have ``key`` loaded on a host whose slots are dry. Costs 5 ms where it is loaded already.

    Whatever else is loaded is unloaded first and seen gone: a load beside a model that is still there lets the
    server pick its own victim (``server/sched.go findRunnerToUnload``: the shortest keep_alive, not the oldest).
    Raises HostError when the load fails.
    """
    for other in _others(gpu.loaded(), key.model):
        gpu.unload(other.name)
        emit("runner.unloaded", host=host, model=other.name)
        _see_gone(gpu, other.name, timings)
    seconds = gpu.load(key, keep_alive=PRELOAD_SECONDS)
    window = next((m.context_length for m in gpu.loaded() if m.name == key.model), None)
    return Loaded(seconds, window)


def _others(loaded: list[LoadedModel], model: str) -> list[LoadedModel]:
    return [other for other in loaded if other.name != model]


def _see_gone(gpu: OllamaHost, name: str, timings: Timings) -> None:
    """Wait until ``/api/ps`` no longer lists ``name``; the acknowledgement comes before the unload happens.

    Gives up after ``timings.unload`` seconds: somebody else may keep it busy, and the load then waits its turn.
    The pauses grow to half a second: reading ``/api/ps`` often can crash a server before 0.32.4.
    """
    pause, waited, step = threading.Event(), 0.0, 0.02
    while any(model.name == name for model in gpu.loaded()) and waited < timings.unload:
        pause.wait(step)
        waited, step = waited + step, min(step * 2, 0.5)
