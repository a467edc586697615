# ruff: noqa: E501  lines of XML
"""Office documents, archives and workbooks as documents: what they say, each sheet and file on its own."""

import io
import socket
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.made_office import epub, open_document, outlook, packed, pptx
from worker.documents.formats.archive import read_archive
from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes
from worker.documents.read import Document, Rules, read_all
from worker.documents.sources import DocumentFile
from worker.errors import DocumentRefused

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def workbook(**sheets: list[list[str]]) -> bytes:
    """A workbook with these sheets of texts."""
    parts: dict[str, str | bytes] = {}
    kinds, links, named = "", "", ""
    for n, (name, rows) in enumerate(sheets.items(), start=1):
        cells = "".join(
            f'<row r="{r}">'
            + "".join(
                f'<c r="{"ABC"[c]}{r}" t="inlineStr"><is><t>{v}</t></is></c>' for c, v in enumerate(row)
            )
            + "</row>"
            for r, row in enumerate(rows, start=1)
        )
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'<worksheet xmlns="{_MAIN}"><sheetData>{cells}</sheetData></worksheet>'
        )
        kinds += f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        links += f'<Relationship Id="r{n}" Type="{_RELS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        named += f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>'
    package = "http://schemas.openxmlformats.org/package/2006"
    parts["[Content_Types].xml"] = (
        f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>{kinds}</Types>'
    )
    parts["_rels/.rels"] = (
        f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{_RELS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    )
    parts["xl/workbook.xml"] = (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELS}"><sheets>{named}</sheets></workbook>'
    )
    parts["xl/_rels/workbook.xml.rels"] = (
        f'<Relationships xmlns="{package}/relationships">{links}</Relationships>'
    )
    return packed(**parts)


def found(tmp_path: Path, name: str, data: bytes) -> DocumentFile:
    path = tmp_path / name
    path.write_bytes(data)
    return DocumentFile(
        str(path), str(tmp_path), name, len(data), datetime(2026, 1, 1, tzinfo=UTC), str(path)
    )


ODT = open_document("text", '<text:h text:outline-level="1">Offer</text:h><text:p>250 EUR</text:p>')


def cells(*words: str) -> str:
    return "".join(
        f'<table:table-cell office:value-type="string"><text:p>{word}</text:p></table:table-cell>'
        for word in words
    )


ODS = open_document(
    "spreadsheet",
    f'<table:table table:name="Prices"><table:table-row>{cells("name", "price")}</table:table-row>'
    f"<table:table-row>{cells('bolt', '12')}</table:table-row></table:table>"
    f'<table:table table:name="Costs"><table:table-row>{cells("lab")}</table:table-row></table:table>',
)
ODP = open_document(
    "presentation",
    '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Quarter</text:p></draw:text-box></draw:frame>'
    "<draw:frame><draw:text-box><text:list><text:list-item><text:p>Rises<text:line-break/>by 4 %</text:p><text:list>"
    "<text:list-item><text:p>deep</text:p></text:list-item></text:list></text:list-item></text:list></draw:text-box></draw:frame>"
    f"<draw:frame><table:table><table:table-row>{cells('bolt', '12')}</table:table-row></table:table></draw:frame>"
    "<presentation:notes><draw:frame><draw:text-box><text:p>Smile.</text:p></draw:text-box></draw:frame></presentation:notes>"
    "</draw:page>",
)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("memo.rtf", rb"{\rtf1\ansi\ansicpg1252 M\'fcnchen is \u8364?12,000}", "München is €12,000"),
        ("offer.odt", ODT, "# Offer\n\n250 EUR"),
        ("prices.xlsx", workbook(Prices=[["name", "price"], ["bolt", "12"]]), "| bolt | 12 |"),
        ("prices.ods", ODS, "| bolt | 12 |"),
        (
            "talk.pptx",
            pptx(("Quarter", "Rises by 4 %"), ("Year", "Falls")),
            "## Quarter\n\nRises by 4 %\n\n## Year\n\nFalls",
        ),
        ("talk.odp", ODP, "## Quarter\n\n- Rises\nby 4 %\n  - deep\n\nbolt | 12\n\nNotes: Smile."),
        (
            "snow.epub",
            epub("Snow", "<h1>One</h1><p>It fell.</p>", "<p>It <em>melted</em>.</p>"),
            "# One\n\nIt fell.\n\nIt melted.",
        ),
        (
            "offer.msg",
            outlook("Offer", "Ann Lee", "Dear all,\r\n\r\n250 EUR.\r\nAnn"),
            "Dear all,\n\n250 EUR.\nAnn",
        ),
    ],
)
def test_an_office_document_is_read_as_text(name: str, data: bytes, words: str) -> None:
    assert words in read_bytes(data, name)["text"]


