"""Files that match a pattern and are no documents."""

import os
from collections import Counter
from pathlib import Path

import pytest

from worker.documents.leave_out import OmissionCounts, is_excluded, is_litter
from worker.documents.sources import find_documents
from worker.errors import InputRefused


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for name in ("a.txt", "drafts/b.txt", "old/2024/c.txt", "x/drafts/d.txt", "~$a.docx", "x/Thumbs.db"):
        file = tmp_path / "inbox" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("text")
    return tmp_path / "inbox"


def names(inbox: Path, *exclude: str, pattern: str = "**") -> tuple[list[str], dict[str, int]]:
    left_out: OmissionCounts = Counter()
    found = find_documents([pattern], [inbox], exclude=exclude, left_out=left_out)
    return [one.name for one in found], {str(reason): n for reason, n in left_out.items()}


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("drafts", ["a.txt", "old/2024/c.txt"]),
        ("drafts/", ["a.txt", "old/2024/c.txt"]),
        ("x/drafts/*", ["a.txt", "drafts/b.txt", "old/2024/c.txt"]),
        ("inbox/drafts", ["a.txt", "old/2024/c.txt", "x/drafts/d.txt"]),
        ("old/**", ["a.txt", "drafts/b.txt", "x/drafts/d.txt"]),
        ("[ab].txt", ["old/2024/c.txt", "x/drafts/d.txt"]),
        ("inbox", ["a.txt", "drafts/b.txt", "old/2024/c.txt", "x/drafts/d.txt"]),
    ],
)
def test_a_pattern_leaves_out_the_ends_of_paths_below_the_root(
    inbox: Path, pattern: str, left: list[str]
) -> None:
    found, left_out = names(inbox, pattern)

    assert found == left
    assert left_out == {"litter": 2, **({"excluded": 4 - len(left)} if len(left) < 4 else {})}


def test_an_absolute_pattern_leaves_out_one_place(inbox: Path) -> None:
    found, _ = names(inbox, f"{inbox}/drafts")

    assert found == ["a.txt", "old/2024/c.txt", "x/drafts/d.txt"]


def test_litter_is_a_document_where_a_pattern_names_it(inbox: Path) -> None:
    assert names(inbox, pattern="~$a.docx") == (["~$a.docx"], {})


def test_sockets_and_pipes_are_left_out_and_broken_links_are_not(inbox: Path) -> None:
    os.mkfifo(inbox / "pipe")
    (inbox / "gone").symlink_to(inbox / "nowhere")

    found, left_out = names(inbox, pattern="*")

    assert found == ["a.txt", "gone"]
    assert left_out == {"litter": 1, "special": 1}


@pytest.mark.parametrize(
    "name", ["a.txt~", "#a.txt#", ".#a.txt", ".a.txt.swp", "a.pdf.crdownload", "a.pdf.part"]
)
def test_copies_of_editors_and_half_downloads_are_litter(name: str) -> None:
    assert is_litter(name)


@pytest.mark.parametrize(
    "name", ["b.DS_Store", "thumbs.dbx", "a~$b.docx", "desktop.ini.txt", "_a.txt", "part.txt", "#a.txt"]
)
def test_names_that_are_like_litter_are_documents(name: str) -> None:
    assert not is_litter(name)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(InputRefused):
        is_excluded("/in/a", "a", ["[z-a]"])
