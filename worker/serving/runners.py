"""What a look at a host finds: its models, the runners that are ours, and models that somebody else has loaded."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import datetime

from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.runners import RunnerKey
from worker.policy.reloads import MOST_WAITS
from worker.policy.sharing import has_foreign_use
from worker.records import mutable_record, record


@mutable_record
class Runner:
    """A runner that the host has loaded."""

    key: RunnerKey
    run_id: int | None = None
    window: int | None = None
    """The context length that it really has, where the host says it."""
    memory: int | None = None
    used_at: float = float("-inf")
    """When it answered last, on the process's monotonic clock."""
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_WAITS))
    """Seconds that the last jobs waited for it, without those jobs that loaded it."""

    @property
    def num_ctx(self) -> int | None:
        """The window it was loaded with, as the requests have to name it."""
        window = dict(self.key.options).get("num_ctx")
        return None if window is None else int(window)


def without_room(runners: Mapping[str, Runner], loaded: str, memory: int | None) -> list[str]:
    """The runners that have to go because ``loaded`` took more than was expected of it, the least used first."""
    beside = sorted((key for key in runners if key != loaded), key=lambda key: (runners[key].used_at, key))
    taken = sum(runner.memory or 0 for runner in runners.values())
    leaving: list[str] = []
    while memory is not None and taken > memory and len(leaving) < len(beside):
        leaving.append(beside[len(leaving)])
        taken -= runners[leaving[-1]].memory or 0
    return leaving


@record
class Look:
    """What the last look at the host found."""

    at: float = float("-inf")
    """On the process's monotonic clock."""
    models: Mapping[str, HostModel] = field(default_factory=dict)
    """What it has on disk."""
    withheld: frozenset[str] = frozenset()
    """Models that are about to be removed: they count as gone already."""


class Strangers:
    """Models that somebody else has loaded on the host."""

    def __init__(self) -> None:
        self._used_at: Mapping[str, float] = {}
        self._expiry: Mapping[str, datetime | None] = {}

    def record(self, loaded: Collection[LoadedModel], *, ours: Collection[str], now: float) -> None:
        """Keep what a look found. A model is in use while the time at which the host would unload it moves."""
        expiry = {model.name: model.expires_at for model in loaded if model.name not in ours}
        self._used_at = {
            name: self._used_at[name] if name in self._used_at and at == self._expiry.get(name) else now
            for name, at in expiry.items()
        }
        self._expiry = expiry

    def are_at_work(self, *, shared: bool, now: float) -> bool:
        """Whether one of them was in use lately, on a host that is shared."""
        return has_foreign_use(shared, self._used_at.values(), now=now)

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return sorted(self._used_at)
