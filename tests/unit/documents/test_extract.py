"""A command of the user's own reads documents: bounded, cached, and named by the document that it fails for."""

import shlex
import sys
from pathlib import Path

import pytest

from worker.documents.bounded import Reader
from worker.documents.cache import CachedReader, TextCache
from worker.documents.extract import extract
from worker.documents.read import Document, Rules, read_all
from worker.documents.sources import DocumentFile, find_documents
from worker.errors import DocumentRefused


def script(folder: Path, body: str) -> str:
    """A command that runs this Python; ``data`` is the file's content."""
    path = folder / "extract.py"
    path.write_text(f"import sys, time, os, subprocess\ndata = open(sys.argv[1], 'rb').read()\n{body}\n")
    return f"{shlex.quote(sys.executable)} -S {shlex.quote(str(path))}"


def kept(folder: Path, name: str, data: bytes) -> DocumentFile:
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / name).write_bytes(data)
    [found] = find_documents([name], [inbox])
    return found


def test_what_the_command_prints_is_the_text_and_its_front_matter_the_metadata(tmp_path: Path) -> None:
    command = script(tmp_path, "print('---\\ntitle: Scan\\n---\\n# Read:', data.decode(), sys.argv[1][-4:])")

    [document] = read_all(kept(tmp_path, "a.png", b"pixels"), Rules(extract=command))

    assert isinstance(document, Document)
    assert document.text == "# Read: pixels .png\n"
    assert document.metadata == {"title": "Scan"}
    assert document.media_type == "text/plain"


def test_the_file_stands_where_the_command_has_braces(tmp_path: Path) -> None:
    assert extract("cat {} - </dev/null | tr a-z A-Z", "a.pdf", "a.pdf", b"words") == b"WORDS"


def test_texts_and_tables_are_read_by_ourselves_and_what_the_command_leaves_too(tmp_path: Path) -> None:
    command = script(tmp_path, "sys.exit(77)")
    rules = Rules(extract=command)

    [text] = read_all(kept(tmp_path, "a.txt", b"Plain."), Rules(extract="exit 1;"))
    [row] = read_all(kept(tmp_path, "a.csv", b"text\nRow.\n"), Rules(extract="exit 1;"))
    [page] = read_all(kept(tmp_path, "a.html", b"<p>Page.</p>"), rules)

    assert [one.text for one in (text, row, page) if isinstance(one, Document)] == [
        "Plain.",
        "Row.",
        "Page.\n",
    ]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("print('no such model', file=sys.stderr); sys.exit(3)", "unreadable", "ended with 3: no such model"),
        ("os.kill(os.getpid(), 9)", "unreadable", "--extract ended"),
        ("pass", "no_text", "printed nothing"),
        ("time.sleep(60)", "too_large", "longer than 1 s"),
        ("subprocess.Popen(['sleep', '60']); print('x', flush=True)", "too_large", "longer than 1 s"),
        ("while True: print('x' * 65536)", "too_large", "more than 100,000 bytes"),
        ("held = bytearray(512 << 20); held[::4096] = b'x' * (1 << 17)", "unreadable", "MemoryError"),
    ],
)
def test_a_command_that_fails_or_knows_no_bounds_costs_its_document_alone(
    tmp_path: Path, body: str, code: str, words: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        extract(
            script(tmp_path, body),
            "/in/a.pdf",
            "a.pdf",
            b"x",
            seconds=1,
            memory=256 << 20,
            most=100_000,
        )

    assert refused.value.code == code
    assert refused.value.path == "/in/a.pdf"
    assert words in refused.value.message


def test_a_text_is_kept_until_the_document_or_the_command_changes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    count = f"open({str(log)!r}, 'a').write('x'); print('Text.')"
    command = script(tmp_path, count)
    found = kept(tmp_path, "a.pdf", b"one")

    def runs(command: str) -> int:
        log.write_text("")
        with CachedReader(TextCache(tmp_path / "texts")) as reader:
            [document] = read_all(found, Rules(extract=command), reader=reader)
        assert isinstance(document, Document)
        assert document.text == "Text.\n"
        return len(log.read_text())

    first, again = runs(command), runs(command)
    script(tmp_path, f"{count}  # a newer version")
    newer = runs(command)
    kept(tmp_path, "a.pdf", b"two")
    changed = runs(command)

    assert (first, again, newer, changed) == (1, 0, 1, 1)


def test_a_command_that_prints_what_is_no_text_is_refused_by_the_document(tmp_path: Path) -> None:
    with Reader() as reader:
        [refused] = read_all(
            kept(tmp_path, "a.pdf", b"x"), Rules(extract="printf 'PK\\003\\004%s' x; true"), reader=reader
        )

    assert isinstance(refused, DocumentRefused)
    assert refused.path.endswith("a.pdf")
