"""What a night consists of: models, hosts, jobs. Times are seconds; work is that of one job alone at speed 1."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from worker.domain.jobs import Priority

SHARING = 0.75
"""``n`` busy slots together do ``n ** SHARING`` times what one does."""


@dataclass(frozen=True, slots=True)
class Model:
    """A runner key. ``of`` names the model: two keys of one model are never loaded side by side."""

    key: str
    load_seconds: float
    of: str = ""
    window: int = 0
    """Tokens, where a runner with a larger window serves this key too."""
    hosts: frozenset[str] | None = None
    """Those that can hold it; None for all."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    name: str
    slots: int = 4
    speed: float = 1.0
    models_at_once: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    number: int
    key: str
    work: float
    """Seconds of its own, without its prefix."""
    release: float = 0.0
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    prefix: int | None = None
    prefix_work: float = 0.0
    """Seconds that its prefix takes where the slot does not remember it."""
    estimate: float = 1.0
    """What the planner takes its work for."""


@dataclass(frozen=True, slots=True)
class Night:
    """A workload: who works on what."""

    name: str
    about: str
    models: Sequence[Model]
    hosts: Sequence[HostSpec]
    jobs: Sequence[Job]
    by_key: dict[str, Model] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for model in self.models:
            self.by_key[model.key] = model
            if model.window:  # as it is loaded
                loaded = f"{model.of} num_ctx={model.window}"
                self.by_key[loaded] = replace(model, key=loaded)

    @property
    def horizon(self) -> float:
        """When the last job is submitted."""
        return max((job.release for job in self.jobs), default=0.0)


def together(slots: int) -> float:
    """What ``slots`` busy slots do, in those of one alone.

    >>> round(together(4), 2)
    2.83
    """
    return float(slots**SHARING)
