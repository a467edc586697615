"""Text to token ids and back, what fits a window, what a runner remembers, what leaves it when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Line
from simulator.cache import PromptCache, Slot, common_prefix
from simulator.pieces import Pieces
from simulator.tokens import ScriptedVocabulary, UnknownToken, wide_vocabulary
from simulator.window import PromptTooLong, window_of

SCRIPTED = ScriptedVocabulary({263: "Sure", 264: " thing", 265: "."})
LLAMA = wide_vocabulary(128_256)
QWEN = wide_vocabulary(152_064)


def test_pieces_and_role_marks_are_taken_whole_and_the_rest_byte_by_byte() -> None:
    assert SCRIPTED.encode("<|user|>Sure thing.") == [260, 263, 264, 265]
    assert SCRIPTED.encode("a b") == [100, 229, 153, 132, 101]
    assert SCRIPTED.decode([100, 229, 153, 132, 101, 264]) == "a b thing"


@given(st.text())
def test_wide_tokens_give_the_text_back(text: str) -> None:
    assert LLAMA.decode(LLAMA.encode(text)) == text


def test_english_takes_about_three_characters_a_token_and_chinese_one() -> None:
    english = "A model that stays in memory answers in seconds."
    chinese = "天空是蓝色的"

    assert 2.5 < len(english) / len(LLAMA.encode(english)) < 4
    assert len(LLAMA.encode(chinese)) == len(chinese)


def test_a_context_of_a_larger_vocabulary_is_poison() -> None:
    context = QWEN.encode("<|user|>Hi<|end|>")

    with pytest.raises(UnknownToken):
        LLAMA.decode(context)


@pytest.mark.parametrize("token", [-1, 275, 999_999])
def test_a_token_that_is_not_there_has_no_text(token: int) -> None:
    with pytest.raises(UnknownToken):
        SCRIPTED.decode([token])


@pytest.mark.parametrize(
    ("line", "num_ctx", "tokens", "kept"),
    [("O", 256, 4_404, 256), ("H", 256, 4_404, 131), ("O", 4, 5, 4), ("H", 64, 65, 35), ("O", 256, 256, 256)],
)
def test_a_prompt_too_long_keeps_its_beginning_and_its_end(
    line: Line, num_ctx: int, tokens: int, kept: int
) -> None:
    prompt = list(range(tokens))

    fitted = window_of(num_ctx, 8_192, line).fit(prompt, num_keep=4, truncate=True, shift=True)

    assert len(fitted) == kept
    assert (fitted[0], fitted[-1]) == (0, tokens - 1)


def test_a_tiny_window_of_the_newer_line_keeps_one_less_than_it_has() -> None:
    assert len(window_of(4, 8_192, "H").fit(range(5), num_keep=4, truncate=True, shift=True)) == 3


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_prompt_too_long_is_refused_without_truncation(line: Line) -> None:
    with pytest.raises(PromptTooLong) as caught:
        window_of(256, 8_192, line).fit(list(range(300)), num_keep=4, truncate=False, shift=True)

    assert (caught.value.tokens, caught.value.window) == (300, 256)


def test_the_limit_of_an_answer_is_ten_windows() -> None:
    window = window_of(64, 8_192, "O")

    assert [window.answer_limit(number) for number in (5, -1, -2, 10_000)] == [5, 640, 640, 640]
    assert window.answer_limit(0) > 10**9
    assert window.room(60, shift=False) == 5


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_the_common_prefix_is_the_longest(first: list[int], second: list[int]) -> None:
    length = common_prefix(first, second)

    assert first[:length] == second[:length]
    assert (
        first[length : length + 1] != second[length : length + 1] or not first[length:] or not second[length:]
    )


def test_a_slot_is_chosen_by_what_it_remembers() -> None:
    cache = PromptCache([Slot([1, 2, 9]), Slot([1, 2, 3, 4])], "O")

    slot, cached = cache.take([1, 2, 3, 5])

    assert (slot is cache.slots[1], cached) == (True, 3)


def test_at_least_one_token_is_read_again() -> None:
    assert PromptCache([Slot([1, 2, 3])], "O").take([1, 2, 3])[1] == 2


@pytest.mark.parametrize(("line", "cached"), [("O", 0), ("H", 3)])
def test_what_another_prompt_displaced_comes_back_on_the_newer_line_only(line: Line, cached: int) -> None:
    cache = PromptCache([Slot()], line)
    for prompt in ([1, 2, 3, 4], [7, 8, 9]):
        slot, _ = cache.take(prompt)
        cache.give_back(slot, prompt)

    assert cache.take([1, 2, 3, 4])[1] == cached


def _leaving(stop: list[str], *said: bytes) -> list[str]:
    pieces = Pieces(stop)
    sent = []
    for piece in said:
        text = pieces.add(piece)
        sent += [text] if text else []
        if pieces.stopped:
            break
    return [*sent, held] if (held := pieces.flush()) else sent


def test_what_may_become_a_stop_string_is_held_back() -> None:
    said = (b"a", b" green", b" hills", b" and")

    assert _leaving([" green hillside"], *said) == ["a", " green hills and"]
    assert _leaving([" green hills"], *said) == ["a"]
    assert _leaving(["reen"], *said) == ["a", " g"]
    assert _leaving([" and more"], *said) == ["a", " green", " hills", " and"]


def test_half_a_character_waits_for_its_other_half() -> None:
    sky = "天".encode()

    assert _leaving([], sky[:1], sky[1:2], sky[2:], b"!") == ["天", "!"]
    assert _leaving([], b"\xf0\x9f\x98", b"\x80") == ["😀"]
    assert _leaving([], b"x", b"y" + sky[:2]) == ["x", "y"]  # what is never completed is not sent


def test_an_empty_stop_string_stops_at_once() -> None:
    assert _leaving([""], b"a", b"b") == []
