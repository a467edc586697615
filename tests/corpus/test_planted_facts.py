"""Every word that other programs show in a document or a row is read, and none that they do not show."""

import json
import re
from pathlib import Path

import pytest

from worker.documents.bounded import Reader
from worker.documents.read import Document, is_table, read_all
from worker.documents.sources import find_documents

HERE = Path(__file__).parent
PLANTED = {entry["file"]: entry for entry in json.loads((HERE / "planted.json").read_text())}
WORD = re.compile(r"(?:ZQ|HX)[0-9A-F]{8}")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """File → all that is read of it: the text of a document, the columns of its rows, its attachments."""
    read: dict[str, str] = {}
    with Reader() as reader:
        for folder in (HERE / "documents", HERE / "rows"):
            for found in find_documents(["*"], [folder]):
                parts = []
                for document in read_all(found, reader=reader):
                    assert isinstance(document, Document), document
                    parts.append(document.text)
                    if document.row:
                        parts += [str(value) for value in document.metadata.values()]
                read[found.name] = "\n".join(parts)
    return read


def test_the_corpus_is_whole() -> None:
    documents = [name for name in PLANTED if not is_table(name)]
    rows = sum(len(entry["shown"]) for name, entry in PLANTED.items() if is_table(name) and "arrow" in name)
    rows += sum(
        len(entry["shown"]) // 2 for name, entry in PLANTED.items() if is_table(name) and "arrow" not in name
    )

    assert len(documents) == 80
    assert rows == 300
    assert {entry["program"] for entry in PLANTED.values()} >= {
        "python-docx",
        "LibreOffice",
        "Pandoc",
        "ReportLab",
        "Arrow",
    }


def test_no_word_that_a_program_shows_is_missing(texts: dict[str, str]) -> None:
    missing = [
        (name, word) for name, entry in PLANTED.items() for word in entry["shown"] if word not in texts[name]
    ]

    assert not missing


def test_no_word_that_a_program_does_not_show_is_read(texts: dict[str, str]) -> None:
    """But for the target of a link on a page, which is read beside its words."""
    without_targets = {name: re.sub(r"\]\([^)\s]*\)", "]", text) for name, text in texts.items()}

    false = [
        (name, word)
        for name, entry in PLANTED.items()
        for word in entry["hidden"]
        if word in without_targets[name]
    ]

    assert not false


def test_each_word_is_read_once(texts: dict[str, str]) -> None:
    twice = [
        (name, word)
        for name, entry in PLANTED.items()
        if not is_table(name)
        for word in entry["shown"]
        if texts[name].count(word) > 1
    ]

    assert not twice


def test_what_the_export_of_libreoffice_shows_is_read(texts: dict[str, str]) -> None:
    exports = {
        path.name.removesuffix(".txt"): path.read_text("utf-8-sig") for path in (HERE / "exports").iterdir()
    }
    assert len(exports) > 30

    missing = [
        (name, word)
        for name, text in exports.items()
        for word in sorted(set(WORD.findall(text)) - set(PLANTED[name]["hidden"]))
        if word not in texts[name]
    ]

    assert not missing