def test_what_an_office_document_tells_of_itself_is_its_metadata() -> None:
    book = read_bytes(epub("Snow", "<p>It fell.</p>"), "snow.epub")
    mail = read_bytes(outlook("Offer", "Ann Lee", "250 EUR."), "offer.msg")

    assert book["metadata"]["title"] == "Snow"
    assert (mail["metadata"]["subject"], mail["metadata"]["authors"]) == ("Offer", ["Ann Lee"])


def test_each_sheet_of_an_open_document_is_a_document(tmp_path: Path) -> None:
    read = list(read_all(found(tmp_path, "book.ods", ODS)))

    assert [one.name for one in read if isinstance(one, Document)] == ["book.ods/Prices", "book.ods/Costs"]


def test_each_row_of_a_workbook_is_a_document_where_rows_are_wanted(tmp_path: Path) -> None:
    book = workbook(
        Prices=[["name", "price", ""], ["bo|lt", "12", "new"], ["", "", ""], ["nut", "3", ""]],
        Empty=[],
        Header=[["a"]],
    )
    rules = Rules(rows=True)

    rows = list(read_all(found(tmp_path, "book.xlsx", book), rules))
    packed_rows = list(
        read_all(found(tmp_path, "all.zip", packed(**{"book.xlsx": book, "b.ods": ODS})), rules)
    )

    assert [(one.name, one.text, one.metadata) for one in rows if isinstance(one, Document) and one.row] == [
        ("book.xlsx/Prices#4", "name: nut\nprice: 3", {"name": "nut", "price": "3"}),
    ]
    assert [(one.path[-18:], one.message) for one in rows if isinstance(one, DocumentRefused)] == [
        (
            "book.xlsx/Prices#2",
            "a value in column C, which has no name; name the column in row 1, or remove the value",
        )
    ]
    assert [one.name for one in packed_rows if isinstance(one, Document)] == [
        "all.zip/book.xlsx/Prices#4",
        "all.zip/b.ods/Prices#2",
    ]


def test_a_sheet_whose_columns_have_one_name_has_no_rows(tmp_path: Path) -> None:
    book = workbook(Prices=[["name", "name"], ["bolt", "12"]])

    [refused] = read_all(found(tmp_path, "book.xlsx", book), Rules(rows=True))

    assert isinstance(refused, DocumentRefused)
    assert refused.message.startswith("two columns are named 'name', A and B")
    assert refused.path.endswith("book.xlsx/Prices")


def test_each_sheet_is_a_document_that_another_sheet_does_not_touch(tmp_path: Path) -> None:
    rows = [["name", "price"], ["bolt", "12"]]
    before = read_all(
        found(tmp_path, "book.xlsx", workbook(Prices=rows, Costs=[["dept"], ["lab"]], Empty=[]))
    )
    names = {one.name: one.sha256 for one in before if isinstance(one, Document)}
    after = read_all(found(tmp_path, "book.xlsx", workbook(Prices=rows, Costs=[["dept"], ["shop"]])))
    changed = {one.name: one.sha256 for one in after if isinstance(one, Document)}

    assert list(names) == ["book.xlsx/Prices", "book.xlsx/Costs"] == list(changed)
    assert names["book.xlsx/Prices"] == changed["book.xlsx/Prices"]
    assert names["book.xlsx/Costs"] != changed["book.xlsx/Costs"]


