"""Names of files of any bytes: stored, shown, and turned back."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.documents.reading import read_document
from worker.documents.names import document_name, spelled, unspelled
from worker.documents.sources import find_documents

_NAMES = st.one_of(
    st.binary(min_size=1, max_size=30).map(os.fsdecode),
    st.text(alphabet=st.sampled_from(list("\\\\xu#e9041ab-prt2\n\x85\u2028\udce9\udc80é")), max_size=20),
)


@given(_NAMES)
def test_any_name_is_spelled_so_that_it_can_be_stored_and_turned_back(name: str) -> None:
    for text in (spelled(name), document_name(name)):
        assert unspelled(text) == name
        assert text.encode().decode().isprintable() or not name.isprintable()
        assert "\n" not in text
        assert "\x00" not in text


@given(_NAMES)
def test_a_name_in_utf_8_without_control_characters_stays_as_it_is(name: str) -> None:
    if name.isprintable() and "\\" not in name and "#" not in name:
        assert document_name(name) == name


def test_files_whose_names_differ_in_an_odd_byte_are_found_apart_and_read(tmp_path: Path) -> None:
    names = [
        b"Mu\xf1oz.txt",
        b"Mu\xe9oz.txt",
        rb"Mu\xe9oz.txt",
        b"a\nb.txt",
        b" c .txt",
        "é.txt".encode(),
        "e\u0301.txt".encode(),
    ]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(f"text {number}")

    found = {one.name: one for one in find_documents(["*"], [tmp_path])}

    assert len(found) == len(names)
    assert {r"Mu\xf1oz.txt", r"Mu\xe9oz.txt", r"Mu\\xe9oz.txt", r"a\x0ab.txt", " c .txt"} < set(found)
    assert read_document(found[r"Mu\xe9oz.txt"]).text == "text 1"
    assert read_document(found[r"Mu\\xe9oz.txt"]).text == "text 2"
    assert found[r"Mu\xf1oz.txt"].path == f"{tmp_path}/Mu\\xf1oz.txt"


def test_no_name_of_a_file_reads_as_a_row_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nrow\n")
    (tmp_path / "a.csv#2").write_text("file")
    (tmp_path / "b.pdf#part-1").write_text("file")

    assert [one.name for one in find_documents(["*"], [tmp_path])] == [
        "a.csv",
        r"a.csv\x232",
        r"b.pdf\x23part-1",
    ]
