"""What each kind of document says, and which are refused by what name."""

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_documents import docx_of, encrypted, pdf_of
from tests.unit.documents.reading import read_document
from worker.documents.bounded import Reader
from worker.documents.formats.reading import read_bytes
from worker.documents.read import Document, read_all, read_images
from worker.documents.sources import DocumentFile, find_documents
from worker.errors import DocumentRefused


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(seconds=20) as reader:
        reader.read("first.txt", b"The child belongs to this fixture, not to a test.", "text/plain", None)
        yield reader


def kept(folder: Path, name: str, data: bytes | str) -> DocumentFile:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    [found] = find_documents([name], [folder])
    return found


def test_a_text_is_read_in_the_encoding_it_is_written_in(tmp_path: Path, reader: Reader) -> None:
    chinese = "夜深了，路灯下只有风。第二天一早，雪停了。"

    for encoding in ("utf-8", "gb18030", "utf-16"):
        document = read_document(kept(tmp_path, "a.txt", chinese.encode(encoding)), reader=reader)
        assert (document.text, document.encoding) == (chinese, encoding)


def test_front_matter_of_markdown_becomes_metadata(tmp_path: Path, reader: Reader) -> None:
    found = kept(
        tmp_path, "a.md", "---\ntitle: Snow\ndate: 1925-01-18\ntags: [a, b]\n---\n\n# Snow\n\nIt fell.\n"
    )

    document = read_document(found, reader=reader)

    assert document.metadata == {"title": "Snow", "date": "1925-01-18", "tags": ["a", "b"]}
    assert document.text == "# Snow\n\nIt fell.\n"


def test_front_matter_that_is_none_stays_text(tmp_path: Path, reader: Reader) -> None:
    for text in ("---\nnot: [closed\n---\nText.\n", "---\njust words\n---\nText.\n"):
        assert read_document(kept(tmp_path, "a.md", text), reader=reader).text == text


def test_of_html_what_a_reader_sees_is_taken(tmp_path: Path, reader: Reader) -> None:
    page = """<html lang="en"><head><title>A  page</title><meta name="author" content="Ann">
    <style>p {}</style></head><body><h2>Head</h2><p>One <b>bold</b>&nbsp;word.</p><script>evil()</script>
    <p hidden>Not shown.</p><ul><li>first</li><li><p>second</p></li></ul><pre>a
  b</pre></body></html>"""

    document = read_document(kept(tmp_path, "a.html", page), reader=reader)

    assert document.text == "## Head\n\nOne bold word.\n\n- first\n- second\n\na\n  b\n"
    assert document.metadata == {"title": "A page", "author": "Ann", "language": "en"}


def test_html_is_read_in_the_encoding_it_names(tmp_path: Path, reader: Reader) -> None:
    page = '<meta charset="cp1252"><p>Café</p>'.encode("cp1252")

    assert read_document(kept(tmp_path, "a.html", page), reader=reader).text == "Café\n"


def test_a_pdf_is_read_by_pages(tmp_path: Path, reader: Reader) -> None:
    found = kept(tmp_path, "a.pdf", pdf_of(["First page.", "", "Third page."], title="Three"))

    document = read_document(found, reader=reader)

    assert document.pages == ("First page.", "", "Third page.")
    assert document.text == "First page.\n\n\n\nThird page."
    assert document.metadata["title"] == "Three"
    assert document.metadata["pages_without_text"] == [2]


def test_a_docx_is_read_in_its_order_with_its_tables(tmp_path: Path, reader: Reader) -> None:
    document = read_document(kept(tmp_path, "a.docx", docx_of("A letter", ["Dear 先生,"])), reader=reader)

    assert document.text == "# A letter\n\nDear 先生,\n\nleft | right\n"
    assert document.metadata["title"] == "A letter"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t", "no_text"),
        ("a.txt", b"\x00\x01\x02binary", "unreadable"),
        ("a.txt", b"caf\xe9 cr\xe8me", "unreadable"),
        ("a.html", b"<html><body><script>x</script></body></html>", "no_text"),
        ("a.pdf", b"%PDF-1.4 rubbish", "unreadable"),
        ("a.pdf", b"no pdf at all", "unreadable"),
        ("a.pdf", pdf_of(["", ""]), "no_text"),
        ("a.pdf", encrypted(pdf_of(["Secret."])), "encrypted"),
        ("a.docx", b"PK\x03\x04rubbish", "unreadable"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "unknown_format"),
        ("a.md", "---\na: &a [" + "x, " * 9 + "x]\n" + "".join(
            f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
        ) + "---\ntext", "too_large"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:12],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, reader: Reader, name: str, data: bytes | str, code: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        read_document(kept(tmp_path, name, data), reader=reader)

    assert refused.value.code == code, refused.value


