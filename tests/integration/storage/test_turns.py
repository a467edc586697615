"""A claim takes jobs of the batches in the order that the policy says."""

import random

import pytest

from tests.integration.storage.conftest import Store, new_job
from tests.turns import TURNS, claims


@pytest.mark.parametrize(("queued", "seconds", "expected"), TURNS)
def test_batches_take_turns(
    store: Store, queued: dict[int, int], seconds: list[int], expected: list[list[int]]
) -> None:
    assert claimed(store, queued, seconds, limit=2) == expected


@pytest.mark.parametrize("seed", range(4))
def test_claims_take_what_the_policy_says(store: Store, seed: int) -> None:
    random_ = random.Random(seed)
    queued = {n: random_.randint(1, 12) for n in range(1, 6)}
    seconds = sorted(random_.randrange(300) for _ in range(12))
    limit = random_.randint(1, 4)

    assert claimed(store, queued, seconds, limit) == claims(queued, seconds, limit)


def claimed(store: Store, queued: dict[int, int], seconds: list[int], limit: int) -> list[list[int]]:
    """The batches of what is claimed, by the numbers that they have in ``queued``."""
    numbers = {store.submit(*(new_job(seq) for seq in range(1, jobs + 1))): n for n, jobs in queued.items()}
    start, made = store.now, list[list[int]]()
    for second in seconds:
        store.later(second - (store.now - start).total_seconds())
        made.append(sorted(numbers[job.batch_id] for job in store.claim(limit)))
    return made
