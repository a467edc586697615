"""Spreadsheets and plain text as rows."""

import datetime as dt
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from api_schemas.submissions import Submission
from worker.documents.row import Row
from worker.documents.tables import ReadingRules, open_rows
from worker.door.rows import open_input
from worker.errors import ExtraMissing, InputRefused, Problem
from worker.extras import EXTRAS


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def refusal(path: Path, rules: ReadingRules = ReadingRules()) -> Problem:  # noqa: B008 - frozen
    with pytest.raises(InputRefused) as caught:
        list(open_rows(path, rules))
    return caught.value.problems[0]


def test_cells_are_what_a_person_sees_and_rows_are_counted_as_there(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "goods.xlsx",
        Waren=[
            [],
            ["Nr", "Größe (cm)", "Preis", "seit", "offen", "Text", None],
            [1, 12.0, 0.1 + 0.2, dt.date(2026, 3, 1), True, "=ä", None],
            [],
            [4012345678901, 1e5, 19.99, dt.datetime(2026, 3, 1, 12, 30), False, "007", None],
        ],
    )

    rows = open_rows(path)

    assert (rows.kind, rows.columns) == (
        "spreadsheet",
        ("Nr", "Größe (cm)", "Preis", "seit", "offen", "Text"),
    )
    first, second = rows
    assert (first.line, second.line) == (3, 5)
    assert first.values == {
        "Nr": 1,
        "Größe (cm)": 12,
        "Preis": 0.3,
        "seit": "2026-03-01",
        "offen": True,
        "Text": "",  # a formula whose result nobody stored
    }
    assert second.values is not None
    assert [str(value) for value in second.values.values()] == [
        *("4012345678901", "100000", "19.99", "2026-03-01T12:30:00", "False", "007"),
    ]
    assert [row.values for row in rows] == [first.values, second.values]


def test_a_value_in_a_column_without_a_name_is_wrong_in_its_row_alone(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", a=[["id", None, "text"], [1, None, "x"], [2, "stray", "y"]])

    right, wrong = open_rows(path)

    assert right.values == {"id": 1, "text": "x"}
    assert wrong.problem is not None
    assert wrong.problem.message.startswith("a value in column B, which has no name")
    assert wrong.line == 3


def test_a_sheet_is_named_or_counted_and_else_the_first_with_rows(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", leer=[], eins=[["a"], [1]], zwei=[["b"], [2]])

    assert open_rows(path).columns == ("a",)
    assert open_rows(path, ReadingRules(sheet="zwei")).columns == ("b",)
    assert open_rows(path, ReadingRules(sheet="3")).columns == ("b",)
    assert "did you mean 'zwei'?" in refusal(path, ReadingRules(sheet="zwie")).message
    assert "'leer' is empty" in refusal(path, ReadingRules(sheet="leer")).message


def test_what_is_no_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    twice = workbook(tmp_path / "twice.xlsx", a=[["id", "name", "name"], [1, 2, 3]])
    assert "two columns are named 'name', B and C" in refusal(twice).message
    indented = workbook(tmp_path / "indented.xlsx", a=[[None, "id", "name", "name"], [None, 1, 2, 3]])
    assert "two columns are named 'name', C and D" in refusal(indented).message
    text = tmp_path / "text.xlsx"
    text.write_text("id,name\n1,a\n")
    assert "a text; name it .csv" in refusal(text).message
    page = tmp_path / "page.xls"
    page.write_text("<html><table><tr><td>id</td></tr></table></html>")
    assert "a page of HTML" in refusal(page).message
    header = workbook(tmp_path / "header.xlsx", a=[["id", "name"]])
    assert "a header and no row" in refusal(header).message
    empty = tmp_path / "empty.xlsx"
    empty.touch()
    assert refusal(empty).code == "empty"


def test_a_workbook_is_read_under_the_name_of_an_older_one(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", a=[["id"], [1]]).rename(tmp_path / "a.xls")
    assert [row.values for row in open_rows(path)] == [{"id": 1}]


def test_a_row_that_renders_blank_for_a_formula_without_a_result_says_so(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", a=[["id", "text"], [1, "=A2"]])
    (line,) = open_input(path, Submission(models=("m:1",), prompt="{{ text }}"))
    assert line.problem is not None
    assert "(empty here: text); formulas without a stored result" in line.problem.message


def test_a_file_that_unpacks_beyond_all_measure_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.documents.spreadsheet.UNPACKED_FREELY", 1000)
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b" " * 1_000_000)
    assert refusal(path).code == "too_large"


def test_without_the_package_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "a.xlsx", a=[["id"], [1]])
    monkeypatch.setitem(EXTRAS, "spreadsheets", {"python_calamine": "python-calamine"})
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'caravan-ollama\[spreadsheets\]'"):
        open_rows(path)


def test_a_line_of_plain_text_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"Warum ist der Himmel blau?\r\n\r\n  Was ist 1+1? \n")

    rows = open_rows(path)

    assert (rows.kind, rows.columns) == ("text", ("prompt",))
    assert list(rows) == [
        Row(1, {"prompt": "Warum ist der Himmel blau?"}, None),
        Row(3, {"prompt": "Was ist 1+1?"}, None),
    ]
    blank = tmp_path / "blank.txt"
    blank.write_text("\n \n")
    assert refusal(blank).code == "empty"


def test_json_lines_are_json_lines_under_the_name_of_a_text_too(tmp_path: Path) -> None:
    path = tmp_path / "jobs.txt"
    path.write_text('{"prompt": "x"}\n')
    assert open_rows(path).kind == "jsonl"
    path.write_text("{x} is a set. Why?\n")
    assert open_rows(path).kind == "text"


def test_a_delimiter_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id#text\n1#a,b;c\n")
    assert [row.values for row in open_rows(path, ReadingRules(delimiter="#"))] == [
        {"id": "1", "text": "a,b;c"}
    ]


def test_empty_rows_of_a_spreadsheet_in_csv_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id;text\n1;a\n;\n;;\n2;b\n")
    assert [(row.line, row.values) for row in open_rows(path)] == [
        (2, {"id": "1", "text": "a"}),
        (5, {"id": "2", "text": "b"}),
    ]
