"""How many answers does a host really give at once? Found out from how long requests wait for each other.

A request that a runner has no room for waits inside the host, after the load and before its prompt is evaluated: what a
reply's total says beyond its parts is that wait (``server/routes.go``: the total counts from the request's arrival).
"""

from collections.abc import Sequence

from worker.records import record

MOST_UNSET = 8
"""Slots that are tried at most where nobody told how many there are."""
SAMPLES = 8
NOTICED = 0.005
"""Seconds. Shorter waits than this are a busy machine's, and change nothing."""


@record
class Waited:
    """One answer: seconds that its request waited inside the host, and seconds it took there in all."""

    wait: float
    total: float


@record
class Parallel:
    """``slots`` in use for a runner key. From ``too_many`` on, requests were seen to wait."""

    slots: int
    too_many: int | None = None


def learn(before: Parallel, waits: Sequence[Waited], *, most: int) -> Parallel:
    """What ``waits`` teach: answers given while all ``before.slots`` were in use; at least ``SAMPLES`` of them.

    Fewer where they waited for each other, one more where none did, up to ``most``.

    >>> learn(Parallel(4), [Waited(3.0, 4.0)] * 8, most=4)
    Parallel(slots=1, too_many=2)
    >>> learn(Parallel(1), [Waited(0.0, 4.0)] * 8, most=8)
    Parallel(slots=2, too_many=None)
    """
    if len(waits) < max(SAMPLES, 2 * before.slots):
        return before
    wait, total = sum(timing.wait for timing in waits), sum(timing.total for timing in waits)
    if total <= 0:
        return before
    share = wait / total
    if wait / len(waits) > NOTICED and share > 0.5 / before.slots:
        slots = max(1, min(before.slots - 1, round(before.slots * (1 - share))))
        return Parallel(slots, slots + 1) if before.slots > 1 else before
    if before.slots < most and (before.too_many is None or before.slots + 1 < before.too_many):
        return Parallel(before.slots + 1, before.too_many)
    return before
