"""The number of loads that first-come-first-served would have done."""

from collections.abc import Iterable


def first_come_loads(runner_keys: Iterable[str], *, hosts: int) -> int:
    """Loads if ``hosts`` hosts that hold one runner each took the jobs in turn, in the order they came.

    Jobs are taken to last equally long, so host n gets every ``hosts``-th job.

    >>> first_come_loads("abcabc", hosts=1)
    6
    >>> first_come_loads("aabb", hosts=1)
    2
    >>> first_come_loads("abcabc", hosts=2)
    6
    """
    loaded: list[str | None] = [None] * max(1, hosts)
    loads = 0
    for turn, key in enumerate(runner_keys):
        host = turn % len(loaded)
        if loaded[host] != key:
            loaded[host] = key
            loads += 1
    return loads
