"""Numbers that a spreadsheet shows with leading zeros, such as postal codes and ids: 8 that is shown as 0008.

calamine hands out values without their formats. Only where a workbook has such a format is its XML read here, a row at a
time, for the cells that wear one.
"""

import io
import operator
import posixpath
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from worker.records import record

ZeroRow = tuple[int, Mapping[int, str]]
"""The number of a row, from 1, and the texts of its cells by their place, from 0."""


class Unreadable(Exception):
    """A spreadsheet whose XML is damaged."""


_TOKEN = re.compile(
    r"""0 | "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | (?P<plain>[- ():+]) | _. | \*.
    | \[\$(?P<currency>[^]-]*)(?:-[^]]*)?\] | \[(?:<=|>=|<>|[<>=])[^]]*\] | \[[A-Za-z0-9]+\]""",
    re.VERBOSE,
)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\]")
_COMPARE = {
    "<=": operator.le,
    ">=": operator.ge,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_SECTION = re.compile(r'(?:"[^"]*"|\\.|\[[^]]*\]|[^;])+')
_XLS_FORMAT = re.compile(rb"\x1e\x04..(?=....[\x00\x01])", re.DOTALL)
"""The head of a FORMAT record of BIFF8 ([MS-XLS] 2.4.126)."""
_FURTHEST = 16_384
"""Columns of a sheet. What repeats beyond them is the empty rest."""


@record
class ZeroFormat:
    """A format of numbers that fills whole ones up with zeros."""

    sections: tuple[tuple[str, Decimal, tuple[str, ...]], ...]
    """Each with its condition. Its parts are a digit each (``0``) or a literal text, which begins with a quote; none: no
    zeros are filled up."""

    def text(self, number: int) -> str | None:
        """What is shown of the number; None where it is shown without zeros.

        >>> form = zero_format("[<=99999]00000;00000-0000")
        >>> form and (form.text(501), form.text(5010042))
        ('00501', '00501-0042')
        """
        parts = next((parts for sign, limit, parts in self.sections if _COMPARE[sign](number, limit)), ())
        if not parts:
            return None
        places = parts.count("0")
        digits = str(abs(number)).zfill(places)
        left = iter([digits[: len(digits) - places + 1], *digits[len(digits) - places + 1 :]])
        return ("-" if number < 0 else "") + "".join(
            next(left) if part == "0" else part[1:] for part in parts
        )


def zero_format(code: str) -> ZeroFormat | None:
    """A format code with a section that fills up with zeros; None for any other.

    >>> [bool(zero_format(code)) for code in ("00000", '"SKU-"0000', "0", "0.00", "#,##0", "yyyy", "[h]:mm")]
    [True, True, False, False, False, False, False]
    """
    sections = []
    for section in _SECTION.findall(code):
        condition = _CONDITION.search(section)
        sign, limit = (condition[1], Decimal(condition[2])) if condition else (">=", Decimal("-Infinity"))
        sections.append((sign, limit, _parts(section)))
    return ZeroFormat(tuple(sections)) if any(parts for _, _, parts in sections) else None


def _parts(section: str) -> tuple[str, ...]:
    """The digits and texts of one section; none where it shows other things than filled up whole numbers."""
    tokens = list(_TOKEN.finditer(section))
    if "".join(token[0] for token in tokens) != section or sum(token[0] == "0" for token in tokens) < 2:
        return ()
    parts = ("0" if token[0] == "0" else token.lastgroup and "'" + token[token.lastgroup] for token in tokens)
    return tuple(part for part in parts if part)


def zero_rows(path: Path, sheet: str) -> Iterator[ZeroRow]:
    """The cells of a sheet whose numbers are shown with leading zeros, in the order of the rows. Raises Unreadable."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as package:
            if "content.xml" in package.namelist():
                yield from _open_document(package, sheet)
            elif "xl/styles.xml" in package.namelist():
                yield from _office_open(package, sheet)
    except (ET.ParseError, zipfile.BadZipFile, zlib.error, OSError, KeyError, ValueError) as error:
        raise Unreadable(str(error)) from error


def loses_zeros(path: Path) -> bool:
    """Whether this is a workbook of Excel 97 (.xls) with a format that fills up with zeros, which nothing here reads."""
    with path.open("rb") as file:
        if file.read(4) != b"\xd0\xcf\x11\xe0":
            return False
        data = file.read()
    for head in _XLS_FORMAT.finditer(data):
        at = head.end()
        count, wide = int.from_bytes(data[at + 2 : at + 4], "little"), data[at + 4]
        raw = data[at + 5 : at + 5 + count * (2 if wide else 1)]
        if count < 256 and zero_format(raw.decode("utf-16-le" if wide else "latin-1", "replace")):
            return True
    return False


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attributes(element: ET.Element) -> dict[str, str]:
    return {_local(name): value for name, value in element.attrib.items()}


def _whole(value: str | None) -> int | None:
    from worker.documents.spreadsheet import cell_number

    try:
        number = cell_number(float(value or ""))
    except ValueError:
        return None
    return number if isinstance(number, int) else None


def _office_open(package: zipfile.ZipFile, sheet: str) -> Iterator[ZeroRow]:
    forms = _office_formats(package)
    part = _office_part(package, sheet) if forms else None
    if part is None:
        return
    number = 0
    with package.open(part) as file:
        for _, element in ET.iterparse(file):  # noqa: S314  it bounds entities and fetches nothing
            if _local(element.tag) != "row":
                continue
            number = int(element.get("r", number + 1))
            shown: dict[int, str] = {}
            at = -1
            for cell in element:
                at = _place(cell.get("r", ""), at + 1)
                form = forms.get(cell.get("s", "0"))
                if form is None or cell.get("t", "n") != "n":
                    continue
                value = _whole(next((one.text for one in cell if _local(one.tag) == "v"), None))
                text = None if value is None else form.text(value)
                if text is not None:
                    shown[at] = text
            element.clear()
            if shown:
                yield number, shown


def _office_formats(package: zipfile.ZipFile) -> dict[str, ZeroFormat]:
    """The styles of cells whose format fills up with zeros, by their place."""
    root = ET.fromstring(package.read("xl/styles.xml"))  # noqa: S314
    codes = {
        one.get("numFmtId"): form
        for one in root.iter()
        if _local(one.tag) == "numFmt" and (form := zero_format(one.get("formatCode", ""))) is not None
    }
    styles = next((one for one in root if _local(one.tag) == "cellXfs"), ())
    return {
        str(at): codes[number] for at, one in enumerate(styles) if (number := one.get("numFmtId")) in codes
    }


def _office_part(package: zipfile.ZipFile, sheet: str) -> str | None:
    """The name of the part that holds a sheet."""
    targets = {
        one.get("Id"): one.get("Target", "")
        for one in ET.fromstring(package.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    }
    for one in ET.fromstring(package.read("xl/workbook.xml")).iter():  # noqa: S314
        if _local(one.tag) == "sheet" and one.get("name") == sheet:
            target = targets.get(_attributes(one).get("id"), "")
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


def _open_document(package: zipfile.ZipFile, sheet: str) -> Iterator[ZeroRow]:
    styles = _open_document_styles(package)
    if not styles:
        return
    within = False
    columns: list[str | None] = []
    number = 0
    with package.open("content.xml") as file:
        for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314
            name = _local(element.tag)
            if name == "table":
                within = event == "start" and _attributes(element).get("name") == sheet
            elif not within or event == "start":
                if event == "end" and name == "table-row":
                    element.clear()
            elif name == "table-column":
                own = _attributes(element)
                repeated = min(int(own.get("number-columns-repeated", 1)), _FURTHEST - len(columns))
                columns += [own.get("default-cell-style-name")] * repeated
            elif name == "table-row":
                shown = _open_document_row(element, styles, columns)
                repeated = int(_attributes(element).get("number-rows-repeated", 1))
                if shown:
                    yield from ((number + one, shown) for one in range(1, repeated + 1))
                number += repeated
                element.clear()


def _open_document_row(row: ET.Element, styles: frozenset[str], columns: list[str | None]) -> dict[int, str]:
    shown: dict[int, str] = {}
    by_row = _attributes(row).get("default-cell-style-name")
    at = 0
    for cell in row:
        own = _attributes(cell)
        repeated = int(own.get("number-columns-repeated", 1))
        by_column = columns[at] if at < len(columns) else None
        style = own.get("style-name") or by_row or by_column
        text = "".join("".join(one.itertext()) for one in cell if _local(one.tag) == "p")
        whole = _whole(own.get("value")) if own.get("value-type") == "float" else None
        if (
            style in styles
            and whole is not None
            and re.sub(r"\D", "", text).lstrip("0") in {str(abs(whole)), ""}
        ):
            shown.update(dict.fromkeys(range(at, min(at + repeated, _FURTHEST)), text))
        at += repeated
    return shown


def _open_document_styles(package: zipfile.ZipFile) -> frozenset[str]:
    """The styles of cells whose format fills up with zeros."""
    parts = [package.read(name) for name in ("styles.xml", "content.xml") if name in package.namelist()]
    if not any(re.search(rb'min-integer-digits="(?:[2-9]|1\d)', part) for part in parts):
        return frozenset()
    forms: set[str] = set()
    cells: dict[str, tuple[str | None, str | None]] = {}
    for part in parts:
        for _, element in ET.iterparse(io.BytesIO(part)):  # noqa: S314
            name, own = _local(element.tag), _attributes(element)
            if name == "number-style":
                digits = next((_attributes(one) for one in element if _local(one.tag) == "number"), {})
                if int(digits.get("min-integer-digits", 0)) > 1 and digits.get("decimal-places", "0") == "0":
                    forms.add(own.get("name", ""))
            elif name == "style" and own.get("family") == "table-cell":
                cells[own.get("name", "")] = (own.get("data-style-name"), own.get("parent-style-name"))
            elif name == "automatic-styles":
                break  # the rows follow
    return frozenset(name for name in cells if _data_style(name, cells) in forms)


def _data_style(name: str | None, cells: Mapping[str, tuple[str | None, str | None]]) -> str | None:
    """The format of a style of cells, which may be that of the style it comes from."""
    for _ in range(len(cells)):
        data, parent = cells.get(name or "", (None, None))
        if data is not None or parent is None:
            return data
        name = parent
    return None
