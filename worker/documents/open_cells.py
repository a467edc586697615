"""Cells of OpenDocument (.ods) that calamine hands out otherwise than the file has them."""

import io
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping

from worker.documents.cells import FURTHEST, Cell, OddRow, attributes, holds, local_name, whole_number

_ODD = re.compile(
    rb"""value-type="error" | <text:line-break | office:time-value= | office:value="-?\d{16}
    | <table:table-cell(?=\s[^>]*table:formula=)(?![^>]*office:value-type)""",
    re.VERBOSE,
)
_LONG = re.compile(r"-?\d{16,}")
_TIME = re.compile(r"(-?)PT?(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?")


def open_is_odd(package: zipfile.ZipFile) -> bool:
    """Whether the workbook may have cells that are read here."""
    return bool(_open_styles(package)) or holds(package, "content.xml", _ODD)


def open_rows_of(package: zipfile.ZipFile, sheet: str) -> Iterator[OddRow]:
    styles = _open_styles(package)
    within = False
    columns: list[str | None] = []
    number = 0
    with package.open("content.xml") as file:
        for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314
            name = local_name(element.tag)
            if name == "table":
                within = event == "start" and attributes(element).get("name") == sheet
            elif not within or event == "start":
                if event == "end" and name == "table-row":
                    element.clear()
            elif name == "table-column":
                own = attributes(element)
                repeated = min(int(own.get("number-columns-repeated", 1)), FURTHEST - len(columns))
                columns += [own.get("default-cell-style-name")] * repeated
            elif name == "table-row":
                cells = _open_row(element, styles, columns)
                repeated = int(attributes(element).get("number-rows-repeated", 1))
                if cells:
                    yield from ((number + one, cells) for one in range(1, repeated + 1))
                number += repeated
                element.clear()


def _open_row(row: ET.Element, styles: frozenset[str], columns: list[str | None]) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    by_row = attributes(row).get("default-cell-style-name")
    at = 0
    for cell in row:
        own = attributes(cell)
        repeated = int(own.get("number-columns-repeated", 1))
        by_column = columns[at] if at < len(columns) else None
        odd = _open_cell(cell, own, (own.get("style-name") or by_row or by_column) in styles)
        if odd is not None:
            cells.update(dict.fromkeys(range(at, min(at + repeated, FURTHEST)), odd))
        at += repeated
    return cells


def _open_cell(cell: ET.Element, own: Mapping[str, str], zeros: bool) -> Cell | None:
    kinds = {value for name, value in cell.attrib.items() if local_name(name) == "value-type"}
    value = own.get("value", "")
    if "error" in kinds:
        return Cell(_open_text(cell) or "#N/A", "error")
    if not kinds:
        return Cell("", "formula") if "formula" in own else None
    if "time" in kinds and (time := _TIME.fullmatch(own.get("time-value", ""))):
        sign, hours, minutes, seconds = time.groups(default="0")
        total = int(hours) * 3600 + int(minutes) * 60 + round(float(seconds))
        return Cell(f"{sign.strip('0')}{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}")
    if (
        "string" in kinds
        and "string-value" not in own
        and any(local_name(one.tag) == "line-break" for one in cell.iter())
    ):
        return Cell(_open_text(cell))
    if "float" not in kinds:
        return None
    whole = whole_number(value)
    if zeros and whole is not None:
        text = _open_text(cell)
        return Cell(text) if re.sub(r"\D", "", text).lstrip("0") in {str(abs(whole)), ""} else None
    return Cell(int(value)) if _LONG.fullmatch(value) else None


def _open_text(cell: ET.Element) -> str:
    return "\n".join(_words(one) for one in cell if local_name(one.tag) == "p")


def _words(element: ET.Element) -> str:
    """The text of a paragraph, without the notes in it."""
    parts = [element.text or ""]
    for child in element:
        match local_name(child.tag):
            case "s":
                parts.append(" " * int(attributes(child).get("c", 1)))
            case "tab":
                parts.append("\t")
            case "line-break":
                parts.append("\n")
            case "annotation":
                pass
            case _:
                parts.append(_words(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _open_styles(package: zipfile.ZipFile) -> frozenset[str]:
    """The styles of cells whose format fills up with zeros."""
    parts = [package.read(name) for name in ("styles.xml", "content.xml") if name in package.namelist()]
    if not any(re.search(rb'min-integer-digits="(?:[2-9]|1\d)', part) for part in parts):
        return frozenset()
    forms: set[str] = set()
    cells: dict[str, tuple[str | None, str | None]] = {}
    for part in parts:
        for _, element in ET.iterparse(io.BytesIO(part)):  # noqa: S314
            name, own = local_name(element.tag), attributes(element)
            if name == "number-style":
                digits = next((attributes(one) for one in element if local_name(one.tag) == "number"), {})
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
