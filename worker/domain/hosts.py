"""What a host is, what it has, and what it has loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Host:
    """One Ollama server. ``slots`` is how many requests it serves at a time for a loaded model."""

    name: str
    url: str
    slots: int = 1


@dataclass(frozen=True, slots=True)
class HostModel:
    """A model that a host has on disk, as ``/api/tags`` and ``/api/show`` tell."""

    name: str
    digest: str
    thinking: bool
    trained_context: int | None
    size: int = 0
    vocabulary: int | None = None
    """Token ids are below this, where the host tells (``/api/show``)."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A line of ``/api/ps``: a model that is loaded, with the window it really has."""

    name: str
    digest: str
    context_length: int | None
    size: int
    size_vram: int
    expires_at: datetime | None = None
    """When the host unloads it, unless it is used before; far away where it stays for ever."""


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as the others see it in the database: what it holds and what it means to load."""

    name: str
    resident: str | None
    """Text of the runner key it has loaded, where known."""
    intent: str | None
    """Text of the runner key it is loading now."""
    serving: bool
    """Someone holds its serving lease."""
    models: frozenset[str]
    """Normalised names of what it has on disk."""
    blocked: Mapping[str, datetime] = field(default_factory=dict)
    """Runner keys that failed there lately, and until when they are left alone."""
    looked: bool = True
    """Somebody has seen what it has; where nobody has, it may have anything."""
    draining: bool = False
    """It finishes what it runs and takes nothing new."""
    slots: int = 1

    def may_have(self, model: str) -> bool:
        """Whether a job of ``model`` could be answered there, as far as is known."""
        return not self.looked or model in self.models


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host as an operator sees it (``caravan hosts list``)."""

    host: Host
    version: str | None
    view: HostView
    last_seen_at: datetime | None
    last_claim_at: datetime | None
    error: str | None
    """Why it could not be reached when it was last looked at."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a host did between two loads."""

    id: int
    host: str
    runner_key: str
    reason: str
    started_at: datetime
    load_time: timedelta | None
    ended_at: datetime | None
    jobs: int
    error: str | None