def test_the_files_of_an_archive_are_documents_and_one_that_cannot_be_read_stops_no_other(
    tmp_path: Path,
) -> None:
    files: dict[str, str | bytes] = {
        "a/one.txt": "One.",
        "b.exe": b"\x7fELF",
        "__MACOSX/._one.txt": "x",
        "c.csv": "text\nRow.\n",
    }
    data = packed(**files)

    read = list(read_all(found(tmp_path, "all.zip", data)))

    assert [one.name for one in read if isinstance(one, Document)] == ["all.zip/a/one.txt", "all.zip/c.csv#2"]
    assert [one.code for one in read if isinstance(one, DocumentRefused)] == ["unknown_format"]


def test_an_archive_too_deep_within_others_costs_only_itself(tmp_path: Path) -> None:
    data = packed(**{"deepest.txt": "Deepest."})
    for level in range(7):
        files: dict[str, str | bytes] = {f"inner{level}.zip": data, f"beside{level}.txt": f"Level {level}."}
        data = packed(**files)

    read = list(read_all(found(tmp_path, "all.zip", data)))

    assert [one.name.rpartition("/")[2] for one in read if isinstance(one, Document)] == [
        f"beside{level}.txt" for level in (2, 3, 4, 5, 6)
    ]
    assert [(one.code, one.path.rpartition("/")[2]) for one in read if isinstance(one, DocumentRefused)] == [
        ("too_large", "inner1.zip"),
        ("too_large", "beside1.txt"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.zip", b"PK\x05\x06" + bytes(18), "empty"),
        ("a.zip", b"PK\x03\x04 damaged", "unreadable"),
        ("a.odt", b"PK\x03\x04 damaged", "unreadable"),
        ("a.xlsx", packed(**{"[Content_Types].xml": "x", "xl/workbook.xml": "x"}), "unreadable"),
    ],
)
def test_what_is_damaged_or_empty_is_refused_by_name(name: str, data: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_bytes(data, name)

    assert refused.value.code == code


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.documents.formats.archive.MOST_ARCHIVED", 1000)

    with pytest.raises(Refused, match="more than 1,000 bytes"):
        read_archive(packed(a="x" * 600, b="x" * 600))


def test_what_reads_documents_has_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import socket; from worker.documents.bounded import leave_network; left = leave_network()\n"
            f"try: socket.create_connection(('127.0.0.1', {port}), 2); print(left, 'connected')\n"
            "except OSError: print(left, 'refused')"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()

    assert said in (["True", "refused"], ["False", "connected"])


def test_two_files_of_one_name_in_an_archive_are_two_documents(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "First.")
        archive.writestr("b.txt", "Second.")
    data = out.getvalue().replace(b"b.txt", b"a.txt")

    read = list(read_all(found(tmp_path, "all.zip", data)))

    texts = {one.name: one.text for one in read if isinstance(one, Document)}
    assert texts == {"all.zip/a.txt": "First.", "all.zip/a~2.txt": "Second."}


def test_a_damaged_file_of_an_archive_costs_only_itself(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.txt", "Good.")
        archive.writestr("bad.txt", "bad " * 1000)
    data = bytearray(out.getvalue())
    start = data.index(b"bad.txt") + len("bad.txt")
    data[start : start + 8] = b"\xff" * 8

    read = list(read_all(found(tmp_path, "all.zip", bytes(data))))

    assert [one.name for one in read if isinstance(one, Document)] == ["all.zip/good.txt"]
    refused = [one for one in read if isinstance(one, DocumentRefused)]
    assert [(one.code, str(one.path).endswith("all.zip/bad.txt")) for one in refused] == [
        ("unreadable", True)
    ]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("中文合同说明书.txt", "gbk"),
        ("日本語のメモ.txt", "cp932"),
        ("café.txt", "utf-8"),
        ("café.txt", "cp437"),
        ("Übersicht der Gebäude.txt", "cp437"),
    ],
)
def test_names_of_old_archives_are_read_in_the_encoding_they_were_written_in(
    name: str, encoding: str
) -> None:
    raw = name.encode(encoding)
    plain = "x" * len(raw)
    data = packed(**{plain: "Text."}).replace(plain.encode(), raw)

    assert [attached for attached, _ in read_archive(data)["attachments"]] == [name]


