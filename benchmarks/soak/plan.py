"""What breaks when? Pure: a seed, a length and the names of what may break in, steps in order of time out.

Each kind of trouble comes at least once where the time suffices: they are dealt from a shuffled deck, and from the next
one when it is used up. What breaks is mended some seconds later, and then left alone for a moment.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GAP_SECONDS = (1.0, 4.0)
"""Between two pieces of trouble."""
REST_SECONDS = 3.0
"""What was broken is left alone for so long after it was mended."""
OPENING_SECONDS = 6.0
"""Of peace at the beginning: every process has to be up once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break something: what it is done to, how long it lasts (shortest and longest), how often in a deck."""

    name: str
    part: str
    seconds: tuple[float, float] = (0.0, 0.0)
    cards: int = 1
    fault: Mapping[str, Any] = field(default_factory=dict)
    """Of a simulated host (``simulator/faults.py``)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, ``at`` seconds after the start. ``mends`` undoes what a step before it broke."""

    at: float
    kind: Kind
    target: str
    mends: bool = False


def kinds(lease: float) -> tuple[Kind, ...]:
    """All the trouble there is; ``lease`` in seconds: what is paused sleeps through it."""
    asleep = (lease * 1.2, lease * 1.7)
    return (
        Kind("child killed", "worker", cards=3),
        Kind("killed", "worker", (1, 6), cards=2),
        Kind("paused", "worker", asleep, cards=2),
        Kind("terminated", "worker", (0, 3), cards=2),
        Kind("killed", "control", (2, 8)),
        Kind("paused", "control", asleep),
        Kind("terminated", "control", (1, 3)),
        Kind("killed", "beat", (2, 8)),
        Kind("paused", "beat", asleep),
        Kind("flushed", "redis"),
        Kind("paused", "redis", (3, 8)),
        Kind("killed", "redis", (1, 6)),
        Kind("restarted", "postgres", (0, 2)),
        Kind("crashed", "postgres", (0, 3)),
        Kind("gone", "postgres", asleep),
        Kind("backends terminated", "postgres", (4, 6)),
        Kind("connections cut", "postgres", (2, 4)),
        Kind("frozen", "postgres", (3, lease * 1.3)),
        Kind("killed", "host", (2, 8), cards=2),
        Kind("paused", "host", (3, 8)),
        *(Kind(_said(fault), "host", fault=fault) for fault in _FAULTS),
    )


_FAULTS: Sequence[Mapping[str, Any]] = (
    {"kind": "hang", "after_chunks": 5},
    {"kind": "hang", "after_chunks": 0, "times": 2},
    {"kind": "drip", "seconds": 0.3, "times": 2},
    {"kind": "crash", "after_chunks": 8},
    {"kind": "runner_death", "after_chunks": 6},
    {"kind": "error_line", "after_chunks": 4, "times": 2},
    {"kind": "error", "status": 500, "times": 3},
    {"kind": "error", "status": 502, "times": 3},
    {"kind": "eof", "after_chunks": 7, "times": 2},
    {"kind": "cut", "after_chunks": 3, "times": 2},
    {"kind": "bad_json", "after_chunks": 3},
    {"kind": "wrong_types"},
    {"kind": "endless_line", "after_chunks": 2, "size": 64 * 2**20},
    {"kind": "busy", "times": 6},
    {"kind": "load_failure", "text": "llama runner process has terminated: exit status 2"},
    {"kind": "slow_load", "seconds": 4.0},
)


def _said(fault: Mapping[str, Any]) -> str:
    return f"answers {fault['status']}" if fault["kind"] == "error" else str(fault["kind"]).replace("_", " ")


def plan(seed: int, seconds: float, parts: Mapping[str, Sequence[str]], lease: float) -> list[Step]:
    """Trouble for ``seconds``. ``parts`` says what there is of each part, by name: ``{"worker": ["gpu-1", …], …}``."""
    rng = random.Random(seed)
    free_at = {f"{part} {name}": 0.0 for part, names in parts.items() for name in names}
    steps: list[Step] = []
    at = OPENING_SECONDS
    for kind in _dealt(rng, kinds(lease)):
        at += rng.uniform(*GAP_SECONDS)
        lasts = rng.uniform(*kind.seconds)
        if at + lasts > seconds:
            break
        free = [name for name in parts[kind.part] if free_at[f"{kind.part} {name}"] <= at]
        if not free:
            continue
        target = rng.choice(free)
        steps.append(Step(at, kind, target))
        if kind.seconds != (0.0, 0.0):
            steps.append(Step(at + lasts, kind, target, mends=True))
        free_at[f"{kind.part} {target}"] = at + lasts + REST_SECONDS
    return sorted(steps, key=lambda step: step.at)


def _dealt(rng: random.Random, deck: Sequence[Kind]) -> Iterator[Kind]:
    cards = [kind for kind in deck for _ in range(kind.cards)]
    while True:
        rng.shuffle(cards)
        yield from cards
