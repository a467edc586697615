"""Results as a spreadsheet."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from worker.documents.tables import open_rows
from worker.exports import workbook
from worker.exports.workbook import CELL_CHARACTERS, write_workbook
from worker.exports.writers import Column

COLUMNS = [
    Column("id", "text", own=True),
    Column("answer", "text"),
    Column("cut", "truth"),
    Column("output_tokens", "integer"),
    Column("total_seconds", "number"),
    Column("finished_at", "time"),
]
NOW = datetime(2026, 11, 30, 21, 0, 14, tzinfo=UTC)


def sheets(rows: list[list[Any]], **more: Any) -> dict[str, list[tuple[Any, ...]]]:
    out = io.BytesIO()
    assert write_workbook(out, COLUMNS, rows, **more) == len(rows)
    out.seek(0)
    book = openpyxl.load_workbook(out)
    return {sheet.title: list(sheet.values) for sheet in book}


def test_each_kind_of_value_is_one_of_the_spreadsheet_and_no_text_is_a_formula() -> None:
    row = ["007", '=HYPERLINK("x")', True, 12, 3.4123e-05, NOW]
    empty = ["b", "", None, None, None, None]
    nested = ["c", {"a": [1, "ä"]}, False, 2**60, float("nan"), None]

    found = sheets([row, empty, nested])["results"]

    assert found[0] == tuple(column.name for column in COLUMNS)
    assert found[1] == (*row[:5], datetime(2026, 11, 30, 21, 0, 14))
    assert found[2] == ("b", None, None, None, None, None)
    assert found[3] == ("c", '{"a": [1, "ä"]}', False, str(2**60), "NaN", None)


def test_a_text_beyond_a_cell_is_cut_and_says_so() -> None:
    said: list[str] = []
    long, pairs = "x" * 40_000, "😀" * 20_000

    found = sheets([["a", long, *[None] * 4], ["b", pairs, *[None] * 4]], say=said.append)["results"]

    assert [row[1][-47:] for row in found[1:]] == [
        "xx … [cut here: the text has 40,000 characters]",
        "😀😀 … [cut here: the text has 20,000 characters]",
    ]
    assert all(len(str(row[1]).encode("utf-16-le")) // 2 <= CELL_CHARACTERS for row in found)
    assert said[0].startswith("2 texts are longer than the 32,767 characters of a cell")


def test_texts_that_xml_cannot_hold_come_back_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with path.open("wb") as out:
        write_workbook(out, COLUMNS[:2], [["a", "bell\x07 half\ud800 two\nlines\r\n"]])
    (row,) = open_rows(path)
    assert row.values is not None
    assert row.values["answer"].startswith("bell\x07 half? two\nlines")


def test_line_ends_come_back_as_they_were_for_every_reader(tmp_path: Path) -> None:
    texts = ["two\r\nlines\r", "_x000D_ is a text", "a\rb & <c>"]
    path = tmp_path / "a.xlsx"
    with path.open("wb") as out:
        write_workbook(out, COLUMNS[:2], [["a", text] for text in texts])

    assert pd.read_excel(path, engine="calamine")["answer"].tolist() == texts
    read = pd.read_excel(path, engine="openpyxl")["answer"].tolist()
    assert read == [texts[0], "_x005F_x000D_ is a text", texts[2]]  # as openpyxl has it


def test_rows_beyond_a_sheet_go_on_in_the_next_with_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 2)
    found = sheets([[str(n), None, None, None, None, None] for n in range(5)])
    assert {name: [row[0] for row in rows] for name, rows in found.items()} == {
        "results": ["id", "0", "1"],
        "results 2": ["id", "2", "3"],
        "results 3": ["id", "4"],
    }
