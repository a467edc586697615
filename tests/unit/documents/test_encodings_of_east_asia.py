"""Chinese, Japanese and Korean in the encodings of their countries: read right, or refused, and never as one another."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.documents.east_asian_texts import ALPHABETS, WORDS, WRITTEN, lines
from worker.documents.encodings import decoded, encoding_label, find_encoding
from worker.documents.likelihood import likeliest
from worker.documents.tables import open_rows
from worker.errors import InputRefused

ENCODINGS = ("gb18030", "big5", "cp932", "euc_jp", "cp949")


def outcome(data: bytes, text: str) -> str:
    try:
        reading, _ = decoded(data)
    except ValueError:
        return "refused"
    return "right" if reading == text else "wrong"


@pytest.mark.parametrize("encoding", WRITTEN)
def test_a_line_of_text_is_read_right_or_refused_and_never_wrong(encoding: str) -> None:
    texts = lines(WRITTEN[encoding], encoding)

    outcomes = Counter(outcome(text.encode(encoding), text) for text in texts)

    assert outcomes["wrong"] == 0
    assert outcomes["refused"] <= 2, outcomes


@pytest.mark.parametrize("encoding", WRITTEN)
@pytest.mark.parametrize("many", [3, 300])
def test_a_file_of_several_rows_is_read_right(encoding: str, many: int) -> None:
    texts = lines(WRITTEN[encoding], encoding)
    chance = random.Random(many)
    text = "id,text\n" + "".join(f'{n},"{chance.choice(texts)}"\n' for n in range(many))

    assert outcome(text.encode(encoding), text) == "right"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("word", WORDS)
def test_a_single_word_is_never_read_as_another(encoding: str, word: str) -> None:
    try:
        data = word.encode(encoding)
    except UnicodeEncodeError:
        pytest.skip("not in this encoding")
    if word == "谢谢" and encoding == "gb18030":
        pytest.skip("these bytes are лл in UTF-8, and a file that is right in UTF-8 is read so")

    assert outcome(data, word) != "wrong"


@pytest.mark.parametrize("encoding", ALPHABETS)
def test_text_of_a_code_page_is_refused(encoding: str) -> None:
    for text in ALPHABETS[encoding]:
        for many in (1, 40):
            data = "".join(f"{n},{text}\n" for n in range(many)).encode(encoding)

            assert outcome(data, "") == "refused", (text, many)


def test_utf_8_is_read_as_such_however_few_characters_it_holds() -> None:
    texts = (
        [text for group in ALPHABETS.values() for text in group]
        + list(WORDS)
        + ["é", "Å", "ß", "ñ,Ñ", "µ", "§ 5"]
    )

    assert [text for text in texts if outcome(text.encode(), text) != "right"] == []


@pytest.mark.parametrize(
    ("word", "encoding"),
    [("目前", "gb18030"), ("母女", "gb18030"), ("치킨", "cp949"), ("카트", "cp949"), ("店長", "euc_jp")],
)
def test_a_word_that_only_by_accident_is_utf_8_is_refused(tmp_path: Path, word: str, encoding: str) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(word.encode(encoding))

    with pytest.raises(InputRefused, match="may be UTF-8 or"):
        find_encoding(path)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", ["cp949", "cp932", "euc_jp", "big5", "gb18030", "iso2022_jp"])
def test_rows_are_read_right_in_files_of_every_kind(tmp_path: Path, ending: str, encoding: str) -> None:
    texts = [text for text in lines(WRITTEN[encoding], encoding) if '"' not in text]
    path = tmp_path / f"in.{ending}"
    if ending == "jsonl":
        content = "".join(f'{{"text":"{text}"}}\n' for text in texts)
    else:
        content = "".join(f"{text}{'x' if ending == 'csv' else ''}\n" for text in ["text", *texts])
    path.write_bytes(content.encode(encoding))

    rows = list(open_rows(path))

    if ending == "jsonl":
        assert [row.raw for row in rows] == [f'{{"text":"{text}"}}'.encode() for text in texts]
    else:
        values = [next(iter(row.values.values())) for row in rows if row.values is not None]
        assert values
        assert {value.rstrip("x") for value in values} <= set(texts)


def test_what_may_be_two_encodings_is_refused_with_both_names(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("name\n好\n".encode("gb18030"))

    with pytest.raises(InputRefused) as caught:
        find_encoding(path)

    message = caught.value.problems[0].message
    assert "gb18030 (Chinese) or" in message
    assert "--encoding" in message


def test_files_that_were_put_together_in_two_encodings_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    first = "".join(f"{n},{text}\n" for n, text in enumerate(WRITTEN["gb18030"]))
    path.write_bytes(first.encode("gb18030") + "10,质量非常好好\n".encode() * 3)

    with pytest.raises(InputRefused) as caught:
        find_encoding(path)

    assert caught.value.problems[0].line == 10


def test_the_rarest_characters_of_an_encoding_do_not_change_what_it_is() -> None:
    korean = "똠방각하 펩시 힣 뷁 쀍 " + WRITTEN["cp949"][0]
    chinese = WRITTEN["gb18030"][0] + "㐀龘𠀀"

    assert decoded(korean.encode("cp949")) == (korean, "cp949")
    assert decoded(chinese.encode("gb18030")) == (chinese, "gb18030")


def test_a_sample_that_ends_within_a_character_is_weighed_all_the_same() -> None:
    data = (WRITTEN["cp949"][0] * 3).encode("cp949")

    assert {likeliest(data[:end])[0] for end in range(40, 60)} == {"cp949"}


def test_an_encoding_is_shown_as_the_option_takes_it() -> None:
    for name in ENCODINGS:
        assert "".encode(encoding_label(name).split(" ")[0]) == b""
