"""An answer that is written word by word on a terminal: lines end between words."""

import pytest

from worker.cli.plain import cells
from worker.cli.wrapping import WordWrap

PROSE = "The sky is blue because molecules of the air scatter short wavelengths of sunlight. "
CJK = "天空是蓝色的，因为空气分子会散射阳光中波长较短的光。所以我们看到蓝色（而不是红色）。"


def wrapped(pieces: list[str], width: int) -> str:
    written: list[str] = []
    wrap = WordWrap(written.append, lambda: width)
    for piece in pieces:
        wrap.put(piece)
    wrap.end()
    return "".join(written)


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("width", [20, 33, 80])
def test_lines_end_between_words_whatever_the_pieces(size: int, width: int) -> None:
    shown = wrapped(pieces(PROSE * 3, size), width)

    assert shown.split() == (PROSE * 3).split()
    assert all(cells(line.rstrip()) <= width for line in shown.split("\n"))
    assert shown.count("\n") <= len(PROSE * 3) // (width - 12) + 1


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("width", [20, 21, 40])
def test_lines_of_chinese_end_between_signs_and_none_begins_with_a_comma(size: int, width: int) -> None:
    shown = wrapped(pieces(CJK * 3, size), width)
    lines = shown.split("\n")

    assert shown.replace("\n", "") == CJK * 3
    assert all(width - 6 <= cells(line) <= width for line in lines[:-1])
    assert not any(line.startswith(("，", "。", "）")) or line.endswith("（") for line in lines)


def test_korean_and_mixed_text_part_where_words_do() -> None:
    assert wrapped(["하늘은 파랗습니다"], 12) == "하늘은 \n파랗습니다"
    assert wrapped(["蓝色 wavelengths蓝色"], 12) == "蓝色 \nwavelengths\n蓝色"


def test_code_and_tables_are_left_as_they_are() -> None:
    text = "Run this:\n```sh\ncaravan run products.csv --template ad.j2 --id SKU\n    exit\n```\n| a | b and c and d |\n"

    assert wrapped(pieces(text, 3), 20) == text
    assert wrapped([f"{text}and so on for all the others"], 20) == f"{text}and so on for all \nthe others"


def test_line_ends_and_indents_of_the_answer_stay() -> None:
    text = "Two things:\n\n- one\n- two\n\n  and more\n"

    assert wrapped(pieces(text, 2), 20) == text


def test_a_word_longer_than_a_line_is_folded_by_the_terminal() -> None:
    address = "https://example.com/a/very/long/address"

    shown = wrapped(["see ", *pieces(address, 6), " and go on"], 20)

    assert address in shown
    assert shown.startswith("see \nhttps")


def test_pieces_are_written_as_they_come_and_words_near_the_edge_when_they_are_whole() -> None:
    written: list[str] = []
    wrap = WordWrap(written.append, lambda: 40)

    for piece in ("The sk", "y is"):
        wrap.put(piece)
        written.append("|")
    wrap.put(" blue be")
    wrap.put("cause")
    near = "".join(written)
    wrap.put(" of")

    assert near == "The sk|y is| blue "
    assert "".join(written).endswith("because ")


def test_a_terminal_that_is_made_narrower_and_wider_keeps_words_whole() -> None:
    written: list[str] = []
    width = [40]
    wrap = WordWrap(written.append, lambda: width[0])
    for at, word in enumerate((PROSE * 4).split()):
        width[0] = (40, 24, 60)[at // 10 % 3]
        wrap.put(f"{word} ")
    wrap.end()
    shown = "".join(written)

    assert shown.split() == (PROSE * 4).split()
    assert all(cells(line.rstrip()) <= 60 for line in shown.split("\n"))
