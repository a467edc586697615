"""Cells of a workbook that calamine hands out otherwise than the file has them, read from its XML.

calamine hands out values without their formats (8 for 0008) and errors as nothing, rounds whole numbers of more than 15
digits, and drops line breaks of OpenDocument. Only where a sheet has such a cell is its XML parsed, a row at a time.
"""

import io
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.documents.cells import OddRow
from worker.documents.leading_zeros import zero_format
from worker.documents.office_cells import Survey, office_part, office_rows, office_survey
from worker.documents.open_cells import open_is_odd, open_rows_of

MOST_CELLS = 50_000_000
"""Of the rectangle that holds all cells of a sheet, which calamine keeps in memory as a whole: 32 bytes each. Of
OpenDocument calamine itself keeps to a bound."""
_XLS_FORMAT = re.compile(rb"\x1e\x04..(?=....[\x00\x01])", re.DOTALL)
"""The head of a FORMAT record of BIFF8 ([MS-XLS] 2.4.126)."""
_XLS_ERROR = re.compile(
    rb"\x05\x02\x08\x00.{6}[\x00\x07\x0f\x17\x1d\x24\x2a\x2b]\x01"
    rb"|\x06\x00[\x16-\xff][\x00-\x03].{6}\x02.[\x00\x07\x0f\x17\x1d\x24\x2a\x2b].{3}\xff\xff",
    re.DOTALL,
)
"""A BOOLERR or FORMULA record of BIFF8 that holds an error (2.4.24, 2.5.133)."""

Source = Path | bytes
"""A workbook as a file, or its bytes."""


class Unreadable(Exception):
    """A spreadsheet whose XML is damaged."""


def opened(source: Source) -> Any:
    """The workbook for whoever reads it."""
    return io.BytesIO(source) if isinstance(source, bytes) else source


def survey(source: Source, sheet: str) -> Survey:
    """Raises Unreadable."""
    with _package(source) as package:
        if package is not None and "content.xml" in package.namelist():
            return Survey(odd=open_is_odd(package))
        part = None if package is None else office_part(package, sheet)
        return Survey() if package is None or part is None else office_survey(package, part)


def odd_rows(source: Source, sheet: str) -> Iterator[OddRow]:
    """The cells of a sheet that calamine does not hand out as the file has them, in the order of the rows. Raises
    Unreadable."""
    with _package(source) as package:
        if package is None:
            return
        if "content.xml" in package.namelist():
            yield from open_rows_of(package, sheet)
        elif (part := office_part(package, sheet)) is not None:
            yield from office_rows(package, part)


@contextmanager
def _package(source: Source) -> Iterator[zipfile.ZipFile | None]:
    try:
        if not zipfile.is_zipfile(opened(source)):
            yield None
            return
        with zipfile.ZipFile(opened(source)) as package:
            yield package
    except (
        ET.ParseError, zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, NotImplementedError,
        RuntimeError,
    ) as error:  # fmt: skip
        raise Unreadable(str(error)) from error


def lost_in_xls(source: Source) -> tuple[bool, bool]:
    """Whether a workbook of Excel 97 (.xls) has formats that fill up with zeros, and cells with errors: nothing here reads
    either."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        if file.read(4) != b"\xd0\xcf\x11\xe0":
            return False, False
        data = file.read()
    return any(_is_zero_format(data, head.end()) for head in _XLS_FORMAT.finditer(data)), bool(
        _XLS_ERROR.search(data)
    )


def _is_zero_format(data: bytes, at: int) -> bool:
    count, wide = int.from_bytes(data[at + 2 : at + 4], "little"), data[at + 4]
    raw = data[at + 5 : at + 5 + count * (2 if wide else 1)]
    return count < 256 and bool(zero_format(raw.decode("utf-16-le" if wide else "latin-1", "replace")))
