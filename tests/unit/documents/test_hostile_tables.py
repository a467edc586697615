"""Tables that are larger than they look: among documents they are parsed in the child, and no row takes the memory of others."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.documents import bounded
from worker.documents.bounded import Reader
from worker.documents.read import Document, read_all
from worker.documents.row import LINE_LIMIT, Row
from worker.documents.sources import DocumentFile, find_documents
from worker.documents.tables import open_rows
from worker.errors import DocumentRefused, InputRefused

MB = 2**20
ROWS = '{"text": "one"}\n{"text": "two"}\n'

CHILD = """
import sys
sys.path[:] = {path!r}
from worker.documents import bounded, encodings, parquet, tables
from worker.documents.formats import rows
{body}
bounded.child()
"""


def child(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Start children that run ``body`` before their first request."""
    monkeypatch.setattr(bounded, "_START", CHILD.format(path=sys.path, body=body))


def found(folder: Path, name: str, content: bytes) -> DocumentFile:
    (folder / name).write_bytes(content)
    [one] = find_documents([str(folder / name)], [str(folder)])
    return one


def table(kind: str) -> bytes:
    if kind == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": ["one", "two"]}), sink)
        return bytes(sink.getvalue())
    content = ROWS if "jsonl" in kind else "text,n\none,1\ntwo,2\n"
    content = content.replace(",", "\t") if kind == ".tsv" else content
    return gzip.compress(content.encode()) if kind.endswith(".gz") else content.encode()


def repeated(path: Path, lengths: list[int], text: str) -> Path:
    """A Parquet file whose rows are lists of ``text``, this many times each; the text is stored once."""
    indices = pa.array([0] * sum(lengths), pa.int32())
    offsets = [sum(lengths[:at]) for at in range(len(lengths) + 1)]
    texts = pa.DictionaryArray.from_arrays(indices, pa.array([text]))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)
    pq.write_table(pa.table({"n": list(range(len(lengths))), "texts": lists}), path, store_schema=False)
    return path


def outcome(one: Document | DocumentRefused) -> str:
    return one.text if isinstance(one, Document) else one.code


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz"])
def test_every_kind_of_table_is_parsed_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    child(
        monkeypatch,
        "def hoard(*_, **__): raise MemoryError\nif hasattr(rows, 'open_rows'): rows.open_rows = hoard",
    )
    bad, good = found(tmp_path, f"a{kind}", table(kind)), found(tmp_path, "b.txt", b"Rivers")

    with Reader() as reader:
        read = [*read_all(bad, reader=reader), *read_all(good, reader=reader)]

    assert [outcome(one) for one in read] == ["too_large", "Rivers"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("import time; time.sleep(600)", "too_large", "took longer than"),
        ("import os; os._exit(9)", "unreadable", "its reader died over it (exit 9)"),
    ],
)
def test_a_table_that_holds_up_or_kills_its_reader_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: str, message: str
) -> None:
    child(monkeypatch, f"def fail(*_, **__): {body}\nrows.open_rows = fail")
    bad, good = found(tmp_path, "a.csv", table(".csv")), found(tmp_path, "b.txt", b"Rivers")

    with Reader(seconds=3 if code == "too_large" else 60) as reader:
        [refused] = read_all(bad, reader=reader)
        [document] = read_all(good, reader=reader)

    assert isinstance(refused, DocumentRefused)
    assert (refused.path, refused.code) == (bad.path, code)
    assert message in refused.message
    assert outcome(document) == "Rivers"


def test_a_table_that_nobody_reads_to_its_end_leaves_the_reader_to_the_next_document(tmp_path: Path) -> None:
    content = "".join(json.dumps({"text": f"{at} " + "x" * 1000}) + "\n" for at in range(5000))
    long, good = found(tmp_path, "a.jsonl", content.encode()), found(tmp_path, "b.txt", b"Rivers")

    with Reader() as reader:
        rows = read_all(long, reader=reader)
        first = next(iter(rows))
        [document] = read_all(good, reader=reader)

    assert outcome(first).startswith("0 ")
    assert outcome(document) == "Rivers"


def test_all_rows_of_a_table_come_in_their_order(tmp_path: Path) -> None:
    content = "".join(json.dumps({"text": f"{at} " + "ü" * 700}) + "\n" for at in range(3000))

    read = list(read_all(found(tmp_path, "a.jsonl", content.encode())))

    assert [outcome(one).partition(" ")[0] for one in read] == [str(at) for at in range(3000)]


def test_a_row_of_too_much_text_is_refused_and_its_neighbours_go_on(tmp_path: Path) -> None:
    content = b'{"text": "one"}\n{"text": "' + b"x" * (17 * MB) + b'"}\n{"text": "three"}\n'

    read = list(read_all(found(tmp_path, "a.jsonl", content)))

    assert [outcome(one) for one in read] == ["one", "too_large", "three"]


