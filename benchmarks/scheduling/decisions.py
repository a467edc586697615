"""How long does one decision take? The policy is asked for each slot that is free."""

import random
import time

from worker.domain.jobs import Priority
from worker.policy.choose import choose
from worker.policy.facts import Due, Facts, HostFacts, Tier, Work

KEYS, HOSTS, ROUNDS = 200, 50, 60
LIMIT = 0.005


def decision_seconds(seed: int = 1) -> float:
    """Seconds of a decision at 200 runner keys and 50 hosts, a quarter of the keys dated: the least of ``ROUNDS``,
    since a busy machine only ever adds to it.

    The host has nothing loaded, which takes longest: every key has to be looked at.
    """
    chance = random.Random(seed)
    keys = [f"m{n}:1 num_ctx=8192" for n in range(KEYS)]
    models = frozenset(key.split(" ")[0] for key in keys)
    work = [
        Work(
            key,
            {
                priority: Tier(chance.randint(1, 5000), -chance.random() * 500, -chance.random() * 100)
                for priority in chance.sample([Priority.HIGH, Priority.NORMAL, Priority.BULK], 2)
            },
            model=key.split(" ")[0],
            due=[Due(3000.0 + 100 * n, 50) for n in range(8)] if number % 4 == 0 else (),
        )
        for number, key in enumerate(keys)
    ]

    def host(number: int, resident: dict[str, int]) -> HostFacts:
        return HostFacts(f"gpu-{number}", slots=4, resident=resident, models=models, models_at_once=2)

    others = [host(number, {chance.choice(keys): 4}) for number in range(HOSTS - 1)]
    took = []
    for _ in range(ROUNDS):
        facts = Facts(host(HOSTS, {}), others, work, 0.0)
        began = time.perf_counter()
        choose(facts)
        took.append(time.perf_counter() - began)
    return min(took)
