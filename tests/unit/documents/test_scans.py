"""Pages without text: refused, left out by name, or shown to a model that sees."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_documents import pdf_of
from worker.documents.bounded import Reader
from worker.documents.read import Document, Rules, Scans, read_all
from worker.documents.sources import DocumentFile, find_documents
from worker.documents.templates import prompt_text
from worker.door.document_lines import Templates, Window, job_lines
from worker.errors import DocumentRefused

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(seconds=20) as reader:
        reader.read("first.txt", b"The child belongs to this fixture, not to a test.", "text/plain", None)
        yield reader


def kept(folder: Path, name: str, data: bytes) -> DocumentFile:
    (folder / name).write_bytes(data)
    [found] = find_documents([name], [folder])
    return found


def read(folder: Path, name: str, data: bytes, scans: Scans, reader: Reader) -> Document | DocumentRefused:
    [one] = read_all(kept(folder, name, data), Rules(scans=scans), reader=reader)
    return one


TEMPLATES = Templates(prompt_text("Sum up: {{ document.text }}", source="--prompt"))


def test_a_document_with_a_scanned_page_is_refused_by_its_pages_where_scans_are(
    tmp_path: Path, reader: Reader
) -> None:
    mixed = pdf_of(["First.", "", "Third."])

    refused = read(tmp_path, "a.pdf", mixed, "refuse", reader)
    skipped = read(tmp_path, "a.pdf", mixed, "skip", reader)

    assert isinstance(refused, DocumentRefused)
    assert (refused.code, refused.pages) == ("no_text", (2,))
    assert "without 1 of its 3 pages, which has no text: 2" in refused.message
    assert isinstance(skipped, Document)
    assert skipped.blank_pages == (2,)


def test_only_the_pages_without_text_are_shown_and_the_text_says_where_they_belong(
    tmp_path: Path, reader: Reader
) -> None:
    document = read(tmp_path, "a.pdf", pdf_of(["First.", "", "Third."]), "images", reader)
    assert isinstance(document, Document)

    [line] = job_lines(document, TEMPLATES, None, long="refuse")

    assert line["prompt"] == "Sum up: First.\n\n[page 2: image 1]\n\nThird."
    assert [base64.b64decode(image)[:8] for image in line["images"]] == [PNG]
    assert line["metadata"]["pages_as_images"] == [2]
    assert "pages_without_text" not in line["metadata"]
    assert document.blank_pages == ()


def test_a_whole_scan_and_a_picture_are_asked_by_their_pictures(tmp_path: Path, reader: Reader) -> None:
    scan = read(tmp_path, "a.pdf", pdf_of(["", ""]), "images", reader)
    photo = read(tmp_path, "b.png", PNG + b"pixels", "images", reader)
    assert isinstance(scan, Document)
    assert isinstance(photo, Document)

    [pages], [picture] = (job_lines(one, TEMPLATES, None, long="refuse") for one in (scan, photo))

    assert pages["prompt"] == "Sum up: [page 1: image 1]\n\n[page 2: image 2]"
    assert len(pages["images"]) == 2
    assert picture["images"] == [base64.b64encode(PNG + b"pixels").decode()]


def test_a_document_with_text_on_each_page_is_read_alike_whatever_is_said_of_scans(
    tmp_path: Path, reader: Reader
) -> None:
    data = pdf_of(["First.", "Second."])
    plain, seen = (read(tmp_path, "a.pdf", data, scans, reader) for scans in ("skip", "images"))

    assert plain == seen


def test_each_part_of_a_long_document_has_the_pictures_of_its_own_pages(
    tmp_path: Path, reader: Reader
) -> None:
    words = "\n".join("One line of words that fills the page. " * 2 for _ in range(50))
    document = read(tmp_path, "a.pdf", pdf_of([words, "", words, "", words]), "images", reader)
    assert isinstance(document, Document)

    lines = job_lines(document, TEMPLATES, Window(4000, 500), long="split")

    assert len(lines) > 1
    assert [line["prompt"].count(": image ") for line in lines] == [
        len(line.get("images", ())) for line in lines
    ]
    assert sum(len(line.get("images", ())) for line in lines) == 2


def test_a_document_that_is_not_asked_is_not_rendered(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object) -> list[str]:
        raise AssertionError("rendered")

    monkeypatch.setattr(Reader, "render", render)

    document = read(tmp_path, "a.pdf", pdf_of(["First.", ""]), "images", reader)

    assert isinstance(document, Document)
    assert document.image_pages == (2,)