CHAPTER = '<?xml version="1.0" encoding="{}"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{}</body></html>'


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1251", "utf-16"])
@pytest.mark.parametrize("name", ["c1.xhtml", "глава 1.xhtml"])
def test_no_chapter_of_a_book_is_lost_for_its_name_or_its_encoding(name: str, encoding: str) -> None:
    chapter = CHAPTER.format(encoding, "<p>Привет<script src='x'/> и пока</p>").encode(encoding)
    book = epub("Snow", "<p>First.</p>", "<p>Last.</p>")
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        parts: dict[str, str | bytes] = {one: archive.read(one) for one in archive.namelist()}
    del parts["c1.xhtml"]
    parts[name] = chapter
    parts["book.opf"] = str(parts["book.opf"], "utf-8").replace("c1.xhtml", quote(name))  # type: ignore[arg-type]

    read = read_bytes(packed(**parts), "snow.epub")

    assert read["text"] == "First.\n\nПривет и пока\n"


def test_a_chapter_that_is_not_there_is_named() -> None:
    book = epub("Snow", "<p>First.</p>", "<p>Last.</p>")

    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        parts: dict[str, str | bytes] = {
            one: archive.read(one) for one in archive.namelist() if one != "c1.xhtml"
        }

    read = read_bytes(packed(**parts), "snow.epub")

    assert (read["text"], read["metadata"]["parts_not_read"]) == ("First.\n", ["c1.xhtml"])


def test_notes_charts_and_tables_of_a_slide_are_read() -> None:
    names = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
        'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
        f'xmlns:r="{_RELS}"'
    )
    sp = "<p:sp><p:nvSpPr><p:cNvPr/><p:cNvSpPr/><p:nvPr>{}</p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody></p:sp>"
    cells = "".join(
        f"<a:tc><a:txBody><a:p><a:r><a:t>{one}</a:t></a:r></a:p></a:txBody></a:tc>" for one in ("bolt", "12")
    )
    table = f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr>{cells}</a:tr></a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    chart = '<p:graphicFrame><a:graphic><a:graphicData><c:chart r:id="r1"/></a:graphicData></a:graphic></p:graphicFrame>'
    group = f"<p:grpSp>{sp.format('', 'Within a group')}</p:grpSp>"
    with zipfile.ZipFile(io.BytesIO(pptx(("Quarter", "Rises")))) as archive:
        parts: dict[str, str | bytes] = {one: archive.read(one) for one in archive.namelist()}
    slide = str(parts["ppt/slides/slide1.xml"], "utf-8")  # type: ignore[arg-type]
    shapes = table + chart + group
    parts["ppt/slides/slide1.xml"] = slide.replace("<p:sld ", f"<p:sld {names.split(' ')[2]} ").replace(
        "</p:spTree>", f"{shapes}</p:spTree>"
    )
    relation = '<Relationship Id="r{}" Type="{}/{}" Target="../{}"/>'
    parts["ppt/slides/_rels/slide1.xml.rels"] = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + relation.format(1, _RELS, "chart", "charts/c.xml")
        + relation.format(2, _RELS, "notesSlide", "notes/n.xml")
        + "</Relationships>"
    )
    parts["ppt/charts/c.xml"] = f"<c:chartSpace {names}><c:v>North</c:v><c:v>27</c:v></c:chartSpace>"
    parts["ppt/notes/n.xml"] = (
        f"<p:notes {names}><p:cSld><p:spTree>{sp.format('<p:ph type=&quot;body&quot;/>'.replace('&quot;', chr(34)), 'Smile.')}"
        f"{sp.format('<p:ph type=&quot;sldNum&quot;/>'.replace('&quot;', chr(34)), '1')}</p:spTree></p:cSld></p:notes>"
    )

    text = read_bytes(packed(**parts), "talk.pptx")["text"]

    assert text == "## Quarter\n\nRises\n\nbolt | 12\n\nNorth 27\n\nWithin a group\n\nNotes: Smile.\n"
