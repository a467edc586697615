"""Quotes that are no quoting, rows that span lines, headers that come again."""

from pathlib import Path

import pytest

from api_schemas.submissions import Submission
from worker.documents.row import Quote, Row
from worker.documents.tables import ReadingRules, open_rows
from worker.door.intake import Intake
from worker.door.rows import open_input

SWALLOW = 'id\ttext\n1\tplain\n2\t"Stop!\n3\tshe said\n4\tlast one"\n5\tend\n'


def rows(path: Path, content: str, quote: Quote | None = None) -> list[Row]:
    path.write_bytes(content.encode())
    return list(open_rows(path, ReadingRules(quote=quote)))


def remarks(path: Path, content: str, quote: Quote | None = None) -> tuple[str, ...]:
    path.write_bytes(content.encode())
    recipe = Submission(prompt="{{ text }}", models=("m",), quote=quote)
    intake = Intake(recipe)
    list(intake.read(open_input(path, recipe)))
    return intake.remarks()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_in_a_tsv_is_a_character_and_no_row_is_swallowed(tmp_path: Path, end: str) -> None:
    read = rows(tmp_path / "in.tsv", SWALLOW.replace("\n", end))

    assert [(row.values or {})["text"] for row in read] == ["plain", '"Stop!', "she said", 'last one"', "end"]


@pytest.mark.parametrize(
    "cell", ['"Stop!" she said.', '5" tube', '"', '""', 'a "b" c', "'", "\\t", "\\N", 'x"']
)
def test_cells_of_a_tsv_come_through_as_they_stand(tmp_path: Path, cell: str) -> None:
    (row,) = rows(tmp_path / "in.tsv", f"id\ttext\n1\t{cell}\n")

    assert row.values == {"id": "1", "text": cell}


def test_a_quoted_tsv_is_read_with_the_option_and_noted_without(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"said ""no"""\n2\t\\N\n'

    assert next(row.values for row in rows(tmp_path / "in.tsv", content, '"')) == {
        "id": "1",
        "text": 'said "no"',
    }
    noted = remarks(tmp_path / "in.tsv", content)
    assert [("--quote" in remark, "COPY" in remark) for remark in noted] == [(True, False), (False, True)]
    assert remarks(tmp_path / "in.tsv", 'id\ttext\n1\t"a\n') == ()


def test_quoting_that_somebody_chose_is_not_noted(tmp_path: Path) -> None:
    (noted,) = remarks(tmp_path / "in.tsv", 'id\ttext\n1\t"whole"\n2\t\\N\n', "none")

    assert "COPY" in noted


def test_a_tsv_whose_quoted_cells_span_lines_names_the_option(tmp_path: Path) -> None:
    read = rows(tmp_path / "in.tsv", 'id\ttext\n1\t"a\nb"\n')

    assert [row.problem.code if row.problem else None for row in read] == [None, "too_few_fields"]
    assert "--quote" in (read[1].problem.message if read[1].problem else "")


def test_rows_of_a_csv_that_span_lines_are_noted_once(tmp_path: Path) -> None:
    content = SWALLOW.replace("\t", ",")

    assert [row.lines for row in rows(tmp_path / "in.csv", content)] == [1, 3, 1]
    (remark,) = remarks(tmp_path / "in.csv", content)
    assert "line 3 spans 3 lines" in remark
    (remark,) = remarks(tmp_path / "in.csv", content + '6,"a\nb"\n')
    assert "2 rows span several lines" in remark
    assert len(rows(tmp_path / "in.csv", content, "none")) == 5
    assert remarks(tmp_path / "in.csv", content, "none") == ()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("again", ["id{}text", "text{}id", " id{}text ", "ID{}Text"])
def test_a_header_that_comes_again_is_refused_by_its_line(
    tmp_path: Path, mark: str, ending: str, again: str
) -> None:
    sign = "," if ending == "csv" else "\t"
    content = f"{mark}id{sign}text\n1{sign}a\n{mark}{again.format(sign)}\n2{sign}b\n"

    read = rows(tmp_path / f"in.{ending}", content)

    assert [row.problem.code if row.problem else row.values for row in read] == [
        {"id": "1", "text": "a"},
        "repeated_header",
        {"id": "2", "text": "b"},
    ]
    assert read[1].line == 3


def test_a_byte_order_mark_within_a_table_is_no_part_of_a_cell(tmp_path: Path) -> None:
    read = rows(tmp_path / "in.csv", 'id,text\n1,a\n\ufeff"2","b,\ufeffc"\n')

    assert [row.values for row in read] == [{"id": "1", "text": "a"}, {"id": "2", "text": "b,\ufeffc"}]


def test_a_row_that_only_resembles_the_header_is_a_row(tmp_path: Path) -> None:
    read = rows(tmp_path / "in.csv", "id,text\ntext,hello\nid,id\nID,Texts\n")

    assert [row.problem for row in read] == [None] * 3
