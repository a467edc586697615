"""Nights to compare policies on: eleven kinds of work, each drawn anew for a seed."""

import math
import random
from collections.abc import Callable, Sequence

from benchmarks.scheduling.night import HostSpec, Job, Model, Night, together
from worker.domain.jobs import Priority

SIGMA = 0.7
"""Log-sigma of jobs' lengths."""
HINT = 0.6
"""Log-sigma of what the planner takes a job for."""
Draw = tuple[str, float, dict[str, object]]


class _Jobs:
    """Draws jobs, in the order of their submission."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self.made = chance, list[Job]()

    def add(self, key: str, mean: float, **more: object) -> None:
        work = mean * math.exp(self._chance.gauss(-SIGMA * SIGMA / 2, SIGMA))
        estimate = work * math.exp(self._chance.gauss(0, HINT))
        self.made.append(Job(len(self.made) + 1, key, work, estimate=estimate, **more))  # type: ignore[arg-type]


def _hosts(count: int, **more: object) -> list[HostSpec]:
    return [HostSpec(f"gpu-{n}", **more) for n in range(1, count + 1)]  # type: ignore[arg-type]


def _models(count: int, chance: random.Random) -> list[Model]:
    return [Model(f"m{n}:1", chance.uniform(5, 15)) for n in range(1, count + 1)]


def _mean(n: int) -> float:
    """A model's mean job, alone on a slot: larger models answer slower."""
    return 2.0 + 0.5 * (n % 4)


