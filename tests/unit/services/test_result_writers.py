"""Where rows go: endings, files replaced whole, cells of a spreadsheet, the file of rejects."""

import csv
import gzip
import io
import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from worker.door.rows import InputLine
from worker.errors import InputRefused, Problem
from worker.exports import parquet
from worker.exports.parquet import write_parquet
from worker.exports.rejects import RejectsFile, rejects_path
from worker.exports.targets import CsvForm, OutputKind, check_output, output_kind, replacing, text_of
from worker.exports.writers import Column, write_csv

NOW = datetime(2026, 11, 30, 21, 0, 14, 300_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", OutputKind("jsonl")),
        ("a.ndjson", OutputKind("jsonl")),
        ("a.json", OutputKind("jsonl")),
        ("a.jsonl.gz", OutputKind("jsonl", compressed=True)),
        ("A.CSV", OutputKind("csv")),
        ("2026.11.30.csv.gz", OutputKind("csv", compressed=True)),
        ("a.tsv", OutputKind("tsv")),
        ("a.xlsx", OutputKind("xlsx")),
        ("a.parquet", OutputKind("parquet")),
        ("a.pq", OutputKind("parquet")),
        ("answers", OutputKind("jsonl")),
        (".answers", OutputKind("jsonl")),
        ("-", OutputKind("jsonl")),
        ("/dev/stdout", OutputKind("jsonl")),
        ("/dev/fd/63", OutputKind("jsonl")),
    ],
)
def test_the_ending_says_what_a_file_holds(name: str, kind: OutputKind) -> None:
    assert output_kind(Path(name)) == kind


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.txt", "known are .jsonl, .ndjson, .json, .csv, .tsv, .xlsx, .parquet, .pq"),
        ("a.cvs", "did you mean .csv?"),
        ("a.ods", "every spreadsheet opens .xlsx"),
        ("a.xlsx.gz", "leave .gz out"),
        ("a.parquet.gz", "leave .gz out"),
        ("a.txt.gz", ".txt does not say"),
    ],
)
def test_an_unknown_ending_is_refused_with_those_that_are_known(name: str, told: str) -> None:
    with pytest.raises(InputRefused, match=r".*") as refused:
        output_kind(Path(name))

    assert told in str(refused.value)


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("kept")

    assert check_output(tmp_path / "old.csv") == OutputKind("csv")
    assert check_output(tmp_path / "new.pq") == OutputKind("parquet")
    assert check_output(Path("-")) == check_output(Path("/dev/stdout")) == OutputKind("jsonl")

    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no/such/a.csv", "make it first"),
        ("folder.csv", "is a folder"),
        ("file/a.csv", "no folder"),
        ("x" * 254 + ".csv", "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(InputRefused) as refused:
        check_output(tmp_path / name)

    assert told in str(refused.value)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: Any, **more: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)

    with pytest.raises(InputRefused, match="cannot be written: Permission denied"):
        check_output(tmp_path / "a.csv")


def test_a_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")

    with replacing(path) as out:
        out.write(b"new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]


def test_after_an_exception_there_is_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")

    with pytest.raises(RuntimeError), replacing(path) as out:
        out.write(b"half")
        raise RuntimeError

    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_that_was_private_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.touch(mode=0o600)

    with replacing(path) as out:
        out.write(b"new")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_link_points_to_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.jsonl"
    link.symlink_to(tmp_path / "there" / "real.jsonl")

    with replacing(link) as out:
        out.write(b"new")

    assert link.is_symlink()
    assert (tmp_path / "there" / "real.jsonl").read_text() == "new"


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "a.fifo"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    assert check_output(pipe) == OutputKind("jsonl")
    with replacing(pipe) as out:
        out.write(b"through")

    assert os.read(reader, 100) == b"through"
    os.close(reader)


def test_a_full_disk_is_an_error_and_not_a_file(tmp_path: Path) -> None:
    full = Path("/dev/full")

    with pytest.raises(OSError, match="No space left"), replacing(full) as out, text_of(out) as text:
        text.write("x" * 100)


def test_compressed_text_is_the_same_bytes_each_time() -> None:
    def written() -> bytes:
        out = io.BytesIO()
        with text_of(out, compressed=True) as text:
            text.write("天空\n")
        return out.getvalue()

    assert gzip.decompress(written()).decode() == "天空\n"
    assert written() == written()


def texts(*names: str, own: bool = False) -> list[Column]:
    return [Column(name, "text", own=own) for name in names]


def _csv(rows: list[list[Any]], **form: Any) -> str:
    out = io.StringIO(newline="")
    columns = texts(*(f"c{at}" for at in range(len(rows[0]))))
    assert write_csv(out, columns, rows, form=CsvForm(**form)) == len(rows)
    return out.getvalue()


def _cells(text: str, **options: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), **options))[1:]


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x")',
        "+1-202-555-0143",
        " =1+1",
        "\u00a0@x",
        "\u200b=1",
        "- a list",
        "-cmd",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\0=1",
        "＝1+1",
        "-",
    ],
)
def test_a_text_that_a_spreadsheet_takes_for_a_formula_has_an_apostrophe_before_it(text: str) -> None:
    assert _cells(_csv([[text]])) == [[f"'{text}"]]
    assert _cells(_csv([[text]], safe=False)) == [[text]]


