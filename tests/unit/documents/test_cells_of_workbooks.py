# ruff: noqa: E501  lines of XML
"""Cells that are easily lost: errors, formulas without a result, long numbers, early dates; alike as rows and as documents."""

import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.made_office import open_document, packed
from worker.documents.read import Document, Rules, read_all
from worker.documents.row import Row
from worker.documents.sheet_cells import lost_in_xls
from worker.documents.sources import DocumentFile
from worker.documents.tables import open_rows
from worker.errors import InputRefused

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><numFmts><numFmt numFmtId="170" formatCode="yyyy-mm-dd"/>'
    '<numFmt numFmtId="171" formatCode="0000"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>'
)


def workbook(*cells: str, more: str = "", names: Sequence[str] = "abcdefgh") -> bytes:
    """A workbook with a header, and a row of these cells."""
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in names[: len(cells)])
    parts: dict[str, str | bytes] = {
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_RELS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELS}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_RELS}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{_RELS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": STYLES,
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData><row r="1">{header}</row><row r="2">{"".join(cells)}</row>{more}</sheetData></worksheet>',
    }
    return packed(**parts)


def document_file(path: Path) -> DocumentFile:
    size, when = path.stat().st_size, datetime(2026, 1, 1, tzinfo=UTC)
    return DocumentFile(str(path), str(path.parent), path.name, size, when, str(path))


def values(path: Path) -> Row:
    (row,) = open_rows(path)
    return row


OFFICE = workbook(
    '<c t="e"><v>#N/A</v></c>',
    "<c><f>1+1</f><v></v></c>",
    '<c t="str"><f>T(A1)</f><v></v></c>',
    "<c><v>12345678901234567</v></c>",
    '<c s="1"><v>-5</v></c>',
    '<c s="2"><v>8</v></c>',
    "<c><v>-5</v></c>",
)
OPEN = open_document(
    "spreadsheet",
    '<table:table table:name="S"><table:table-row>'
    + "".join(
        f'<table:table-cell office:value-type="string"><text:p>{name}</text:p></table:table-cell>'
        for name in "abcde"
    )
    + "</table:table-row><table:table-row>"
    '<table:table-cell office:value-type="string" calcext:value-type="error" xmlns:calcext="c"><text:p>#N/A</text:p></table:table-cell>'
    '<table:table-cell table:formula="of:=1+1"/>'
    '<table:table-cell office:value-type="string"><text:p>one<text:s text:c="2"/><text:line-break/>two</text:p><text:p>three</text:p></table:table-cell>'
    '<table:table-cell office:value-type="float" office:value="12345678901234567"><text:p>1.2E16</text:p></table:table-cell>'
    '<table:table-cell office:value-type="time" office:time-value="PT30H05M00S"><text:p>30:05</text:p></table:table-cell>'
    "</table:table-row></table:table>",
)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.xlsx", OFFICE, ["#N/A", "", "", 12345678901234567, "1899-12-25", "0008", -5]),
        ("a.ods", OPEN, ["#N/A", "", "one  \ntwo\nthree", 12345678901234567, "30:05:00"]),
    ],
)
def test_no_cell_is_emptied_or_rounded_without_a_word(
    tmp_path: Path, name: str, data: bytes, expected: list[object]
) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    row = values(path)

    assert row.values is not None
    assert list(row.values.values()) == expected
    assert set(row.quirks) == {"error", "formula"}


@pytest.mark.parametrize(("name", "data"), [("a.xlsx", OFFICE), ("a.ods", OPEN)])
def test_rows_and_sheets_as_documents_have_the_values_that_run_reads(
    tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    file = document_file(path)
    row = values(path)
    assert row.values is not None

    (document,) = read_all(file, Rules(rows=True))
    (sheet,) = read_all(file)

    assert isinstance(document, Document)
    assert isinstance(sheet, Document)
    assert (document.metadata, document.name) == (row.values, f"{name}/S#2")
    assert "#N/A" in sheet.text
    assert " 12345678901234567 " in sheet.text
    assert all("errors (such as #N/A)" in one.notes[0] for one in (document, sheet))


def test_a_sheet_that_reaches_far_out_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(
        workbook("<c><v>1</v></c>", more='<row r="1048576"><c r="XFD1048576"><v>9</v></c></row>')
    )
    with pytest.raises(InputRefused) as refused:
        open_rows(path)
    problem = refused.value.problems[0]
    assert problem.code == "too_large"
    assert "'S' reaches to XFD1048576" in problem.message


def test_cells_merged_over_rows_are_remarked(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["kind", "name"], ["shoe", "a"], [None, "b"]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    book.save(tmp_path / "a.xlsx")

    rows = open_rows(tmp_path / "a.xlsx")

    assert "merged over several rows, such as A2:A3" in " ".join(getattr(rows, "remarks", ()))


def test_errors_of_an_older_workbook_are_remarked() -> None:
    error = b"\x05\x02\x08\x00\x01\x00\x00\x00\x0f\x00\x2a\x01"
    assert lost_in_xls(b"\xd0\xcf\x11\xe0" + bytes(40) + error) == (False, True)
    assert lost_in_xls(b"\xd0\xcf\x11\xe0" + bytes(40) + error.replace(b"\x2a\x01", b"\x01\x00")) == (
        False,
        False,
    )


def test_what_is_damaged_within_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(io.BytesIO(OFFICE)) as packed_, zipfile.ZipFile(path, "w") as out:
        for name in packed_.namelist():
            data = packed_.read(name)
            out.writestr(name, data[: len(data) // 2] if "sheet1" in name else data)
    with pytest.raises(InputRefused, match="not a spreadsheet that can be read"):
        list(open_rows(path))


def test_a_row_without_text_says_which_cells_are_empty_and_why(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(workbook("<c><v>1</v></c>", "<c><f>1+1</f></c>", names=["id", "text"]))
    page = tmp_path / "b.xls"
    page.write_text("<html></html>")

    refused = [error for name in (path, page) for error in read_all(document_file(name), Rules(rows=True))]

    assert [getattr(error, "message", "")[:60] for error in refused] == [
        "the column text is empty; formulas without a stored result, ",
        "not a spreadsheet, but a page of HTML or XML; open it in a s",
    ]
