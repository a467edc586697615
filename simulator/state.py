"""What a host has done so far: the figures of ``GET /simulator/state``."""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.options import RunnerOptions

LOAD_LOG_LINES = 10_000


@dataclass(slots=True)
class Counters:
    """Counts since the start or the last reset.

    ``loads`` are loads that were completed, ``runner_starts`` loads that were begun; ``requests`` are generations
    with a prompt that reached a runner's queue, ``concurrent`` those at work or waiting for a slot now; ``embedded`` are
    texts that became vectors in ``embed_calls``, ``pulled_bytes`` bytes that came from the registry.
    """

    loads: int = 0
    runner_starts: int = 0
    unloads: int = 0
    evictions: int = 0
    requests: int = 0
    completed: int = 0
    concurrent: int = 0
    max_concurrent: int = 0
    disconnects: int = 0
    refused_503: int = 0
    tokens: int = 0
    pulled_bytes: int = 0
    embed_calls: int = 0
    embedded: int = 0
    load_log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOAD_LOG_LINES))

    def load_began(self, model: str, at: str, options: RunnerOptions) -> dict[str, Any]:
        """Note the start of a load; the caller sets ``outcome``."""
        self.runner_starts += 1
        record = {"model": model, "at": at, "options": asdict(options), "outcome": "loading"}
        self.load_log.append(record)
        return record

    def generation_began(self) -> None:
        self.requests += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)

    def reset(self) -> None:
        """Start counting again; requests at work stay counted as such."""
        concurrent = self.concurrent
        self.__init__()  # type: ignore[misc]
        self.concurrent = self.max_concurrent = concurrent

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "load_log": list(self.load_log)}