def test_a_row_of_very_many_values_is_refused_and_its_neighbours_go_on(tmp_path: Path) -> None:
    content = b'{"text": "one"}\n{"a": [' + b"1," * 2_100_000 + b'1]}\n{"text": "three"}\n'

    read = list(read_all(found(tmp_path, "a.jsonl", content)))

    assert [outcome(one) for one in read] == ["one", "too_large", "three"]


def test_a_table_whose_rows_take_far_more_than_its_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(monkeypatch, "rows.UNPACKED_FREELY = 1 << 20")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 100_000] * 200}), path)

    read = list(read_all(found(tmp_path, "a.parquet", path.read_bytes())))

    assert outcome(read[-1]) == "too_large"
    assert {outcome(one) for one in read[:-1]} <= {"x" * 100_000}
    assert len(read) < 200


@pytest.mark.parametrize("nested", ["list", "list of structs", "struct of lists", "map"])
def test_a_repeated_text_within_other_values_is_refused_by_its_row_before_it_is_made(
    tmp_path: Path, nested: str
) -> None:
    path = repeated(tmp_path / "a.parquet", [1, 300, 2], "x" * MB)
    lists = pq.read_table(path, read_dictionary=["texts.list.element"]).column("texts").combine_chunks()
    shapes: dict[str, Any] = {
        "list": lambda: lists,
        "list of structs": lambda: pa.ListArray.from_arrays(
            lists.offsets, pa.StructArray.from_arrays([lists.values], ["text"])
        ),
        "struct of lists": lambda: pa.StructArray.from_arrays([lists], ["texts"]),
        "map": lambda: pa.MapArray.from_arrays(
            lists.offsets, pa.array([str(at) for at in range(303)]), lists.values
        ),
    }
    pq.write_table(pa.table({"n": [0, 1, 2], "texts": shapes[nested]()}), path, store_schema=False)

    first, second, third = open_rows(path)

    assert first.values is not None
    assert third.values is not None
    assert first.values["n"] == 0
    assert len(json.dumps(third.values)) > 2 * MB
    assert second.problem is not None
    assert (second.line, second.problem.code, second.problem.field) == (2, "too_large", "texts")
    assert "314,5" in second.problem.message


def test_among_documents_such_a_row_is_refused_by_its_name(tmp_path: Path) -> None:
    path = repeated(tmp_path / "a.parquet", [1, 300, 2], "x" * MB)

    read = list(read_all(found(tmp_path, "a.parquet", path.read_bytes())))

    assert [one.path.rpartition("/")[2] for one in read] == ["a.parquet#1", "a.parquet#2", "a.parquet#3"]
    assert [isinstance(one, Document) for one in read] == [True, False, True]
    assert outcome(read[1]) == "too_large"


_PEAK = """
import sys
from pathlib import Path
import pyarrow.parquet
from worker.documents.tables import open_rows
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
rows = [row.problem.code if row.problem else sum(map(len, row.values["texts"])) for row in open_rows(Path(sys.argv[1]))]
print(rows)
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("stored", ["once", "each"])
def test_rows_of_large_texts_are_read_a_few_at_a_time(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "a.parquet"
    if stored == "once":
        repeated(path, [200, 2, *[5] * 20], "x" * (2 * MB))
        expected = ["too_large", 4 * MB, *[10 * MB] * 20]
    else:
        texts = pa.table({"texts": [f"{at:06}" + "x" * (2 * MB - 6) for at in range(30)]})
        pq.write_table(texts, path, use_dictionary=False, write_batch_size=1)
        expected = [2 * MB] * 30

    done = subprocess.run(
        [sys.executable, "-c", _PEAK, path], capture_output=True, text=True, check=True, timeout=120
    )

    sizes, megabytes = done.stdout.splitlines()
    assert json.loads(sizes.replace("'", '"')) == expected
    assert int(megabytes) < 110, "a few rows, not all of them"


def test_a_row_of_very_many_numbers_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [[1], [7] * (LINE_LIMIT // 32 + 1), [2]]}), path)

    rows: list[Row] = list(open_rows(path))

    assert [row.problem.code if row.problem else row.values for row in rows] == [
        {"n": [1]},
        "too_large",
        {"n": [2]},
    ]


def test_a_file_that_says_of_itself_that_it_is_a_bomb_is_refused_as_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.documents import parquet

    monkeypatch.setattr(parquet, "UNPACKED_FREELY", MB)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [7] * 1_000_000}), path)

    with pytest.raises(InputRefused) as caught:
        open_rows(path)

    assert caught.value.problems[0].code == "too_large"
