"""Cells of Office Open XML (.xlsx, .xlsm) that calamine hands out otherwise than the file has them."""

import posixpath
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from worker.documents.cells import Cell, OddRow, attributes, blocks, local_name, whole_number
from worker.documents.leading_zeros import ZeroFormat, zero_format
from worker.records import record

_ERRORS = (b't="e"', b"t='e'")
_LONG_VALUE = re.compile(rb"v>-?(?:\d{16}|\d\.\d{15,}[eE])")
_FORMULA = re.compile(
    rb"<(?:\w+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</(?:\w+:)?f>)\s*(?:</|<(?:\w+:)?v\s*/>|<(?:\w+:)?v></)"
)
"""A formula without a result."""
_WIDE = re.compile(rb'r="([A-Z]{2,3})\d')
_ROW = re.compile(rb'<(?:\w+:)?row\s(?:[^>]*?\s)?r="(\d+)"')
_LONG = re.compile(r"-?(?:\d{16,21}|\d\.\d{15,}[eE]\+?(?:1[5-9]|20))")
"""A whole number of more digits than a spreadsheet shows."""
_DATE_IDS = frozenset(map(str, (*range(14, 23), *range(27, 37), 45, 47, *range(50, 59))))
"""Formats of dates and times that every workbook has (ECMA-376, 18.8.30)."""
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^]]*\]')


@record
class Survey:
    """What a look at a sheet shows before it is read."""

    cells: int = 0
    """Of the rectangle that holds all its cells."""
    last: str = ""
    """The corner of it, such as ``XFD9000``."""
    odd: bool = False
    """It may have cells that are read here."""


@record
class _Formats:
    """The styles of cells, by their places, that change what is shown."""

    zeros: Mapping[str, ZeroFormat]
    dates: Collection[str]


def office_survey(package: zipfile.ZipFile, part: str) -> Survey:
    formats = _office_formats(package)
    odd = bool(formats.zeros)
    widest, rows = "Z", 0
    for block in blocks(package, part):
        odd = odd or _is_odd(block, formats)
        wide = {name.decode() for name in _WIDE.findall(block)}
        widest = max(*wide, widest, key=lambda name: (len(name), name)) if wide else widest
        last = max(block.rfind(b"<row "), block.rfind(b":row "))
        number = _ROW.search(block, block.rfind(b"<", 0, last + 1)) if last >= 0 else None
        rows = max(rows, int(number[1])) if number else rows
    return Survey(rows * (_place(widest, 0) + 1), f"{widest}{rows}", odd)


def _is_odd(block: bytes, formats: _Formats) -> bool:
    """Whether there is an error, a long number, a formula without a result, or a date before all others. Plain texts are
    looked for first: patterns take ten times as long."""
    return (
        any(error in block for error in _ERRORS)
        or bool(_LONG_VALUE.search(block))
        or bool(formats.dates and b"v>-" in block)
        or ((b"<f" in block or b":f" in block) and bool(_FORMULA.search(block)))
    )


def office_rows(package: zipfile.ZipFile, part: str) -> Iterator[OddRow]:
    formats = _office_formats(package)
    since = _first_day(package)
    number = 0
    with package.open(part) as file:
        for _, element in ET.iterparse(file):  # noqa: S314  it bounds entities and fetches nothing
            if local_name(element.tag) != "row":
                continue
            number = int(element.get("r", number + 1))
            cells: dict[int, Cell] = {}
            at = -1
            for cell in element:
                at = _place(cell.get("r", ""), at + 1)
                odd = _office_cell(cell, formats, since)
                if odd is not None:
                    cells[at] = odd
            element.clear()
            if cells:
                yield number, cells