NUMBERS = ["-5", "+5", "-0.5e-3", "-5,30", "+49 30 901820", "-12,5 %", -5, -0.5]


@pytest.mark.parametrize("value", [*NUMBERS, "a=b", "x", "'quoted'", "{}"])
def test_a_number_or_a_plain_text_stays_as_it_is(value: Any) -> None:
    assert _cells(_csv([[value]])) == [[str(value)]]


def test_numbers_are_written_without_an_exponent() -> None:
    numbers = [3.4123e-05, 1e22, 0.5, 12, -1.5e-07]
    written = ["0.000034123", "10000000000000000000000", "0.5", "12", "-0.00000015"]
    assert _cells(_csv([numbers])) == _cells(_csv([numbers], safe=False)) == [written]


def test_a_cell_of_the_input_that_was_changed_is_said() -> None:
    said: list[str] = []
    out = io.StringIO(newline="")
    columns = [*texts("name", own=True), *texts("answer")]

    write_csv(out, columns, [["=1+1", "=2+2"], ["-5,30", "- list"]], say=said.append)
    write_csv(out, columns, [["=1+1", "=2+2"]], form=CsvForm(safe=False), say=said.append)

    assert [one[:32] for one in said] == ["In 1 cell of the input's columns"]


def test_the_header_is_no_formula_either() -> None:
    out = io.StringIO(newline="")

    write_csv(out, texts("=cmd", "b"), [])

    assert out.getvalue() == '"\'=cmd","b"\r\n'


HOSTILE = [
    "ok;=1+1",
    "ok;=cmd|' /C calc'!A0;",
    "ok; =1+1",
    'ok;"=1+1',
    "ok\t=1+1",
    "ok\n=1+1",
    "ok\r\n=1+1",
    "\n=1",
    "ok;＝1+1",
    "a list:\n- one\n-cmd|' /C calc'!A0",
    "ok;+HYPERLINK(1)",
    "ok;@SUM(1)",
    "x;\u00a0=1",
    '";=1+1',
]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula_whatever_a_country_ends_cells_with(text: str, delimiter: str) -> None:
    out = io.StringIO(newline="")
    write_csv(out, texts(text, "b"), [["c0", text], [text, 1]], form=CsvForm(delimiter=delimiter))

    for read_with in ",;\t":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):  # of the lenient readers the two extremes
            lines = io.StringIO(out.getvalue(), newline="")
            for cells in csv.reader(lines, delimiter=read_with, quoting=quoting):
                for cell in cells:
                    shown = cell.strip().strip('"\u00a0 ')
                    assert not shown.startswith(("=", "＝", "-cmd", "+HYPER", "@SUM")), (read_with, cells)


def test_lists_code_and_sums_within_an_answer_stay_as_they_are() -> None:
    answer = "Sure:\n- one; -5 °C\n- two\n+ three\n@property\nx == 1; a=b, c = d"

    assert _cells(_csv([[answer]])) == [[answer]]


def test_a_long_hostile_text_is_written_in_no_time() -> None:
    rows = [["\n" * 200_000], [",-" * 100_000], [";" * 200_000], ["\n-" * 50_000]]

    assert _csv(rows).count("\r\n") == 5


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_texts_come_back_from_csv_as_they_went(delimiter: str) -> None:
    rows = [["a\nb", "a\r\nb", "a\rb", 'say "天", or', "x\ty", "", " x "], ["1"] * 7]

    assert _cells(_csv(rows, delimiter=delimiter), delimiter=delimiter) == rows


def test_values_that_are_no_text_are_written_as_json_writes_them() -> None:
    row = [None, True, False, 3, 0.5, {"天": [1, None]}, [1], NOW]

    assert _cells(_csv([row])) == [
        ["", "true", "false", "3", "0.5", '{"天": [1, null]}', "[1]", "2026-11-30T21:00:14.300000Z"]
    ]


def test_a_byte_order_mark_comes_first_and_only_when_asked_for() -> None:
    assert _csv([["x"]], bom=True).startswith("\ufeffc0\r\n")
    assert _csv([["x"]]).startswith("c0")


COLUMNS = [
    Column("text", "text"),
    Column("whole", "integer"),
    Column("number", "number"),
    Column("truth", "truth"),
    Column("time", "time"),
]


