"""What is the shortest time that any schedule could take? Pure: what was asked and how fast hosts are → seconds.

The bounds hold for whoever schedules, so a schedule's time divided by the largest of them says how far it is, at most,
from the best there is. All hosts are alike here, and everything is there at the beginning.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.nights.workloads import Fleet, Job
from simulator.cache import common_prefix
from simulator.tokens import WideVocabulary, wide_vocabulary

VOCABULARY = 128_256


@dataclass(frozen=True, slots=True)
class Work:
    """What one model has to do: ``seconds`` of one host with all slots busy, and how long a ``load`` takes."""

    seconds: float
    load: float


@dataclass(frozen=True, slots=True)
class Bound:
    """No schedule takes less than ``seconds``."""

    seconds: float

    def loads(self, work: Iterable[Work], makespan: float) -> int:
        """How many loads any schedule needs that ends within ``makespan`` seconds, from empty hosts."""
        return sum(_loads(one, makespan) for one in work)


def work_of(
    fleet: Fleet, jobs: Sequence[Job], output_tokens: Mapping[str, int], *, vocabulary: int = VOCABULARY
) -> dict[str, Work]:
    """The work of each model, of its prompts no token twice that two of them begin with.

    ``output_tokens`` are by custom id. Raises KeyError where one is missing.
    """
    words = wide_vocabulary(vocabulary)
    by_model: dict[str, list[Job]] = {}
    for job in jobs:
        by_model.setdefault(job.model, []).append(job)
    return {
        model: Work(
            sum(
                fleet.host_seconds(tokens, output_tokens[custom_id])
                for custom_id, tokens in new_tokens(words, mine)
            ),
            fleet.load,
        )
        for model, mine in by_model.items()
    }


def new_tokens(words: WideVocabulary, jobs: Sequence[Job]) -> list[tuple[str, int]]:
    """How many tokens of each prompt must be read at least, by custom id, if it follows its nearest neighbour.

    In sorted order each prompt shares the most with the one before: what is left over all is the size of the tree of
    their prefixes, and each branch of it is read once. At least one token of a prompt is always read.
    """
    prompts = sorted((words.encode(job.prompt), job.custom_id) for job in jobs)
    found = []
    before: list[int] = []
    for tokens, custom_id in prompts:
        found.append((custom_id, max(1, len(tokens) - common_prefix(before, tokens))))
        before = tokens
    return found


def lower_bound(fleet: Fleet, work: Sequence[Work]) -> Bound:
    """The largest of the bounds that hold for these hosts.

    A host that holds one model at a time does nothing while it loads: every needed load is time that it lacks. One that
    holds several may work while it loads another, all but the first.
    """
    if not work:
        return Bound(0.0)
    whole = sum(one.seconds for one in work)
    least = max(one.load + one.seconds / fleet.hosts for one in work)
    if fleet.models_at_once > 1:
        return Bound(max(least, min(one.load for one in work) + whole / fleet.hosts))

    def fits(makespan: float) -> bool:
        needed = sum(one.seconds + _loads(one, makespan) * one.load for one in work)
        return needed <= fleet.hosts * makespan

    low = high = max(least, whole / fleet.hosts)
    while not fits(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return Bound(high)


def _loads(work: Work, makespan: float) -> int:
    """One host gives a model at most what is left of the time after a load."""
    left = makespan - work.load
    if left <= 0:
        return 1
    return max(1, math.ceil(work.seconds / left - 1e-9))
