"""Rows of JSON lines, CSV and Parquet as documents: values as JSON, and a bad row alone is refused."""

from pathlib import Path

import pytest

from worker.documents.read import Document, read_all
from worker.documents.sources import find_documents
from worker.errors import DocumentRefused


def documents(folder: Path, name: str, content: bytes | str) -> list[Document | DocumentRefused]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = find_documents([str(folder / name)], [str(folder)])
    return list(read_all(found))


def test_values_of_a_row_are_written_as_json(tmp_path: Path) -> None:
    row = '{"a": true, "b": ["it\'s", null], "c": {"d": null}, "e": 9007199254740993, "f": "plain", "g": null, "h": ""}'

    (read,) = documents(tmp_path, "rows.jsonl", row)

    assert isinstance(read, Document)
    assert read.text.splitlines() == [
        "a: true",
        'b: ["it\'s", null]',
        'c: {"d": null}',
        "e: 9007199254740993",
        "f: plain",
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": [-Infinity]}', "-Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": ', "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested deeper"),
    ],
)
def test_a_row_that_is_no_json_is_refused_by_name_and_the_others_go_on(
    tmp_path: Path, bad: str, message: str
) -> None:
    read = documents(tmp_path, "rows.jsonl", f'{{"text": "one"}}\n{bad}\n{{"text": "three"}}\n')

    assert [one.text if isinstance(one, Document) else one.path.rpartition("/")[2] for one in read] == [
        "one",
        "rows.jsonl#2",
        "three",
    ]
    refused = read[1]
    assert isinstance(refused, DocumentRefused)
    assert message in refused.message


def test_half_of_a_pair_becomes_a_replacement_character_with_a_note(tmp_path: Path) -> None:
    (read,) = documents(tmp_path, "rows.jsonl", r'{"text": "cut \ud83d emoji", "n": "\ud83d\ude00"}')

    assert isinstance(read, Document)
    assert read.text == "cut \ufffd emoji"
    assert read.metadata["n"] == "😀"
    (note,) = read.notes
    assert "U+FFFD" in note


def test_the_encoding_of_a_table_is_that_of_its_documents(tmp_path: Path) -> None:
    text = "배송이 일주일이나 늦었습니다. 환불을 요청합니다."

    (read,) = documents(tmp_path, "rows.csv", f"id,text\n1,{text}\n".encode("cp949"))

    assert isinstance(read, Document)
    assert (read.text, read.encoding) == (text, "cp949")
