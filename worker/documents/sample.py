"""Which rows does a pilot take? The first ones, or some by chance that the same seed finds again."""

import heapq
import random
from collections.abc import Iterable, Iterator
from itertools import islice

from worker.documents.tables import Row


def chosen(rows: Iterable[Row], *, limit: int | None, sample: int | None, seed: int) -> Iterator[Row]:
    """The first ``limit`` rows, and of these ``sample`` by chance, in input order and with their lines.

    Blank lines count for neither. At most ``sample`` rows are held in memory. A larger sample of the same rows with
    the same seed contains the smaller one, so that a pilot can grow.
    """
    if limit is not None:
        rows = islice((row for row in rows if not _is_blank(row)), limit)
    return iter(rows) if sample is None else _sampled(rows, sample, seed)


def _sampled(rows: Iterable[Row], sample: int, seed: int) -> Iterator[Row]:
    chance = random.Random(seed)
    kept: list[tuple[float, int, Row]] = []  # a heap whose first draw is the one to give up next
    for at, row in enumerate(row for row in rows if not _is_blank(row)):
        drawn = -chance.random()  # only random() is promised to stay the same between versions of Python
        if len(kept) < sample:
            heapq.heappush(kept, (drawn, -at, row))
        elif kept and drawn > kept[0][0]:
            heapq.heapreplace(kept, (drawn, -at, row))
    yield from (row for _, _, row in sorted(kept, key=lambda entry: -entry[1]))


def _is_blank(row: Row) -> bool:
    return row.values is None and row.problem is None and not (row.raw or b"").strip()