def _office_cell(cell: ET.Element, formats: _Formats, since: date) -> Cell | None:
    kind, style = cell.get("t", "n"), cell.get("s", "0")
    parts = {local_name(part.tag): part.text or "" for part in cell}
    value = parts.get("v", "").strip()
    if kind == "e":
        return Cell(value or "#N/A", "error")
    if "f" in parts and ("v" not in parts or (not value and kind != "str")):
        return Cell("", "formula")
    if kind != "n" or not value:
        return None
    if (form := formats.zeros.get(style)) is not None:
        whole = whole_number(value)
        text = None if whole is None else form.text(whole)
        return None if text is None else Cell(text)
    if _LONG.fullmatch(value):
        return Cell(int(Decimal(value)))
    if value.startswith("-") and style in formats.dates:
        return _day(value, since)
    return None


def _day(serial: str, since: date) -> Cell | None:
    """A day before those that Excel has, as other programs write it."""
    try:
        moment = datetime(since.year, since.month, since.day) + timedelta(  # noqa: DTZ001  cells have no zone
            seconds=round(float(serial) * 86_400)
        )
    except (ValueError, OverflowError):
        return None
    return Cell(moment.isoformat() if "." in serial else moment.date().isoformat())


def _first_day(package: zipfile.ZipFile) -> date:
    """Day 0 of a workbook."""
    book = ET.fromstring(package.read("xl/workbook.xml"))  # noqa: S314
    is_1904 = any(
        local_name(one.tag) == "workbookPr" and one.get("date1904") in ("1", "true", "on") for one in book
    )
    return date(1904, 1, 1) if is_1904 else date(1899, 12, 30)


def _office_formats(package: zipfile.ZipFile) -> _Formats:
    if "xl/styles.xml" not in package.namelist():
        return _Formats({}, ())
    root = ET.fromstring(package.read("xl/styles.xml"))  # noqa: S314
    codes = {
        one.get("numFmtId", ""): one.get("formatCode", "")
        for one in root.iter()
        if local_name(one.tag) == "numFmt"
    }
    forms = {number: form for number, code in codes.items() if (form := zero_format(code)) is not None}
    days = _DATE_IDS.difference(codes) | {number for number, code in codes.items() if _is_date(code)}
    styles = next((one for one in root if local_name(one.tag) == "cellXfs"), ())
    numbers = {str(at): one.get("numFmtId", "") for at, one in enumerate(styles)}
    return _Formats(
        {style: forms[number] for style, number in numbers.items() if number in forms},
        {style for style, number in numbers.items() if number in days},
    )


def _is_date(code: str) -> bool:
    """Whether a format shows a date or a time of day; a span of time has hours in brackets.

    >>> [_is_date(code) for code in ("dd/mm/yy", "[$-407]h:mm", "[h]:mm", "#,##0", '0 "days"', "General")]
    [True, True, False, False, False, False]
    """
    plain = _LITERAL.sub("", code).lower()
    return (
        plain != "general"
        and not re.search(r"\[[hms]+\]", code.lower())
        and bool(re.search("[ymdhs]", plain))
    )


def office_part(package: zipfile.ZipFile, sheet: str) -> str | None:
    """The name of the part that holds a sheet."""
    if "xl/workbook.xml" not in package.namelist():
        return None
    targets = {
        one.get("Id"): one.get("Target", "")
        for one in ET.fromstring(package.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    }
    for one in ET.fromstring(package.read("xl/workbook.xml")).iter():  # noqa: S314
        if local_name(one.tag) == "sheet" and one.get("name") == sheet:
            target = targets.get(attributes(one).get("id"), "")
            part = target[1:] if target.startswith("/") else posixpath.normpath(f"xl/{target}")
            return part if part in package.namelist() else None
    return None


def _place(reference: str, otherwise: int) -> int:
    """The place of a column, from 0, by the reference of a cell; a cell without one follows the cell before it.

    >>> _place("A1", 5), _place("AB12", 5), _place("", 5)
    (0, 27, 5)
    """
    place = 0
    for letter in reference.rstrip("0123456789"):
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1 if place else otherwise
