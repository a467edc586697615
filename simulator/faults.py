"""What goes wrong on a host, and for which request: scripted as data.

>>> Fault.from_json({"kind": "hang", "nth": 3}).nth
3
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

FaultKind = Literal[
    "hang",  # says nothing more after ``after_chunks``, for ``seconds`` (0: until the client goes)
    "drip",  # waits ``seconds`` before each chunk
    "crash",  # the server dies after ``after_chunks``; it stays down until started again
    "runner_death",  # the runner dies after ``after_chunks``: an error line; /api/ps goes on listing it
    "error_line",  # an error line with ``text`` after ``after_chunks``
    "error",  # a plain error reply with ``status`` and ``text``, before anything runs
    "eof",  # a clean end without done:true after ``after_chunks``
    "cut",  # the connection breaks after ``after_chunks``
    "bad_json",  # a line that is no JSON after ``after_chunks``
    "endless_line",  # a line of ``size`` bytes without an end, after ``after_chunks``
    "huge_body",  # a body of ``size`` bytes instead of an answer
    "wrong_types",  # a well-formed answer with fields of the wrong types
    "redirect",  # 307 to ``text``
    "load_failure",  # the load of the model fails with ``text``
    "slow_load",  # the load takes ``seconds`` longer
    "says",  # the model says ``text``, nothing where that is empty, and ends with ``done_reason``
    "busy",  # 503, as if the pending queue were full
    "pull_error",  # a pull ends with ``text`` after ``after_chunks`` lines of progress
    "pull_cut",  # the connection of a pull breaks after ``after_chunks`` lines of progress
]


LOAD_FAULTS: frozenset[FaultKind] = frozenset(["load_failure", "slow_load"])
PULL_FAULTS: frozenset[FaultKind] = frozenset(["pull_error", "pull_cut"])
ANSWER_FAULTS: frozenset[FaultKind] = frozenset(get_args(FaultKind)) - LOAD_FAULTS - PULL_FAULTS


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and when.

    Requests for ``model`` (empty: any) whose prompt contains ``prompt`` are hit, from the ``nth`` of them on (the
    first is 1; 0: from the first on). Load faults count and
    strike loads instead, whatever request they are for, and pull faults pulls. ``times`` says how often it strikes; 0 is always.
    ``seconds`` are real ones, whatever the host's ``time_scale``: clients' deadlines are real too.
    """

    kind: FaultKind
    nth: int = 0
    model: str = ""
    prompt: str = ""
    times: int = 1
    after_chunks: int = 0
    seconds: float = 0.0
    status: int = 500
    text: str = ""
    size: int = 2**30
    done_reason: str = "stop"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Fault":
        """Read a fault from a JSON object.

        Raises:
            ValueError: an unknown key or kind; the message names it.
        """
        known = {field.name for field in fields(cls)}
        for key in value:
            if key not in known:
                raise ValueError(f"a fault has no field {key!r}; it has {', '.join(sorted(known))}")
        if value.get("kind") not in get_args(FaultKind):
            raise ValueError(
                f"unknown kind of fault: {value.get('kind')!r}; known: {', '.join(get_args(FaultKind))}"
            )
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class FaultScript:
    """Which of a host's faults strikes the request at hand. Counts as it goes."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._seen = [0] * len(self._faults)
        self._struck = [0] * len(self._faults)

    def strike(self, model: str, prompt: str) -> Fault | None:
        """Take the first fault that hits a request; every fault's count of requests goes on."""
        return self._strike(ANSWER_FAULTS, model, prompt)

    def strike_load(self, model: str) -> Fault | None:
        """Take the first fault that hits a load."""
        return self._strike(LOAD_FAULTS, model)

    def strike_pull(self, model: str) -> Fault | None:
        """Take the first fault that hits a pull."""
        return self._strike(PULL_FAULTS, model)

    def _strike(self, kinds: Collection[FaultKind], model: str, prompt: str | None = None) -> Fault | None:
        hit: Fault | None = None
        for index, fault in enumerate(self._faults):
            if fault.kind not in kinds:
                continue
            if fault.model and not _same_model(fault.model, model):
                continue
            if prompt is not None and fault.prompt not in prompt:
                continue
            self._seen[index] += 1
            if hit is not None or (fault.nth and self._seen[index] < fault.nth):
                continue
            if fault.times and self._struck[index] >= fault.times:
                continue
            self._struck[index] += 1
            hit = fault
        return hit

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {**fault.to_json(), "seen": seen, "struck": struck}
            for fault, seen, struck in zip(self._faults, self._seen, self._struck, strict=True)
        ]


def _same_model(name: str, other: str) -> bool:
    return name.lower().removesuffix(":latest") == other.lower().removesuffix(":latest")
