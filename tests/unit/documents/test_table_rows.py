import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.documents import delimited, lines
from worker.documents.row import Row
from worker.documents.tables import ReadingRules, open_rows
from worker.errors import InputRefused, Problem

GOODS = '编号;价格 (元);描述\r\n1;3,5;"红色\r\n鞋子"\r\n\r\n2;4;"好的商品,质量 ""非常"" 不错"\r\n'
GOODS_ROWS = [
    (2, {"编号": "1", "价格 (元)": "3,5", "描述": "红色\r\n鞋子"}),
    (5, {"编号": "2", "价格 (元)": "4", "描述": '好的商品,质量 "非常" 不错'}),
]


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refusal(path: Path, *, encoding: str | None = None) -> Problem:
    with pytest.raises(InputRefused) as caught:
        list(open_rows(path, ReadingRules(encoding)))
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("gb18030", "gb18030"),
        ("gbk", "gb18030"),
        ("utf-16", "utf-16"),
    ],
)
def test_a_table_reads_the_same_in_every_encoding_that_is_found(
    tmp_path: Path, encoding: str, found: str
) -> None:
    path = written(tmp_path, "goods.csv", GOODS.encode(encoding))

    rows = open_rows(path)

    assert (rows.kind, rows.encoding) == ("csv", found)
    assert rows.columns == ("编号", "价格 (元)", "描述")
    assert [(row.line, row.values) for row in rows] == GOODS_ROWS


def test_rows_can_be_read_twice(tmp_path: Path) -> None:
    rows = open_rows(written(tmp_path, "goods.csv", GOODS))

    assert list(rows) == list(rows)


def test_a_packed_table_is_unpacked_on_the_way(tmp_path: Path) -> None:
    path = written(tmp_path, "goods.csv.gz", gzip.compress(GOODS.encode("gb18030")))

    assert [(row.line, row.values) for row in open_rows(path)] == GOODS_ROWS


def test_a_packed_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "goods.csv.gz", gzip.compress(GOODS.encode())[:-12])

    assert refusal(path).code == "unreadable"


def test_an_encoding_that_is_told_is_not_looked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "names.csv", "name,text\nMüller,café au lait\n".encode("cp1252"))

    rows = list(open_rows(path, ReadingRules("latin1")))

    assert rows == [Row(2, {"name": "Müller", "text": "café au lait"}, None)]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_splits_header_and_rows_alike(tmp_path: Path, sign: str) -> None:
    text = f"name{sign}text\na{sign}one, two; three\n" if sign != "," else 'name,text\na,"one, two; three"\n'
    text = text if sign != ";" else 'name;text\na;"one, two; three"\n'

    rows = list(open_rows(written(tmp_path, "any.csv", text)))

    assert rows == [Row(2, {"name": "a", "text": "one, two; three"}, None)]


def test_a_delimiter_within_the_header_does_not_win_over_the_one_the_rows_use(tmp_path: Path) -> None:
    path = written(tmp_path, "any.csv", "size,cm;text\n4;a\n5;b, c, d\n")

    assert open_rows(path).columns == ("size,cm", "text")


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, "one.csv", 'text\nhello; you | there\n"a, b"\n')

    assert [row.values for row in open_rows(path)] == [{"text": "hello; you | there"}, {"text": "a, b"}]


def test_tab_separated_values_are_split_at_tabs_whatever_else_they_hold(tmp_path: Path) -> None:
    path = written(tmp_path, "one.tsv", "a,b\tc\n1,2\t3\n")

    assert [row.values for row in open_rows(path)] == [{"a,b": "1,2", "c": "3"}]


def test_the_line_with_which_excel_tells_its_delimiter_is_no_header(tmp_path: Path) -> None:
    path = written(tmp_path, "excel.csv", "sep=|\r\na,x|b\r\n1|2\r\n")

    assert list(open_rows(path)) == [Row(3, {"a,x": "1", "b": "2"}, None)]


def test_a_row_with_the_wrong_number_of_fields_is_a_problem_of_that_row_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "a,b\n1\n2,3,4\n5,6\n")

    few, many, right = open_rows(path)

    assert few.problem == Problem(
        2, "b", "too_few_fields", "1 field, the header has 2 (separated by ','): none for b"
    )
    assert many.problem is not None
    assert (many.line, many.values, many.raw, many.problem.code) == (3, None, b"2,3,4", "too_many_fields")
    assert right == Row(4, {"a": "5", "b": "6"}, None)


def test_a_broken_quote_is_a_problem_of_its_row_and_reading_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", 'a,b\n"x"y,1\n5,6\n"open,7\n8,9\n')

    behind, right, never_closed = open_rows(path)

    assert behind.problem is not None
    assert behind.problem.message.startswith("text behind a closing quote (on line 2)")
    assert right.values == {"a": "5", "b": "6"}
    assert never_closed.problem == Problem(4, "", "invalid_csv", "a quote is opened and never closed")
    assert never_closed.raw == b'"open,7\n8,9'


def test_a_quote_that_swallows_the_file_ends_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "LINE_LIMIT", 1000)
    path = written(tmp_path, "rows.csv", 'a,b\n1,2\n"open,7\n' + "8,9\n" * 1000)

    problem = refusal(path)

    assert (problem.line, problem.code) == (3, "too_large")
    assert "a quote opened here and never closed" in problem.message


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("a,b,a\n1,2,3\n", "duplicate_column", "column 'a' is there twice (1 and 3)"),
        (",text\n0,x\n", "empty_column", "column 1 has no name; name it in the header (from pandas"),
        ("\n\n", "no_header", "only blank lines"),
        ("a,b\n", "empty", "a header and no row"),
        ("", "empty", "the file is empty"),
        ("PK\x03\x04...", "unknown_format", "save the sheet as CSV (UTF-8)"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path, text: str, code: str, said: str) -> None:
    problem = refusal(written(tmp_path, "any.csv", text))

    assert problem.code == code
    assert said in problem.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv").code == "unreadable"
    assert refusal(tmp_path).code == "unreadable"


