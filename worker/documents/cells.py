"""Cells of workbooks as JSON has them: values of calamine, and those that are read from the XML in their place."""

import datetime as dt
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from re import Pattern
from typing import Any, NamedTuple

DIGITS = 15
"""Significant digits of a number that a spreadsheet shows: 0.1 + 0.2 is 0.3 there."""
_WHOLE = Decimal(10) ** 21
"""Whole numbers below this are written out."""
_BLOCK = 1 << 20
_OVERLAP = 1 << 14
"""Bytes of a block that are looked at with the next one too: a cell may lie across both."""


class Cell(NamedTuple):
    """A cell in place of that of calamine; ``quirk`` is a key of ``row.QUIRKS``."""

    value: str | int
    quirk: str | None = None


OddRow = tuple[int, Mapping[int, Cell]]
"""The number of a row, from 1, and its cells by their places, from 0."""
FURTHEST = 16_384
"""Columns of a sheet. What repeats beyond them is the empty rest."""


def plain_cell(cell: Any) -> Any:
    """A cell as JSON has it; an empty one is an empty text.

    >>> [plain_cell(cell) for cell in (12.0, 0.1 + 0.2, "007", True, dt.date(2026, 3, 1), dt.timedelta(hours=30))]
    [12, 0.3, '007', True, '2026-03-01', '30:00:00']
    """
    match cell:
        case bool() | str() | int():
            return cell
        case float():
            return cell_number(cell)
        case dt.datetime() | dt.date() | dt.time():
            return cell.isoformat()
        case dt.timedelta():
            seconds = round(cell.total_seconds())
            sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
            return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        case _:
            return str(cell)


def cell_number(number: float) -> int | float:
    """The number that a spreadsheet shows.

    >>> cell_number(1e5), cell_number(19.990000000000002), cell_number(4.012345678901e12)
    (100000, 19.99, 4012345678901)
    """
    shown = Decimal(f"{number:.{DIGITS}g}")
    if shown.is_finite() and shown == shown.to_integral_value() and abs(shown) < _WHOLE:
        return int(shown)
    return float(shown)


def letters(place: int) -> str:
    """The name of a column in a spreadsheet, by its place from 0.

    >>> letters(0), letters(25), letters(26), letters(701), letters(702)
    ('A', 'Z', 'AA', 'ZZ', 'AAA')
    """
    name = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def whole_number(value: str | None) -> int | None:
    """The whole number that a spreadsheet shows of this value; None where it shows none."""
    try:
        number = cell_number(float(value or ""))
    except ValueError:
        return None
    return number if isinstance(number, int) else None


def local_name(name: str) -> str:
    """A name of XML without its namespace."""
    return name.rpartition("}")[2]


def attributes(element: ET.Element) -> dict[str, str]:
    """The attributes of an element by their names without namespaces."""
    return {local_name(name): value for name, value in element.attrib.items()}


def blocks(package: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """A part in blocks, each with the end of the one before."""
    tail = b""
    with package.open(part) as file:
        while block := file.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:]


def holds(package: zipfile.ZipFile, part: str, odd: Pattern[bytes]) -> bool:
    """Whether the pattern is somewhere in this part."""
    return any(odd.search(block) for block in blocks(package, part))
