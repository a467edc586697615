"""Numbers that a spreadsheet shows with leading zeros."""

import zipfile
from pathlib import Path

import openpyxl
import pytest

from worker.documents.leading_zeros import zero_format
from worker.documents.row import Rows
from worker.documents.sheet_cells import lost_in_xls
from worker.documents.tables import ReadingRules, open_rows
from worker.errors import InputRefused

ODS = """<office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:style="s" xmlns:number="n">
<office:automatic-styles>
<number:number-style style:name="N1"><number:number number:min-integer-digits="4"/></number:number-style>
<number:number-style style:name="N2"><number:number number:min-integer-digits="1"/></number:number-style>
<style:style style:name="four" style:family="table-cell" style:data-style-name="N1"/>
<style:style style:name="bold" style:family="table-cell" style:parent-style-name="four"/>
<style:style style:name="one" style:family="table-cell" style:data-style-name="N2"/>
</office:automatic-styles>
<office:body><office:spreadsheet>
<table:table table:name="notes"><table:table-row><table:table-cell office:value-type="float" office:value="5"
  table:style-name="four"><text:p>0005</text:p></table:table-cell></table:table-row></table:table>
<table:table table:name="goods">
<table:table-column table:default-cell-style-name="four"/>
<table:table-column table:default-cell-style-name="one" table:number-columns-repeated="1023"/>
<table:table-row><table:table-cell office:value-type="string"><text:p>id</text:p></table:table-cell>
<table:table-cell office:value-type="string"><text:p>code</text:p></table:table-cell>
<table:table-cell office:value-type="string"><text:p>price</text:p></table:table-cell></table:table-row>
<table:table-row table:number-rows-repeated="2">
<table:table-cell office:value-type="float" office:value="8"><text:p>0008</text:p></table:table-cell>
<table:table-cell table:style-name="bold" office:value-type="float" office:value="12345"><text:p>12345</text:p></table:table-cell>
<table:table-cell office:value-type="float" office:value="8"><text:p>8</text:p></table:table-cell></table:table-row>
</table:table></office:spreadsheet></office:body></office:document-content>"""


def values(rows: Rows) -> list[list[object]]:
    return [list((row.values or {}).values()) for row in rows]


@pytest.fixture
def postal(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        [None],
        [None, "id", "plz", "price", "n"],
        [None, 8, 1067, 8.5, 8],
        [],
        [None, 12345, 80331, 9, 0],
    ):
        sheet.append(row)
    for number in (3, 5):
        sheet[f"B{number}"].number_format = '"SKU-"0000'
        sheet[f"C{number}"].number_format = "[$-407]00000"
        sheet[f"D{number}"].number_format = "0.00"
    book.create_sheet("other").append(["id"])
    book.save(tmp_path / "postal.xlsx")
    return tmp_path / "postal.xlsx"


def test_a_number_of_a_workbook_keeps_the_zeros_that_a_person_sees(postal: Path) -> None:
    rows = open_rows(postal)

    assert values(rows) == [["SKU-0008", "01067", 8.5, 8], ["SKU-12345", "80331", 9, 0]]
    assert values(rows) == values(rows), "each iteration reads the sheet again"


def test_a_workbook_without_such_formats_is_read_without_its_xml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["id"])
    book.active.append([8])
    book.save(tmp_path / "a.xlsx")
    monkeypatch.setattr("worker.documents.sheet_cells.odd_rows", None)

    assert values(open_rows(tmp_path / "a.xlsx")) == [[8]]


def test_a_number_of_an_open_document_keeps_the_zeros_that_a_person_sees(tmp_path: Path) -> None:
    path = tmp_path / "goods.ods"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("META-INF/manifest.xml", "<manifest/>")
        packed.writestr("content.xml", " ".join(ODS.split()).replace("> <", "><"))

    assert values(open_rows(path, ReadingRules(sheet="goods"))) == [["0008", "12345", 8]] * 2


def test_a_damaged_sheet_is_refused(postal: Path) -> None:
    damaged = postal.with_name("damaged.xlsx")
    with zipfile.ZipFile(postal) as packed, zipfile.ZipFile(damaged, "w") as out:
        for name in packed.namelist():
            data = packed.read(name)
            out.writestr(name, data.replace(b"numFmts", b"numFmtz", 1) if name == "xl/styles.xml" else data)
    with pytest.raises(InputRefused, match="not a spreadsheet that can be read"):
        list(open_rows(damaged))


def test_an_xls_with_such_a_format_is_named(tmp_path: Path) -> None:
    record = b"\x1e\x04\x0a\x00\xa4\x00\x05\x00\x0000000"
    path = tmp_path / "old.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 100 + record)
    assert lost_in_xls(path)[0]
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 100 + record.replace(b"00000", b"#,##0"))
    assert not lost_in_xls(path)[0]


@pytest.mark.parametrize(
    ("code", "number", "shown"),
    [
        ("00000", 7, "00007"),
        ("00000", -7, "-00007"),
        ("000-00-0000", 12345678, "012-34-5678"),
        ("[<=99999]00000;00000-0000", 123456789, "12345-6789"),
        ('00\\/00" x"', 1234567, "12345/67 x"),
        ("00;#,##0.00", 5, "05"),
    ],
)
def test_a_number_is_shown_as_its_format_says(code: str, number: int, shown: str) -> None:
    form = zero_format(code)
    assert form is not None
    assert form.text(number) == shown


@pytest.mark.parametrize(
    "code", ["0", "General", "0.00", "00.00", "#,##0", "0%", "yyyy-mm-dd", "0.00E+00", "@", ""]
)
def test_what_fills_nothing_up_is_no_such_format(code: str) -> None:
    assert zero_format(code) is None
