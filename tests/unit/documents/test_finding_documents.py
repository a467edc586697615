"""Files are found under their roots and never outside them."""

import os
from pathlib import Path

import pytest

from tests.unit.documents.reading import read_document
from worker.documents.sources import find_documents, open_inside, roots_of
from worker.errors import DocumentRefused, InputRefused


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    for name in ("b.txt", "a.md", "deep/er/c.txt", "deep/.hidden/d.txt", ".e.txt"):
        file = inbox / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"This is {name}.")
    return inbox


def names(patterns: list[str], *roots: Path) -> list[str]:
    return [found.name for found in find_documents(patterns, roots)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["b.txt"]),
        ("**/*.txt", ["b.txt", "deep/er/c.txt"]),
        ("**", ["a.md", "b.txt", "deep/er/c.txt"]),
        ("deep", ["deep/er/c.txt"]),
        ("deep/*/c.tx?", ["deep/er/c.txt"]),
        ("[!b]*", ["a.md"]),
        (".*", [".e.txt"]),
        ("b.txt", ["b.txt"]),
        ("nothing/*", []),
    ],
)
def test_a_pattern_finds_what_it_names_in_the_order_of_names(
    inbox: Path, pattern: str, expected: list[str]
) -> None:
    assert names([pattern], inbox) == expected
    assert names([f"{inbox}/{pattern}"], inbox) == expected


def test_a_document_that_two_patterns_name_is_found_once(inbox: Path) -> None:
    assert names(["*.txt", "b.*", "**"], inbox) == ["a.md", "b.txt", "deep/er/c.txt"]


def test_a_pattern_outside_all_roots_is_refused(inbox: Path) -> None:
    for pattern in ("/etc/*", "../*", f"{inbox}-other/*"):
        with pytest.raises(InputRefused, match="outside the roots"):
            names([pattern], inbox)


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="not there"):
        names(["*"], tmp_path / "none")


def test_the_same_name_under_two_roots_is_refused(inbox: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.txt").write_text("Another.")

    with pytest.raises(InputRefused, match="twice"):
        names(["*.txt"], inbox, other)


def test_a_link_within_the_root_is_read_and_one_that_leads_outside_is_refused(
    inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("Nobody's business.")
    (tmp_path / "elsewhere").mkdir()
    (inbox / "in.txt").symlink_to(inbox / "b.txt")
    (inbox / "out.txt").symlink_to(tmp_path / "secret.txt")
    (inbox / "folder").symlink_to(tmp_path / "elsewhere")
    (inbox / "round").symlink_to(inbox)

    found = {one.name: one for one in find_documents(["**"], [inbox])}

    assert set(found) == {"a.md", "b.txt", "deep/er/c.txt", "in.txt", "out.txt", "folder"}  # round is left
    assert read_document(found["in.txt"]).text == "This is b.txt."
    for name in ("out.txt", "folder"):
        with pytest.raises(DocumentRefused) as refused:
            read_document(found[name])
        assert refused.value.code == "outside_root"


def test_a_link_that_leads_to_itself_hides_no_other_document(inbox: Path) -> None:
    for number in range(3):
        link = inbox / f"loop-{number}.txt"
        link.symlink_to(link.name)
    (inbox / "broken.txt").symlink_to("nowhere.txt")

    found = {file.name: file for file in find_documents(["**"], [inbox])}

    loops = {"loop-0.txt", "loop-1.txt", "loop-2.txt"}
    assert set(found) == {"a.md", "b.txt", "deep/er/c.txt", "broken.txt", *loops}
    for name in (*loops, "broken.txt"):
        with pytest.raises(DocumentRefused) as refused:
            open_inside(found[name])
        assert refused.value.code == "unreadable"


def test_a_file_that_becomes_a_link_after_it_was_found_is_not_followed_outside(
    inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("Nobody's business.")
    [found] = find_documents(["b.txt"], [inbox])

    (inbox / "b.txt").unlink()
    (inbox / "b.txt").symlink_to(tmp_path / "secret.txt")

    with pytest.raises(DocumentRefused) as refused:
        open_inside(found)
    assert refused.value.code == "outside_root"


def test_a_pipe_and_a_file_that_is_gone_are_unreadable(inbox: Path) -> None:
    os.mkfifo(inbox / "pipe.txt")
    found = list(find_documents(["pipe.txt", "b.txt"], [inbox]))
    (inbox / "b.txt").unlink()

    codes = []
    for one in found:
        with pytest.raises(DocumentRefused) as refused:
            read_document(one)
        codes.append(refused.value.code)

    assert codes == ["unreadable", "unreadable"]


def test_a_root_nobody_told_is_where_the_pattern_begins_to_vary(inbox: Path, tmp_path: Path) -> None:
    assert roots_of(["inbox/**/*.txt"], tmp_path) == (str(inbox),)
    assert roots_of(["inbox"], tmp_path) == (str(inbox),)
    assert roots_of(["inbox/b.txt", "inbox/*"], tmp_path) == (str(inbox),)


def test_a_bucket_is_searched_and_read_like_a_folder() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("b.txt", "deep/a.txt", "c.bin"):
        memory.pipe(f"/bucket/inbox/{name}", f"This is {name}.".encode())

    found = list(find_documents(["memory://bucket/inbox/**/*.txt"], ["memory://bucket/inbox"]))

    assert [one.name for one in found] == ["b.txt", "deep/a.txt"]
    assert read_document(found[1]).text == "This is deep/a.txt."


@pytest.mark.parametrize("url", ["file:///etc/*", "http://example.org/*", "https://example.org/a.txt"])
def test_what_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InputRefused, match="folders and buckets"):
        list(find_documents([url], [url.rpartition("/")[0]]))
