"""What did the hosts generate, and was any of it generated again that need not have been? Pure but for reading diaries.

A host's diary (``simulator/diary.py``) holds each generation with its ends. A job that was answered whole twice was
generated again. That cannot be helped where the first answer met no living worker: it was killed before it could keep
the answer, it was paused until somebody else had taken the job, or it had given up waiting (a host that was stopped goes on
and speaks into a closed connection). Otherwise it is a defect.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

KEPT_AFTER = 2.0
"""Seconds that a worker has to run after the end of an answer to have it stored, or on its disk."""

BLOW = 0.5
"""Seconds. Deaths are noted before the blow: what a host finishes shortly after is nobody's any more."""

CLOCKS = 0.2
"""Seconds that the times of a worker and a host may differ by."""

_MARK = re.compile(r"job-\d+")


@dataclass(frozen=True, slots=True)
class Generation:
    """A host at work on a job. Times are those of this machine's clock; ``ended`` is infinite where it was killed."""

    job: str
    host: str
    began: float
    ended: float
    whole: bool = False
    tokens: int = 0
    crc: int = 0


@dataclass(frozen=True, slots=True)
class Again:
    """A job that was answered whole twice. ``reached``: a living worker had the first answer."""

    first: Generation
    second: Generation
    ran: float
    """Seconds that a worker of the first host ran between the end of the first and the start of the second."""

    @property
    def reached(self) -> bool:
        return self.ran >= KEPT_AFTER


@dataclass(slots=True)
class Presence:
    """When the worker of a host lived: the times of its deaths, and its pauses."""

    deaths: list[float] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def ran(self, since: float, until: float) -> float:
        """How long the worker that lived at ``since`` went on running, at most ``until``."""
        until = min([until, *(death for death in self.deaths if death >= since - BLOW)])
        asleep = sum(max(0.0, min(end, until) - max(start, since)) for start, end in self.pauses)
        return max(0.0, until - since - asleep)

    def died_during(self, generation: Generation) -> bool:
        """Whether the worker that asked died before the end. A host that was stopped then ends it all the same."""
        return any(generation.began - BLOW <= death <= generation.ended for death in self.deaths)


def read_diary(path: Path, host: str) -> list[Generation]:
    """All generations in a diary. Raises ValueError for one that names no job."""
    begun: dict[str, tuple[str, float]] = {}
    done: list[Generation] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        told = json.loads(line)
        if "began" in told:
            mark = _MARK.search(told["prompt"])
            if mark is None:
                raise ValueError(f"{path}: a prompt that names no job: {told['prompt']!r}")
            begun[told["began"]] = (mark[0], told["at"])
            continue
        job, at = begun.pop(told["ended"])
        done.append(Generation(job, host, at, told["at"], told["whole"], told["tokens"], told["crc"]))
    return done + [Generation(job, host, at, math.inf) for job, at in begun.values()]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An attempt that its worker ended itself, by what it noted: no answer that ends later reached it."""

    job: str
    host: str
    began: float
    ended: float

    def before(self, answer: Generation) -> bool:
        """Whether it is the attempt that this answer was for."""
        same = self.job == answer.job and self.host == answer.host
        return same and self.began - CLOCKS <= answer.began <= self.ended <= answer.ended + CLOCKS


def generated_again(
    generations: Iterable[Generation],
    presence: Mapping[str, Presence],
    given_up: Iterable[GivenUp] = (),
) -> list[Again]:
    """Every job that was answered whole more than once, each time after the first."""
    ended: dict[str, list[GivenUp]] = {}
    for attempt in given_up:
        ended.setdefault(attempt.job, []).append(attempt)
    whole: dict[str, list[Generation]] = {}
    for one in generations:
        if one.whole:
            whole.setdefault(one.job, []).append(one)
    found = []
    for answers in whole.values():
        for first, second in pairwise(sorted(answers, key=lambda one: one.ended)):
            worker = presence.get(first.host, Presence())
            ran = worker.ran(first.ended, second.began)
            if worker.died_during(first) or any(
                attempt.before(first) for attempt in ended.get(first.job, ())
            ):
                ran = 0.0
            found.append(Again(first, second, ran))
    return found


@dataclass(frozen=True, slots=True)
class Waste:
    """Seconds of generation in all, and those of which nothing was stored."""

    seconds: float
    wasted: float

    @property
    def share(self) -> float:
        return self.wasted / self.seconds if self.seconds else 0.0


def waste(
    generations: Sequence[Generation], stored: Mapping[str, str], deaths: Mapping[str, Sequence[float]]
) -> Waste:
    """``stored`` is the host of each job's stored answer; ``deaths`` are those of the hosts, which end what they said."""
    seconds = useful = 0.0
    used: set[str] = set()
    for one in sorted(generations, key=lambda one: one.ended):
        end = one.ended
        if math.isinf(end):
            end = min((death for death in deaths.get(one.host, ()) if death >= one.began), default=one.began)
        seconds += end - one.began
        if one.whole and stored.get(one.job) == one.host and one.job not in used:
            used.add(one.job)
            useful += end - one.began
    return Waste(seconds, seconds - useful)
