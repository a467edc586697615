"""Formats that no reader knows are refused by name, whatever their ending says, and never sent as text."""

import io
import zipfile

import pytest

from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes


def archive(*names: str, mimetype: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        if mimetype:
            file.writestr("mimetype", mimetype)
        for name in names:
            file.writestr(name, "x")
    return out.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
RTF = rb"{\rtf1\ansi M\'fcnchen}"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", RTF, ("RTF", ".rtf")),
        ("a.doc", RTF, ("RTF", ".rtf")),
        ("a.md", RTF, ("RTF",)),
        ("a.txt", b"%PDF-1.4\n", ("PDF", ".pdf")),
        ("a", b"%PDF-1.4\n", ("PDF", "no ending")),
        ("a.docx", b"%PDF-1.4\n", ("PDF", ".docx")),
        ("a.pdf", archive("[Content_Types].xml", "word/document.xml"), ("Word", ".docx")),
        ("a.docx", archive("[Content_Types].xml", "xl/workbook.xml"), ("Excel", ".xlsx", ".docx")),
        ("a.txt", archive("[Content_Types].xml", "ppt/presentation.xml"), ("PowerPoint", ".pptx")),
        ("a.txt", archive(mimetype="application/vnd.oasis.opendocument.text"), ("OpenDocument", ".odt")),
        ("a.zip", archive(mimetype="application/epub+zip"), ("e-book", ".epub")),
        ("a.txt", archive("a.txt"), ("archive", ".zip")),
        ("a.doc", OLE + "WordDocument".encode("utf-16-le"), ("older Word", ".docx")),
        ("a.txt", OLE + "Workbook".encode("utf-16-le"), ("Excel", ".xls")),
        ("a.doc", OLE + "__properties_version1.0".encode("utf-16-le"), ("Outlook", ".msg")),
        ("a.txt", b"\x1f\x8b\x08\x00", ("packed", "unpack")),
        ("a.log.gz", b"\x1f\x8b\x08\x00", ("packed", "unpack")),
        ("a.db", b"SQLite format 3\x00", ("database", "CSV")),
        ("a.png", b"\x89PNG\r\n\x1a\n", ("picture", "--scans images")),
        ("scan", b"\xff\xd8\xff\xe0", ("picture", "--scans images")),
        ("a.eps", b"%!PS-Adobe-3.0", ("PostScript", "PDF")),
        ("a.fodt", b"<?xml version='1.0'?><office:document office:version='1.2'/>", ("OpenDocument",)),
        ("a.xml", b"<?xml version='1.0'?><w:wordDocument/>", ("older Word",)),
        ("a.mht", b"MIME-Version: 1.0\n", ("web archive", ".html")),
    ],
)  # fmt: skip
def test_a_format_that_is_not_read_is_named_with_a_remedy(
    name: str, data: bytes, words: tuple[str, ...]
) -> None:
    with pytest.raises(Refused) as refused:
        read_bytes(data, name)

    assert refused.value.code == "unknown_format"
    assert all(word in refused.value.message for word in words), refused.value.message


@pytest.mark.parametrize(
    "name",
    [
        "a.log",
        "a.tex",
        "a.srt",
        "a.py",
        "a.json",
        "a.xml",
        "a.yaml",
        "README",
        ".profile",
        "a.key",
        "a.doc",
        "a.ics",
    ],
)
def test_texts_of_any_ending_are_read(name: str) -> None:
    assert read_bytes(b"<a>plain text</a>\n", name)["text"] == "<a>plain text</a>\n"


def test_bytes_that_are_no_text_are_refused() -> None:
    for data in (b"\x00\x01binary", bytes(range(1, 9)) * 50):
        with pytest.raises(Refused) as refused:
            read_bytes(data, "a.dat")
        assert refused.value.code == "unreadable"
