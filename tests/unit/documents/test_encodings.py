from pathlib import Path

import pytest

from worker.documents import encodings
from worker.documents.encodings import find_encoding, first_bad, named_encoding, read_text, read_text_argument
from worker.errors import InputRefused, Problem

CHINESE = "名称,描述\n鞋,好的商品质量非常不错\n" * 20


def written(folder: Path, data: bytes) -> Path:
    path = folder / "text"
    path.write_bytes(data)
    return path


def refusal(path: Path) -> Problem:
    with pytest.raises(InputRefused) as caught:
        find_encoding(path)
    return caught.value.problems[0]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_characters_that_lie_across_blocks_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(encodings, "BLOCK", block)

    assert first_bad(written(tmp_path, CHINESE.encode()), "utf-8") is None
    assert first_bad(written(tmp_path, CHINESE.encode("gb18030")), "gb18030") is None


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_a_bad_byte_is_named_by_line_and_place_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(encodings, "BLOCK", block)
    right = CHINESE.encode()
    path = written(tmp_path, right + "好".encode()[:2] + b"x\n" + right)

    problem = refusal(path)

    assert (problem.line, problem.code) == (41, "invalid_encoding")
    assert f"UTF-8 with a byte that is not: byte 0xe5 at {len(right) + 1:,} of the file" in problem.message
    assert "--encoding" in problem.message


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("name,text\nMüller,café au lait\nGünther,weiß\n", "cp1252"),
        ("a,b\nnaïve,1\n", "cp1252"),
        ("Äpfel,Öl\nÄrzte,Ämter\n", "cp1252"),
    ],
)
def test_text_of_another_encoding_is_refused_rather_than_read_as_gb18030(
    tmp_path: Path, text: str, encoding: str
) -> None:
    problem = refusal(written(tmp_path, text.encode(encoding)))

    assert problem.code == "invalid_encoding"
    assert "not UTF-8" in problem.message


def test_a_few_chinese_characters_are_enough_for_gb18030(tmp_path: Path) -> None:
    assert find_encoding(written(tmp_path, "name,1\n质量很好,2\n".encode("gb18030"))) == "gb18030"


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_refused_with_the_name_to_tell(tmp_path: Path, name: str) -> None:
    assert f"say --encoding {name}" in refusal(written(tmp_path, "a,b\n鞋,2\n".encode(name))).message


@pytest.mark.parametrize(("name", "codec"), [("UTF8", "utf-8"), ("gbk", "gb18030"), ("Latin-1", "iso8859-1")])
def test_an_encoding_goes_by_any_of_its_names(name: str, codec: str) -> None:
    assert named_encoding(name) == codec


@pytest.mark.parametrize(
    ("name", "hint"),
    [("uft-8", "did you mean utf-8?"), ("ANSI", "did you mean cp1252?"), ("hex", "usual ones are utf-8")],
)
def test_an_unknown_encoding_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputRefused, match="--encoding: no encoding") as caught:
        named_encoding(name)

    assert hint in str(caught.value)


def test_text_behind_an_at_sign_is_a_file_and_two_of_them_are_one(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfSummarise: {{ text }}\n")
    chinese = tmp_path / "chinese"
    chinese.write_bytes("请总结这段文字的内容:{{ 描述 }}".encode("gb18030"))

    assert read_text_argument(f"@{path}") == "Summarise: {{ text }}\n"
    assert read_text_argument(f"@{chinese}") == "请总结这段文字的内容:{{ 描述 }}"
    assert read_text_argument("@@home") == "@home"
    assert read_text_argument("plain @text") == "plain @text"


def test_a_text_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="No such file"):
        read_text_argument(f"@{tmp_path / 'none'}")
    with pytest.raises(InputRefused, match="not ascii: byte 0xc3 at 3"):
        read_text(written(tmp_path, "caé".encode()), encoding="ascii")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "line",
    [
        "一九九一年，送货花了一个星期。",
        "配送に一週間かかりました。",
        "배송이 일주일",
        "Доставка заняла неделю",
    ],
)
def test_utf_16_without_a_mark_is_named_and_never_offered_as_another_encoding(
    tmp_path: Path, encoding: str, line: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(f"id,text\n1,{line}\n2,{line}\n".encode(encoding))

    with pytest.raises(InputRefused, match=f"--encoding .*{encoding}") as refused:
        find_encoding(path)

    assert "cp12" not in str(refused.value)


def test_chinese_in_letters_of_ascii_is_refused_and_the_same_signs_in_a_text_are_not(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("送货花了一个星期。".encode("hz"))

    with pytest.raises(InputRefused, match="--encoding hz or utf-8"):
        find_encoding(path)

    path.write_text("a ~{x} b ~} and ~/home\n")
    assert find_encoding(path) == "utf-8"
