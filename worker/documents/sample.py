"""Which rows does a pilot take? The first ones, or some by chance that the same seed finds again."""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice

from worker.documents.row import Row


def chosen(
    rows: Iterable[Row],
    *,
    limit: int | None,
    sample: int | None,
    seed: int,
    together: Callable[[Row], object] | None = None,
    left_out: Callable[[int], object] = bool,
) -> Iterator[Row]:
    """The first ``limit`` rows, and of these ``sample`` by chance, in input order and with their lines.

    Blank lines count for neither. At most ``sample`` rows are held in memory. A larger sample of the same rows with
    the same seed contains the smaller one, so that a pilot can grow. Rows that follow each other and are equal by
    ``together`` count as one, and are all taken or none.
    """
    if limit is None and sample is None:
        return iter(rows)
    present = (row for row in rows if not _is_blank(row))
    units: Iterator[list[Row]] = (
        ([row] for row in present)
        if together is None
        else (list(group) for _, group in groupby(present, together))
    )
    if limit is not None:
        units = islice(units, limit)
    if sample is not None:
        units = _sampled(units, sample, seed, left_out)
    return chain.from_iterable(units)


def _sampled(
    units: Iterable[list[Row]], sample: int, seed: int, left_out: Callable[[int], object]
) -> Iterator[list[Row]]:
    chance = random.Random(seed)
    kept: list[tuple[float, int, list[Row]]] = []  # a heap whose first draw is the one to give up next
    rows = 0
    for at, unit in enumerate(units):
        drawn = -chance.random()  # only random() is promised to stay the same between versions of Python
        if len(kept) < sample:
            heapq.heappush(kept, (drawn, -at, unit))
        elif kept and drawn > kept[0][0]:
            heapq.heapreplace(kept, (drawn, -at, unit))
        rows += len(unit)
    left_out(rows - sum(len(unit) for _, _, unit in kept))
    yield from (unit for _, _, unit in sorted(kept, key=lambda entry: -entry[1]))


def _is_blank(row: Row) -> bool:
    return row.values is None and row.problem is None and not (row.raw or b"").strip()
