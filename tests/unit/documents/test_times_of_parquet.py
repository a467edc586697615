"""Times, dates and spans that Arrow has and Python has not, and texts that stand in a file a thousand times."""

import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.documents.arrow_values import date_text, plain_column
from worker.documents.tables import open_rows

FAR = 253_402_300_800  # 10000-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("count", "kind", "text"),
    [
        (2_932_897, pa.date32(), "10000-01-01"),
        (2_932_896, pa.date32(), "9999-12-31"),
        (-800_000, pa.date32(), "-0221-09-04"),
        (FAR * 1000, pa.date64(), "10000-01-01"),
        (FAR, pa.timestamp("s"), "10000-01-01T00:00:00"),
        (FAR * 1000 + 5, pa.timestamp("ms"), "10000-01-01T00:00:00.005000"),
        (FAR * 10**6, pa.timestamp("us", "UTC"), "10000-01-01T00:00:00+00:00"),
        (FAR * 10**6, pa.timestamp("us", "Europe/Berlin"), "10000-01-01T00:00:00+00:00"),
        (-62_135_596_801, pa.timestamp("s"), "0000-12-31T23:59:59"),
        (2**62, pa.timestamp("s"), "146138514283-06-19T07:45:04"),
        (1_700_000_000_123_456_789, pa.timestamp("ns"), "2023-11-14T22:13:20.123456789"),
        (1_700_000_000_123_456_000, pa.timestamp("ns"), "2023-11-14T22:13:20.123456"),
        (1_700_000_000, pa.timestamp("s", "Europe/Berlin"), "2023-11-14T23:13:20+01:00"),
        (1_700_000_000, pa.timestamp("s", "+05:30"), "2023-11-15T03:43:20+05:30"),
        (1_700_000_000, pa.timestamp("s", "-03:00"), "2023-11-14T19:13:20-03:00"),
        (1_700_000_000, pa.timestamp("s", "Mars/Phobos"), "2023-11-14T22:13:20+00:00"),
        (86_399_999_999_999, pa.time64("ns"), "23:59:59.999999999"),
        (0, pa.time32("s"), "00:00:00"),
        (5, pa.duration("ns"), "0:00:00.000000005"),
        (10**15, pa.duration("s"), "11574074074 days, 1:46:40"),
        (-1, pa.duration("s"), "-1 day, 23:59:59"),
    ],
)
@pytest.mark.parametrize("within", ["alone", "list", "struct", "map", "dictionary"])
def test_a_time_that_python_does_not_have_is_written_in_iso_form(
    tmp_path: Path, count: int, kind: Any, text: str, within: str
) -> None:
    array = pa.array([count], pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    expected: Any = text
    match within:
        case "list":
            array, expected = pa.ListArray.from_arrays([0, 1], array), [text]
        case "struct":
            array, expected = pa.StructArray.from_arrays([array], ["a"]), {"a": text}
        case "map":
            array, expected = pa.MapArray.from_arrays([0, 1], pa.array(["k"]), array), {"k": text}
        case "dictionary":
            array = pa.DictionaryArray.from_arrays(pa.array([0]), array)

    assert plain_column(array) == [expected]


def test_usual_times_are_written_as_python_writes_them() -> None:
    moment = datetime(2024, 2, 29, 12, 30, 45, 120_000, tzinfo=UTC)
    for value, kind in (
        (moment, pa.timestamp("us", "UTC")),
        (moment.replace(tzinfo=None), pa.timestamp("ms")),
        (date(1, 1, 1), pa.date32()),
        (date(2000, 2, 29), pa.date64()),
        (moment.time(), pa.time64("us")),
    ):
        assert plain_column(pa.array([value, None], kind)) == [value.isoformat(), None]
    for span in (
        timedelta(days=3, seconds=5),
        timedelta(hours=25),
        timedelta(microseconds=-1),
        timedelta(days=1),
    ):
        assert plain_column(pa.array([span], pa.duration("us"))) == [str(span)]
    assert plain_column(pa.array([Decimal("100000")], pa.decimal128(9, 2))) == ["100000.00"]


def test_every_day_is_written_as_python_writes_it() -> None:
    first = date(1, 1, 1).toordinal()
    for day in range(first, date.max.toordinal(), 997):
        assert date_text(day - date(1970, 1, 1).toordinal()) == date.fromordinal(day).isoformat()


def test_a_file_with_a_far_date_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    days = pa.array([2_932_897, 0, None], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"id": [1, 2, 3], "t": days}), path)

    assert [row.values for row in open_rows(path)] == [
        {"id": 1, "t": "10000-01-01"},
        {"id": 2, "t": "1970-01-01"},
        {"id": 3, "t": None},
    ]


def test_a_text_that_stands_in_a_file_a_thousand_times_takes_its_room_once(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table(
            {
                "t": pa.DictionaryArray.from_arrays(
                    pa.array([0] * 1024, pa.int32()), pa.array(["x" * 4_000_000])
                )
            }
        ),
        path,
    )
    assert path.stat().st_size < 1_000_000
    before = pa.total_allocated_bytes()
    tracemalloc.start()

    most = 0
    for row in open_rows(path):
        assert row.values is not None
        most = max(most, pa.total_allocated_bytes() - before)

    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most + python < 100_000_000