def test_a_docx_of_some_kilobytes_that_unpacks_to_far_more_is_refused(tmp_path: Path, reader: Reader) -> None:
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))

    with pytest.raises(DocumentRefused) as refused:
        read_document(kept(tmp_path, "a.docx", bomb.getvalue()), reader=reader)

    assert refused.value.code == "too_large"


def test_a_scan_names_its_pages(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(DocumentRefused) as refused:
        read_document(kept(tmp_path, "a.pdf", pdf_of(["", "", ""])), reader=reader)

    assert refused.value.pages == (1, 2, 3)


def test_a_document_that_kills_its_reader_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is given a module path on which the library for HTML ends it at once."""
    (tmp_path / "selectolax").mkdir()
    (tmp_path / "selectolax" / "__init__.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    deadly, good = kept(tmp_path, "a.html", "<p>x</p>"), kept(tmp_path, "b.txt", "Fine.")

    with Reader() as reader:
        with pytest.raises(DocumentRefused) as refused:
            read_document(deadly, reader=reader)
        after = read_document(good, reader=reader)

    assert refused.value.code == "unreadable"
    assert after.text == "Fine."


def test_a_document_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "selectolax").mkdir()
    (tmp_path / "selectolax" / "__init__.py").write_text("while True: pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with Reader(seconds=0.7) as reader, pytest.raises(DocumentRefused) as refused:
        read_document(kept(tmp_path, "a.html", "<p>x</p>"), reader=reader)

    assert refused.value.code == "too_large"


def test_a_reader_that_takes_all_memory_is_refused_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "selectolax").mkdir()
    (tmp_path / "selectolax" / "__init__.py").write_text("hoard = bytearray(1 << 31)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with Reader(memory=1 << 30) as reader, pytest.raises(DocumentRefused) as refused:
        read_document(kept(tmp_path, "a.html", "<p>x</p>"), reader=reader)

    assert refused.value.code == "too_large"


def test_each_row_of_a_table_is_a_document_and_a_bad_one_is_told(tmp_path: Path) -> None:
    found = kept(tmp_path, "a.csv", "text,n\nhello,1\nworld,2,3\n,4\n,\n")

    hello, bad, blank = read_all(found)

    assert isinstance(hello, Document)
    assert (hello.name, hello.text, hello.metadata) == ("a.csv#2", "hello", {"text": "hello", "n": "1"})
    assert isinstance(bad, DocumentRefused)
    assert bad.code == "unreadable"
    assert isinstance(blank, DocumentRefused)
    assert blank.code == "no_text"


def test_rows_of_json_lines_without_a_text_are_written_out(tmp_path: Path) -> None:
    [row] = read_all(kept(tmp_path, "a.jsonl", '{"title": "Snow", "year": 1925, "note": null}\n'))

    assert isinstance(row, Document)
    assert row.text == "title: Snow\nyear: 1925"


def test_pages_become_images_and_an_image_is_one(tmp_path: Path, reader: Reader) -> None:
    import base64

    from PIL import Image

    pages = read_images(kept(tmp_path, "a.pdf", pdf_of(["One.", ""])), reader=reader)
    assert pages.render is not None
    images = pages.render(pages.image_pages)
    picture = read_images(kept(tmp_path, "a.png", base64.b64decode(images[0])), reader=reader)

    sizes = [Image.open(io.BytesIO(base64.b64decode(image))).size for image in images]
    assert sizes == [(1240, 1755), (1240, 1755)]
    assert picture.render is not None
    assert picture.render(picture.image_pages) == images[:1]


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1250", "utf-8", "utf-16"])
def test_a_text_of_xml_is_read_in_the_encoding_that_it_declares(encoding: str) -> None:
    page = f'<?xml version="1.0" encoding="{encoding}"?>\n<note>Grüße</note>\n'

    assert read_bytes(page.encode(encoding), "a.xml")["text"] == page
