"""Claims from several batches: which jobs they are to take, by the policy alone."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.policy.facts import Order
from worker.policy.turns import Turn, stretches, turn_after

NOW = datetime(2026, 3, 26, 2, tzinfo=UTC)

TURNS = [
    pytest.param({1: 9}, [0, 1, 60], [[1, 1], [1, 1], [1, 1]], id="alone"),
    pytest.param(
        {1: 9, 2: 3}, [0, 1, 31, 32, 62], [[1, 1], [1, 1], [2, 2], [1, 2], [1, 1]], id="two take turns"
    ),
    pytest.param(
        {1: 9, 2: 9, 3: 9}, [0, 30, 60, 90], [[1, 1], [2, 2], [3, 3], [1, 1]], id="three, each a turn"
    ),
    pytest.param({1: 1, 2: 9, 3: 9}, [0, 29, 31], [[1, 2], [2, 2], [3, 3]], id="the first ends early"),
    pytest.param({1: 3, 2: 2}, [0, 30, 31, 90], [[1, 1], [2, 2], [1], []], id="until nothing is left"),
]
"""Jobs of each batch, the seconds at which two jobs are claimed, and the batches of those, in the order of their numbers."""


def claims(queued: dict[int, int], seconds: list[int], limit: int) -> list[list[int]]:
    """The batches whose jobs claims of ``limit`` jobs at these ``seconds`` take."""
    left, turn, made = dict(sorted(queued.items())), Turn(), []
    for second in seconds:
        now, taken = NOW + timedelta(seconds=second), list[int]()
        for stretch in stretches(turn, Order.GROUP, now):
            for batch, jobs in left.items():
                if (stretch.first or 0) <= batch and (stretch.end is None or batch < stretch.end):
                    more = min(jobs, limit - len(taken))
                    taken += [batch] * more
                    left[batch] -= more
        if taken:
            turn = turn_after(turn, set(taken), now)
        made.append(sorted(taken))
    return made
