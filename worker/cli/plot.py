"""Columns over time in a terminal, of block characters."""

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def columns(values: Sequence[float], *, width: int, height: int = 8, labels: Sequence[str] = ()) -> list[str]:
    """Lines of a picture at most ``width`` wide: the highest value beside its top, the first and last label beneath.

    Where there are more values than columns, neighbours are added up to one.

    >>> columns([1, 2, 4], width=9, height=2, labels=["a", "b", "c"])
    ['4 │    ██', '0 │▄▄████', '   a    c']
    """
    if not values:
        return []
    several = 1
    axis = max(len(short(value)) for value in (max(values), sum(values)))
    room = max(1, width - axis - 2)
    while -(-len(values) // several) > room:
        several += 1
    added = [sum(values[at : at + several]) for at in range(0, len(values), several)]
    highest = max(added)
    axis = max(len(short(highest)), 1)
    wide = max(1, min(6, room // len(added)))
    drawn = []
    for row in range(height, 0, -1):
        label = short(highest) if row == height else "0" if row == 1 else ""
        cells = "".join(_cell(value, highest, row, height) * wide for value in added)
        drawn.append(f"{label:>{axis}} │{cells}".rstrip())
    if labels:
        inner = len(added) * wide
        first, last = labels[0], labels[-1] if len(labels) > 1 else ""
        space = inner - len(first) - len(last)
        text = f"{first}{' ' * space}{last}" if space > 0 else first
        drawn.append(" " * (axis + 2) + text)
    return drawn


def _cell(value: float, highest: float, row: int, height: int) -> str:
    filled = round(value / highest * height * 8) if highest else 0
    if value > 0:
        filled = max(1, filled)  # a little is not nothing
    return _EIGHTHS[max(0, min(8, filled - (row - 1) * 8))]


def short(value: float) -> str:
    """A number in a few characters.

    >>> [short(value) for value in (0, 950, 12_345, 4_200_000)]
    ['0', '950', '12k', '4.2M']
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if scaled >= 9.95 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"