def w1(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(3, chance), _Jobs(chance)
    for n in range(int(1500 * size)):
        jobs.add(models[n % 3].key, _mean(n % 3))
    return Night("W1", "3 models interleaved, 1 host", models, _hosts(1), jobs.made)


def w2(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(10, chance), _Jobs(chance)
    weights = [1 / rank for rank in range(1, 11)]
    for _ in range(int(4000 * size)):
        n = chance.choices(range(10), weights)[0]
        jobs.add(models[n].key, _mean(n))
    return Night("W2", "10 models, Zipf, 4 hosts of 2 models", models, _hosts(4, models_at_once=2), jobs.made)


def w3(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(6, chance), _Jobs(chance)
    for wave in range(3):
        for _ in range(int(700 * size)):
            n = 0 if chance.random() < 0.85 else chance.randrange(1, 6)
            jobs.add(models[n].key, _mean(n), release=wave * 300.0)
    hosts = [HostSpec(f"gpu-{n}", slots=4, speed=1.0 if n < 3 else 0.5) for n in range(1, 5)]
    return Night("W3", "85 % one model, 2 fast and 2 slow hosts, three waves", models, hosts, jobs.made)


def w4(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(6, chance), _Jobs(chance)
    for n in range(int(16000 * size)):
        jobs.add(models[n % 4].key, _mean(n % 4), priority=Priority.BULK)
    hosts = _hosts(4, models_at_once=2)
    until = sum(job.work for job in jobs.made) / together(4) / 4
    _urgent(jobs, chance, models, every=15.0, until=until)
    return Night("W4", "bulk on 4 models, an urgent job every 15 s on 6", models, hosts, jobs.made)


def _urgent(
    jobs: _Jobs, chance: random.Random, models: Sequence[Model], *, every: float, until: float
) -> None:
    at = chance.expovariate(1 / every)
    while at < until:
        jobs.add(chance.choice(models).key, 2.0, release=at, priority=Priority.INTERACTIVE)
        at += chance.expovariate(1 / every)


def w5(seed: int, size: float) -> Night:
    return _dated("W5", "8 dated submissions over filler", seed, size, late=False)


def w5b(seed: int, size: float) -> Night:
    return _dated("W5b", "the same priority for all, and 10 late tight submissions", seed, size, late=True)


def _dated(name: str, about: str, seed: int, size: float, *, late: bool) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(8, chance), _Jobs(chance)
    filler = Priority.NORMAL if late else Priority.BULK
    total = 1500 * size * 2.75 / together(4) / 3
    for _ in range(int(1100 * size)):
        n = chance.randrange(8)
        jobs.add(models[n].key, _mean(n), priority=filler)
    for n in range(8):
        release = chance.uniform(0, 0.4) * total
        due = release + chance.uniform(0.35, 0.6) * total
        for _ in range(int(50 * size)):
            jobs.add(models[n].key, _mean(n), release=release, deadline=due, priority=Priority.NORMAL)
    for _ in range(10 if late else 0):
        n, release = chance.randrange(8), chance.uniform(0.1, 0.7) * total
        due = release + chance.uniform(100, 160)
        for _ in range(max(1, int(8 * size))):
            jobs.add(models[n].key, _mean(n), release=release, deadline=due)
    jobs.made.sort(key=lambda job: job.release)
    return Night(name, about, models, _hosts(3), jobs.made)


def w6(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models = []
    for n in (1, 2):
        load = chance.uniform(5, 15)
        models += [Model(f"m{n}:1 num_ctx>={w}", load, f"m{n}:1", w) for w in (4096, 8192, 16384)]
    jobs = _Jobs(chance)
    for n in range(int(1800 * size)):
        jobs.add(models[n % 6].key, _mean(n % 2))
    return Night(
        "W6",
        "2 models in 3 windows each, 2 hosts of 2 models",
        models,
        _hosts(2, models_at_once=2),
        jobs.made,
    )


def w7(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(2, chance), _Jobs(chance)
    documents = int(500 * size)
    for _ in range(6):
        for document in range(documents):
            jobs.add(models[document % 2].key, 2.0, prefix=document, prefix_work=3.0)
    return Night("W7", "500 documents, 6 questions each, question by question", models, _hosts(2), jobs.made)


def w8(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(12, chance), _Jobs(chance)
    capacity = 4 * together(4)
    until, at = 6000.0 * size, 0.0
    while at < until:
        n, many = chance.randrange(12), 1 + int(chance.expovariate(1 / 12))
        priority = chance.choice([Priority.HIGH, Priority.NORMAL, Priority.BULK])
        for _ in range(many):
            jobs.add(models[n].key, _mean(n), release=at, priority=priority)
        at += chance.expovariate(0.75 * capacity / (13 * 2.75))
    return Night(
        "W8", "open arrivals at 75 % load, 12 models", models, _hosts(4, models_at_once=2), jobs.made
    )


def w9(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(6, chance), _Jobs(chance)
    for _ in range(int(3000 * size)):
        jobs.add(models[0].key, _mean(0), priority=Priority.BULK)
    total = 3000 * size * 2.0 / together(4) / 3
    for _ in range(40):
        n, release = chance.randrange(6), chance.uniform(0, 0.9) * total
        priority = chance.choice([Priority.HIGH, Priority.NORMAL])
        for _ in range(max(1, int(30 * size))):
            jobs.add(models[n].key, _mean(n), release=release, priority=priority)
    jobs.made.sort(key=lambda job: job.release)
    return Night("W9", "a giant in bulk, and submissions of higher priority", models, _hosts(3), jobs.made)


def w10(seed: int, size: float) -> Night:
    chance = random.Random(seed)
    models, jobs = _models(8, chance), _Jobs(chance)
    for n in range(int(3000 * size)):
        jobs.add(models[n % 8].key, _mean(n % 8), priority=Priority.BULK)
    until = sum(job.work for job in jobs.made) / together(4) / 3
    _urgent(jobs, chance, models, every=12.0, until=until)
    return Night("W10", "an urgent job every 12 s on 8 models over bulk", models, _hosts(3), jobs.made)


WORKLOADS: dict[str, Callable[[int, float], Night]] = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W5b": w5b,
    "W6": w6,
    "W7": w7,
    "W8": w8,
    "W9": w9,
    "W10": w10,
}
