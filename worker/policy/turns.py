"""Decides whose turn it is among batches that wait for the same runner at the same priority.

A batch is claimed from for ``TURN``, then the next has its turn: a small batch is not stuck behind a giant one, and prompts
that begin alike still follow each other. Batches are numbered as they came.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from worker.policy.facts import Order
from worker.records import record

TURN = timedelta(seconds=30)


@record
class Turn:
    """The batch whose turn it is, and since when; None: nothing has been claimed yet."""

    batch: int | None = None
    since: datetime | None = None

    def goes_on(self, now: datetime) -> bool:
        """Whether it is not over yet."""
        return self.since is not None and now - self.since < TURN


@record
class Stretch:
    """Batches that are claimed from in the order of their numbers: from ``first`` on, and before ``end``; None: no bound."""

    first: int | None = None
    end: int | None = None


def stretches(turn: Turn, order: Order, now: datetime) -> Sequence[Stretch]:
    """The batches in the order in which a claim takes jobs of them: the one whose turn it is, those after it, those before.

    Where little is left the longest jobs come first, of whichever batch.
    """
    if order is Order.LONGEST or turn.batch is None:
        return (Stretch(),)
    first = turn.batch if turn.goes_on(now) else turn.batch + 1
    return Stretch(first=first), Stretch(end=first)


def turn_after(turn: Turn, batches: Collection[int], now: datetime) -> Turn:
    """Whose turn it is once a claim took jobs of the batches ``batches``: the last of them, whose turn begins now unless it had
    it already."""
    last = max(batches, default=turn.batch)
    return turn if last == turn.batch and turn.goes_on(now) else Turn(last, now)
