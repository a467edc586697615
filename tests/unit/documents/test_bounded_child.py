"""The child that reads documents: its limits where the system takes none, and its last words where it dies."""

import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from worker.documents import bounded
from worker.documents.bounded import MEMORY, MOST_ERRORS, Reader, limit_resources
from worker.errors import DocumentRefused

CHILD = """
import os, sys
sys.path[:] = {path!r}
from worker.documents import bounded
from worker.documents.formats import reading
def read(*_):
    {body}
reading.read_bytes = read
bounded.child()
"""


def child(body: str) -> str:
    """A child whose reader does ``body``. Its arguments are those of any other."""
    return CHILD.format(path=sys.path, body=body)


def test_a_limit_that_the_system_refuses_leaves_the_others() -> None:
    limits = []

    def macos(limit: int, values: tuple[int, int]) -> None:
        if limit == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")
        limits.append((limit, values))

    assert limit_resources(MEMORY, macos) == ["RLIMIT_AS"]
    assert limits == [(resource.RLIMIT_FSIZE, (0, 0)), (resource.RLIMIT_CORE, (0, 0))]


def test_a_lower_limit_of_the_machine_stays() -> None:
    lower = MEMORY // 2
    script = (
        "import resource; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({lower}, {lower})); "
        f"from worker.documents.bounded import limit_resources; refused = limit_resources({MEMORY}); "
        "print(refused, resource.getrlimit(resource.RLIMIT_AS))"
    )
    root = Path(__file__).resolve().parents[3]

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == f"[] ({lower}, {lower})"


def test_documents_are_read_where_the_system_takes_no_limit_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = "import resource; resource.setrlimit = lambda *_: (_ for _ in ()).throw(ValueError('invalid')); "
    start = bounded._START.replace("from worker.documents", refuse + "from worker.documents")
    monkeypatch.setattr(bounded, "_START", start)
    bounded._warn_of_limits.cache_clear()

    with caplog.at_level(logging.WARNING, "caravan"), Reader() as reader:
        texts = [reader.read(name, b"Rivers", "text/plain", None)["text"] for name in ("a.txt", "b.txt")]

    assert texts == ["Rivers", "Rivers"]
    [record] = [each for each in caplog.records if each.message == "reader.unlimited"]
    assert "RLIMIT_AS" in record.__dict__["fields"]["limits"]


def test_the_last_words_of_a_child_that_dies_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dying = f"os.write(2, b'x' * {2 * MOST_ERRORS} + b' libfoo: cannot map page 7'); os._exit(9)"
    monkeypatch.setattr(bounded, "_START", child(dying))

    with caplog.at_level(logging.WARNING, "caravan"), Reader() as reader:
        with pytest.raises(DocumentRefused, match=r"exit 9"):
            reader.read("a.txt", b"Rivers", "text/plain", None)

    [record] = [each for each in caplog.records if each.message == "reader.died"]
    fields = record.__dict__["fields"]
    assert (fields["path"], fields["exit"]) == ("a.txt", 9)
    assert fields["message"].endswith("libfoo: cannot map page 7")
    assert len(fields["message"]) <= MOST_ERRORS


def test_a_child_that_prints_without_end_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = "[sys.stderr.buffer.raw.write(b'x' * 50_000) for _ in range(40)]; return {'text': 'T', 'metadata': {}}"
    monkeypatch.setattr(bounded, "_START", child(flood))

    with Reader(seconds=20) as reader:
        texts = [reader.read("a.txt", b"Rivers", "text/plain", None)["text"] for _ in range(2)]

    assert texts == ["T", "T"]