def test_an_unknown_ending_is_json_lines_where_the_first_sign_says_so(tmp_path: Path) -> None:
    assert open_rows(written(tmp_path, "input", b'\n {"prompt": "x"}\n')).kind == "jsonl"
    problem = refusal(written(tmp_path, "input.cvs", "a,b\n"))
    assert problem.code == "unknown_format"
    assert "did you mean .csv?" in problem.message


@pytest.mark.parametrize("ending", [".csv.zst", ".csv.zip", ".jsonl.bz2"])
def test_a_file_packed_otherwise_than_with_gzip_is_to_be_unpacked(tmp_path: Path, ending: str) -> None:
    message = refusal(written(tmp_path, f"a{ending}", "x")).message
    assert "is packed; unpack it, or pack it with gzip" in message


def test_byte_order_marks_that_programs_put_twice_are_none_of_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "\ufeff\ufeffid,text\n1,a\n")
    assert open_rows(path).columns == ("id", "text")


def test_json_lines_keep_their_bytes_and_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "jobs.jsonl", '\ufeff{"a": "é"}\n\n{"b": 2}\r\n{"c": 3}')

    rows = open_rows(path)

    assert rows.columns is None
    assert list(rows) == [
        Row(1, None, '{"a": "é"}'.encode()),
        Row(2, None, b""),
        Row(3, None, b'{"b": 2}'),
        Row(4, None, b'{"c": 3}'),
    ]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_json_lines_of_another_encoding_become_utf_8(tmp_path: Path, encoding: str) -> None:
    text = '{"prompt": "好的商品质量非常不错"}\n\n{"b": 2}'
    path = written(tmp_path, "jobs.ndjson", text.encode(encoding))

    assert [row.raw for row in open_rows(path)] == [line.encode() for line in text.split("\n")]


def test_one_line_that_is_not_utf_8_spoils_no_other(tmp_path: Path) -> None:
    path = written(tmp_path, "jobs.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n{"b": 1}\n')

    first, second, third = open_rows(path)

    assert (first.problem, third.problem) == (None, None)
    assert second.problem is not None
    assert (second.problem.line, second.problem.code) == (2, "invalid_encoding")
    assert "--encoding" in second.problem.message


def test_a_line_over_the_limit_is_cut_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 10)
    path = written(tmp_path, "jobs.jsonl", b"x" * 35 + b"\n{}\n" + b"y" * 10 + b"\n")

    assert [row.raw for row in open_rows(path)] == [b"x" * 11, b"{}", b"y" * 10]


def test_what_cannot_be_decoded_as_told_names_its_line_and_byte(tmp_path: Path) -> None:
    lines = ["a,b"] + ["x,y"] * 50_000
    path = written(tmp_path, "any.csv", "\n".join(lines).encode() + b"\nz,\xff\n")

    *right, wrong = open_rows(path, ReadingRules("utf-8"))

    assert (len(right), all(row.problem is None for row in right)) == (50_000, True)
    assert wrong.problem is not None
    assert (wrong.line, wrong.problem.code) == (50_002, "invalid_encoding")
    assert "byte 0xff at 3 of line 50,002" in wrong.problem.message


def test_a_byte_that_is_wrong_spoils_its_row_alone_where_a_csv_is_surely_utf_8(tmp_path: Path) -> None:
    path = written(tmp_path, "any.csv", "id,text\n1,天空很蓝大海也很蓝\n2,".encode() + b'"a\nb\xff"\n3,ok\n')

    one, two, three = open_rows(path)

    assert [row.values and row.values["text"] for row in (one, two, three)] == [
        "天空很蓝大海也很蓝",
        None,
        "ok",
    ]
    assert two.problem is not None
    assert (two.line, two.problem.message[:40]) == (3, "not UTF-8: byte 0xff at 2 of line 4; cor")
    header = written(tmp_path, "header.csv", "天空很蓝大海也很蓝,te".encode() + b"\xffxt\n1,a\n")
    assert refusal(header).message.startswith("header: not UTF-8: byte 0xff")


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tables_of_two = st.lists(st.tuples(cells, cells), min_size=1, max_size=8)


@settings(max_examples=150)
@given(rows=tables_of_two, encoding=st.sampled_from(["utf-8", "gb18030", "utf-16"]))
def test_any_rows_that_csv_writes_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], encoding: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("left", "right"), *rows])
    path = written(tmp_path_factory.getbasetemp(), "any.csv", text.getvalue().encode(encoding))

    read = list(open_rows(path, ReadingRules(encoding)))

    assert [row.values for row in read] == [
        {"left": left, "right": right} for left, right in rows if left.strip() or right.strip()
    ]


chinese = st.text(st.sampled_from('红色的鞋子好商品质量非常不错,;"\n元'), min_size=1, max_size=12)


@settings(max_examples=100)
@given(
    rows=st.lists(
        st.tuples(chinese, chinese).filter(lambda row: row[0].strip() or row[1].strip()),
        min_size=1,
        max_size=8,
    ),
    encoding=st.sampled_from(["utf-8", "gb18030"]),
)
def test_any_chinese_rows_come_back_equal_without_being_told_the_encoding(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], encoding: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("商品名称", "商品的质量描述"), *rows])
    path = written(tmp_path_factory.getbasetemp(), "chinese.csv", text.getvalue().encode(encoding))

    opened = open_rows(path)

    assert opened.encoding == encoding
    assert [tuple((row.values or {}).values()) for row in opened] == rows
