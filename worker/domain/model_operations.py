"""An operation on models: what was decided, and how far each host has come with each model."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.records import record


class ModelVerb(StrEnum):
    """What happens to the models."""

    PULL = "pull"
    REMOVE = "remove"
    COPY = "copy"
    CREATE = "create"
    PUSH = "push"
    LOAD = "load"
    STOP = "stop"


BESIDE_JOBS = frozenset({ModelVerb.PULL, ModelVerb.COPY, ModelVerb.CREATE, ModelVerb.PUSH})
"""What needs no runner and disturbs none: it goes on beside running jobs. The others are done between two jobs."""

BRINGS = frozenset({ModelVerb.PULL, ModelVerb.COPY, ModelVerb.CREATE})
"""After these a host has a model that it may not have had before."""

_WORDS: Mapping[ModelVerb, str] = {
    ModelVerb.PULL: "pulling",
    ModelVerb.REMOVE: "removing",
    ModelVerb.COPY: "copying to",
    ModelVerb.CREATE: "creating",
    ModelVerb.PUSH: "pushing",
    ModelVerb.LOAD: "loading",
    ModelVerb.STOP: "unloading",
}


class PartState(StrEnum):
    """How far one host has come with one model."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_PARTS = frozenset({PartState.WAITING, PartState.WORKING})


@record
class ModelPart:
    """What an operation does with one model on one host."""

    operation_id: int
    verb: ModelVerb
    host: str
    model: str
    """Normalised name; of a copy and a creation the name that comes to be."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the whole operation: ``source``, ``recipe``, ``insecure``, ``force``, ``now``, ``num_ctx``, ``spellings``."""
    state: PartState = PartState.WAITING
    step: str = ""
    """What the host said last of what it does."""
    completed: int = 0
    total: int = 0
    """Bytes that came, of so many that are known of; 0 where none are counted."""
    tries: int = 0
    """Failed tries in a row without any progress."""
    next_at: datetime | None = None
    """When it is tried again."""
    error: str | None = None
    """Why the last try failed, or what it waits for."""
    digest: str | None = None
    """What the name stands for afterwards."""
    changed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """It has not come to its end."""
        return self.state in OPEN_PARTS

    @property
    def forced(self) -> bool:
        """Jobs that wait are no reason to refuse it."""
        return bool(self.arguments.get("force"))

    @property
    def at_any_time(self) -> bool:
        """It does not wait for the hours of its host."""
        return bool(self.arguments.get("now"))

    @property
    def names(self) -> frozenset[str]:
        """The models that it touches: no two parts touch one at a time."""
        source = self.arguments.get("source")
        return frozenset({self.model} if source is None else {self.model, str(source)})

    @property
    def progress(self) -> str:
        """How far it has come, for people.

        >>> ModelPart(1, ModelVerb.PULL, "gpu-1", "qwen3:8b", completed=340, total=1000).progress
        'pulling qwen3:8b on gpu-1: 34 %'
        >>> ModelPart(1, ModelVerb.PULL, "gpu-1", "qwen3:8b", tries=2, error="no such host").progress
        'pulling qwen3:8b on gpu-1; the last try failed: no such host'
        """
        share = f": {100 * self.completed // self.total} %" if self.total and self.completed else ""
        failed = f"; the last try failed: {self.error}" if self.tries and self.error else ""
        return f"{_WORDS[self.verb]} {self.model} on {self.host}{share}{failed}"


@record
class ModelOperation:
    """A decision about models; its parts follow, each on its host."""

    id: int
    verb: ModelVerb
    created_at: datetime
    arguments: Mapping[str, Any] = field(default_factory=dict)
    principal: str | None = None
    """Who decided it, where that is known."""
    ended_at: datetime | None = None
    parts: tuple[ModelPart, ...] = ()

    @property
    def done(self) -> int:
        """Parts that have come to their end, whichever."""
        return sum(not part.is_open for part in self.parts)

    @property
    def state(self) -> str:
        """``open``, or how it ended: ``cancelled`` and ``failed`` where any part was.

        >>> from datetime import UTC
        >>> ModelOperation(1, ModelVerb.PULL, datetime(2026, 1, 1, tzinfo=UTC)).state
        'done'
        """
        states = {part.state for part in self.parts}
        if states & OPEN_PARTS:
            return "open"
        for state in (PartState.FAILED, PartState.CANCELLED):
            if state in states:
                return str(state)
        return "done"
