"""Whose turn it is among batches that wait for the same runner."""

from collections import Counter
from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.turns import NOW, TURNS, claims
from worker.policy.facts import Order
from worker.policy.turns import TURN, Stretch, Turn, stretches, turn_after

JUST_NOW = NOW - timedelta(seconds=1)
ALMOST = NOW - TURN + timedelta(seconds=1)
OVER = NOW - TURN
ALL = (Stretch(),)


@pytest.mark.parametrize(
    ("turn", "order", "expected"),
    [
        pytest.param(Turn(), Order.GROUP, ALL, id="nothing was claimed yet"),
        pytest.param(
            Turn(5, JUST_NOW), Order.GROUP, (Stretch(first=5), Stretch(end=5)), id="its turn has begun"
        ),
        pytest.param(Turn(5, ALMOST), Order.GROUP, (Stretch(first=5), Stretch(end=5)), id="its last second"),
        pytest.param(Turn(5, OVER), Order.GROUP, (Stretch(first=6), Stretch(end=6)), id="its turn is over"),
        pytest.param(Turn(5), Order.GROUP, (Stretch(first=6), Stretch(end=6)), id="nobody knows since when"),
        pytest.param(Turn(5, JUST_NOW), Order.LONGEST, ALL, id="the longest first, of all batches"),
    ],
)
def test_the_batches_of_a_claim_follow_each_other(
    turn: Turn, order: Order, expected: tuple[Stretch, ...]
) -> None:
    assert stretches(turn, order, NOW) == expected


@pytest.mark.parametrize(
    ("turn", "taken", "expected"),
    [
        pytest.param(Turn(), {3}, Turn(3, NOW), id="the first claim"),
        pytest.param(Turn(), set(), Turn(None, NOW), id="nothing was there"),
        pytest.param(Turn(5, JUST_NOW), {5}, Turn(5, JUST_NOW), id="its turn goes on"),
        pytest.param(Turn(5, JUST_NOW), set(), Turn(5, JUST_NOW), id="nothing of it, nothing of others"),
        pytest.param(Turn(5, JUST_NOW), {5, 6}, Turn(6, NOW), id="it had too little: the next begins"),
        pytest.param(Turn(5, JUST_NOW), {2}, Turn(2, NOW), id="it and those after it had none"),
        pytest.param(Turn(5, OVER), {6}, Turn(6, NOW), id="it was over"),
        pytest.param(Turn(5, OVER), {5}, Turn(5, NOW), id="it was over, and no other has jobs: a new turn"),
    ],
)
def test_the_last_batch_of_a_claim_has_the_turn(turn: Turn, taken: set[int], expected: Turn) -> None:
    assert turn_after(turn, taken, NOW) == expected


@pytest.mark.parametrize(("queued", "seconds", "expected"), TURNS)
def test_batches_take_turns(queued: dict[int, int], seconds: list[int], expected: list[list[int]]) -> None:
    assert claims(queued, seconds, limit=2) == expected


BATCHES = st.dictionaries(st.integers(1, 9), st.integers(1, 50), min_size=1)


@given(queued=BATCHES, gaps=st.lists(st.integers(0, 90), min_size=1, max_size=30), limit=st.integers(1, 5))
def test_a_claim_takes_as_many_jobs_as_there_are(queued: dict[int, int], gaps: list[int], limit: int) -> None:
    left = Counter(queued)

    for taken in claims(queued, list(accumulate(gaps)), limit):
        assert len(taken) == min(limit, left.total())
        left.subtract(taken)
    assert min(left.values()) >= 0


@given(queued=BATCHES)
def test_every_batch_is_served_before_any_has_its_second_turn(queued: dict[int, int]) -> None:
    seconds = [n * int(TURN.total_seconds()) for n in range(len(queued))]

    assert claims(queued, seconds, limit=1) == [[batch] for batch in sorted(queued)]
