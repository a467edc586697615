import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.documents.tables import open_rows
from worker.errors import InputRefused, Problem


def written(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "any.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def refusal(path: Path) -> Problem:
    with pytest.raises(InputRefused) as caught:
        list(open_rows(path))
    return caught.value.problems[0]


def test_values_come_as_json_has_them(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "标题": ["鞋"],
            "count": [3],
            "missing": pa.array([None], pa.string()),
            "nan": [float("nan")],
            "ratio": [0.5],
            "endless": [float("inf")],
            "price": [Decimal("3.50")],
            "day": [date(2026, 1, 2)],
            "at": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)],
            "exact": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "took": [timedelta(seconds=90)],
            "yes": [True],
            "kind": pa.array(["a"]).dictionary_encode(),
            "tags": [["x", "y"]],
            "nested": [{"at": datetime(2026, 1, 2), "sizes": [1.0, float("nan")]}],
        },
    )

    rows = open_rows(path)
    (row,) = rows

    assert rows.kind == "parquet"
    assert rows.columns is not None
    assert rows.columns[0] == "标题"
    assert row.line == 1
    assert row.values == {
        "标题": "鞋",
        "count": 3,
        "missing": None,
        "nan": None,
        "ratio": 0.5,
        "endless": "inf",
        "price": "3.50",
        "day": "2026-01-02",
        "at": "2026-01-02T03:04:05+00:00",
        "exact": "2023-11-14T22:13:20.123456789",
        "took": "0:01:30",
        "yes": True,
        "kind": "a",
        "tags": ["x", "y"],
        "nested": {"at": "2026-01-02T00:00:00", "sizes": [1.0, None]},
    }
    json.dumps(row.values, allow_nan=False)


def test_rows_are_numbered_through_all_batches(tmp_path: Path) -> None:
    path = written(tmp_path, {"id": list(range(2000))})

    assert [(row.line, row.values) for row in open_rows(path)] == [(i + 1, {"id": i}) for i in range(2000)]


@pytest.mark.parametrize("value", [b"x", [b"x"], {"bytes": b"x"}])
def test_a_column_of_bytes_is_refused_by_its_name(tmp_path: Path, value: Any) -> None:
    problem = refusal(written(tmp_path, {"text": ["a"], "image": [value]}))

    assert (problem.field, problem.code) == ("image", "binary_column")


def test_what_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "any.pq"
    path.write_bytes(b"a,b\n1,2\n" * 10)

    assert refusal(path).code == "not_parquet"
    assert refusal(tmp_path / "none.parquet").code == "unreadable"
    assert refusal(written(tmp_path, {"a": pa.array([], pa.string())})).code == "empty"


def test_a_damaged_file_is_refused_where_the_damage_begins(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": [f"text number {i}" for i in range(1000)]})
    data = bytearray(path.read_bytes())
    data[10:2000] = b"\xff" * 1990
    path.write_bytes(data)

    problem = refusal(path)

    assert (problem.line, problem.code) == (1, "unreadable")


def test_a_value_that_changed_on_the_way_is_refused_where_the_file_has_checksums(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), path, write_page_checksum=True, compression="none")
    data = bytearray(path.read_bytes())
    data[data.index((2).to_bytes(8, "little"))] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(InputRefused, match="damaged behind row 0"):
        list(open_rows(path))


def test_a_map_with_a_key_twice_is_refused_by_its_row_and_loses_no_value(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.int64())
    path = written(tmp_path, {"pairs": pa.array([[("a", 1), ("b", 2)], [("a", 1), ("a", 2)]], kind)})

    good, bad = open_rows(path)

    assert good.values == {"pairs": {"a": 1, "b": 2}}
    assert isinstance(bad.problem, Problem)
    assert (bad.problem.line, "the same key twice" in bad.problem.message) == (2, True)