def test_columns_of_parquet_have_their_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    with path.open("wb") as out:
        rows = write_parquet(out, COLUMNS, [["天", 2**60, 1, True, NOW], [None] * 5])

    table = pq.read_table(path)
    assert rows == 2
    assert {field.name: str(field.type) for field in table.schema} == {
        "text": "string",
        "whole": "int64",
        "number": "double",
        "truth": "bool",
        "time": "timestamp[us, tz=UTC]",
    }
    assert table.to_pylist() == [
        {"text": "天", "whole": 2**60, "number": 1.0, "truth": True, "time": NOW},
        dict.fromkeys(table.schema.names),
    ]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_value_of_another_kind_is_text_in_a_column_of_texts_and_null_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    with path.open("wb") as out:
        write_parquet(out, COLUMNS, [[{"a": True}, "x", "x", 1, "x"], [True, 2**70, True, "x", 1]])

    texts, *others = pq.read_table(path).to_pydict().values()
    assert texts == ['{"a": true}', "true"]
    assert others == [[None, None]] * 4


def test_no_row_is_a_parquet_file_with_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    with path.open("wb") as out:
        assert write_parquet(out, COLUMNS, []) == 0

    assert list(pd.read_parquet(path)) == ["text", "whole", "number", "truth", "time"]


def test_a_row_group_ends_at_so_many_rows_or_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    monkeypatch.setattr(parquet, "GROUP_CHARACTERS", 100)
    path = tmp_path / "a.parquet"

    def rows() -> Iterator[list[Any]]:
        for text in ("a", "b", "c", "d", "x" * 100, "e"):
            yield [text]

    with path.open("wb") as out:
        write_parquet(out, COLUMNS[:1], rows())

    found = pq.ParquetFile(path)
    assert [found.metadata.row_group(at).num_rows for at in range(found.num_row_groups)] == [3, 2, 1]
    assert found.read().to_pydict()["text"][-2:] == ["x" * 100, "e"]


@pytest.mark.parametrize(
    ("output", "source", "expected"),
    [
        ("out/answers.csv", "in.csv", "out/answers.rejects.jsonl"),
        ("out/answers.jsonl.gz", "in.csv", "out/answers.rejects.jsonl"),
        ("out/answers", "in.csv", "out/answers.rejects.jsonl"),
        ("/dev/stdout", "in/rows.csv", "in/rows.rejects.jsonl"),
        ("-", "in/rows.parquet", "in/rows.rejects.jsonl"),
        (None, "in/rows.v2.csv", "in/rows.v2.rejects.jsonl"),
        (None, "in/rows.rejects.jsonl", "in/rows.rejects.rejects.jsonl"),
        (None, "-", "stdin.rejects.jsonl"),
    ],
)
def test_rejects_lie_beside_the_output_or_the_input(output: str | None, source: str, expected: str) -> None:
    path = rejects_path(None if output is None else Path(output), Path(source))

    assert path.as_posix() == expected


def _problem(line: int, code: str = "blank") -> Problem:
    return Problem(line, "prompt", code, f"prompt: {code}")


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_skipped_line_is_kept_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.rejects.jsonl"

    with RejectsFile(path) as rejects:
        rejects.add(_problem(3), InputLine(3, b'{"prompt": " \xe5\xa4\xa9\xff"}'))
        rejects.add(_problem(5), InputLine(5, None, None, original={"name": "天", "n": 1}))
        assert not path.exists()

    assert rejects.count == 2
    assert _lines(path) == [
        {
            "line": 3,
            "field": "prompt",
            "code": "blank",
            "message": "prompt: blank",
            "input": '{"prompt": " 天\ufffd"}',
        },
        {
            "line": 5,
            "field": "prompt",
            "code": "blank",
            "message": "prompt: blank",
            "input": {"name": "天", "n": 1},
        },
    ]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_there_is_no_file_of_rejects_without_a_reject(tmp_path: Path) -> None:
    with RejectsFile(tmp_path / "a.rejects.jsonl"):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lines", [[3, 5, 9], [5], [5, 5]])
def test_an_input_that_is_read_twice_is_in_the_file_once(tmp_path: Path, lines: list[int]) -> None:
    path = tmp_path / "a.rejects.jsonl"

    with RejectsFile(path) as rejects:
        for _ in range(2):
            for nth, line in enumerate(lines):
                rejects.add(_problem(line, f"code_{nth}"), InputLine(line, b"x"))

    assert [(one["line"], one["code"]) for one in _lines(path)] == [
        (line, f"code_{nth}") for nth, line in enumerate(lines)
    ]
    assert rejects.count == len(lines)


def test_rejects_of_an_earlier_run_are_replaced_and_kept_when_the_next_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.rejects.jsonl"
    for line in (1, 2):
        with RejectsFile(path) as rejects:
            rejects.add(_problem(line), InputLine(line, b"x"))

    with pytest.raises(KeyboardInterrupt), RejectsFile(path) as rejects:
        rejects.add(_problem(3), InputLine(3, b"x"))
        raise KeyboardInterrupt

    assert [one["line"] for one in _lines(path)] == [2]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_rejects_stay_when_nothing_of_the_input_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.rejects.jsonl"

    with pytest.raises(InputRefused), RejectsFile(path) as rejects:
        rejects.add(_problem(1), InputLine(1, b"x"))
        raise InputRefused([_problem(0, "empty")])

    assert [one["line"] for one in _lines(path)] == [1]
