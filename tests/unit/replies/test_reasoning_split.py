import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.replies.families import FAMILIES, families_with
from worker.replies.reasoning import Split, split_reasoning

ANY = (True, False, None)
MARKS = (
    *(f"word{n} " for n in range(4)),
    *(
        mark
        for one in FAMILIES
        for mark in (one.opening, one.closing, one.answer_opening, one.answer_closing)
        if mark
    ),
    *(
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
        "<|start|>assistant",
        "<|end|>",
        "<|return|>",
    ),
    *("`", "```", "\n", " ", "</th"),
)


def split(
    response: str,
    thinking: str = "",
    *,
    done: str | None = "stop",
    expects: bool | None = None,
) -> Split:
    return split_reasoning(response, thinking, done_reason=done, expects_reasoning=expects)


@pytest.mark.parametrize("expects", ANY)
def test_reasoning_that_came_apart_leaves_the_answer_as_it_is(
    expects: bool | None,
) -> None:
    parted = split("Close it with </think>.\n", "hm\n", expects=expects)

    assert parted == Split("Close it with </think>.\n", "hm")


@pytest.mark.parametrize("done", ["length", "stop"])
def test_reasoning_that_came_apart_without_an_answer_is_open(done: str) -> None:
    assert split("", "Okay, the user", done=done) == Split("", "Okay, the user", open=True)


@pytest.mark.parametrize("expects", ANY)
def test_inline_reasoning_is_split_whatever_the_host_says_of_the_model(
    expects: bool | None,
) -> None:
    response = "<think>\nOkay, the user asks.</think>\n\nThe sky looks blue. "

    assert split(response, expects=expects) == Split("The sky looks blue. ", "Okay, the user asks.")


def test_white_space_before_the_opening_tag_is_skipped() -> None:
    assert split("\n <think>hm</think>Blue.") == Split("Blue.", "hm")


@pytest.mark.parametrize("expects", ANY)
def test_an_empty_reasoning_block_is_no_reasoning(expects: bool | None) -> None:
    assert split("<think>\n\n</think>\n\nBlue.", expects=expects) == Split("Blue.")


def test_reasoning_without_an_answer_after_it_is_closed() -> None:
    assert split("<think>hm</think>\n") == Split("", "hm")


@pytest.mark.parametrize("expects", ANY)
@pytest.mark.parametrize("response", ["<think>\nOkay, the", "<think>Okay, the"])
def test_an_open_tag_in_a_cut_reply_makes_all_of_it_reasoning(response: str, expects: bool | None) -> None:
    assert split(response, done="length", expects=expects) == Split("", "Okay, the", open=True)


@pytest.mark.parametrize("expects", ANY)
def test_a_stop_string_inside_the_reasoning_leaves_it_open(
    expects: bool | None,
) -> None:
    assert split("<think>\nLet me", expects=expects) == Split("", "Let me", open=True)


@pytest.mark.parametrize("expects", [False, None])
def test_an_answer_that_begins_with_the_name_of_a_tag_is_an_answer(
    expects: bool | None,
) -> None:
    response = "<think> is the tag that opens reasoning."

    assert split(response, expects=expects) == Split(response)


def test_a_closing_tag_that_was_cut_in_two_is_no_part_of_the_reasoning() -> None:
    assert split("<think>\nfine</thi", done="length") == Split("", "fine", open=True)


@pytest.mark.parametrize("expects", [True, None])
def test_an_opening_tag_that_was_cut_in_two_is_open_reasoning(
    expects: bool | None,
) -> None:
    assert split("<thi", done="length", expects=expects) == Split("", None, open=True)


@pytest.mark.parametrize("expects", [True, None])
def test_a_template_that_opened_the_tag_leaves_only_the_closing_one(
    expects: bool | None,
) -> None:
    assert split("Okay, hm.\n</think>\n\nBlue.", expects=expects) == Split("Blue.", "Okay, hm.")


def test_a_closing_tag_amid_a_line_counts_only_where_reasoning_is_expected() -> None:
    response = "Okay, hm.</think>Blue."

    assert split(response, expects=True) == Split("Blue.", "Okay, hm.")
    assert split(response, expects=None) == Split(response)


@pytest.mark.parametrize(
    "response",
    [
        "Close it with </think>.",
        "A block is <think>…</think>, then the answer.",
        "First line.\n<think>\nhm\n</think>\nLast line.",
        "```\nOkay.\n</think>\n```",
        "Write `</think>`\nto close it.",
        "Just an answer.",
        "",
        "  two spaces before, one after ",
    ],
)
def test_tags_that_an_answer_speaks_about_stay_in_it(response: str) -> None:
    assert split(response, expects=None) == Split(response)
    assert split(response, expects=False) == Split(response)


def test_a_model_that_does_not_reason_has_no_closing_tag_to_split_at() -> None:
    response = "Here is the end of your file:\n</think>\nThat is all."

    assert split(response, expects=False) == Split(response)


def test_a_quoted_closing_tag_does_not_end_the_reasoning() -> None:
    response = "<think>\nThe user asks what `</think>` means.\n</think>\n\nIt closes."

    assert split(response) == Split("It closes.", "The user asks what `</think>` means.")
    assert split(response.removeprefix("<think>"), expects=True) == Split(
        "It closes.", "The user asks what `</think>` means."
    )


def test_only_the_first_closing_tag_ends_the_reasoning() -> None:
    assert split("<think>a</think>b</think>c") == Split("b</think>c", "a")


def test_text_without_tags_cut_where_reasoning_was_expected_is_reasoning() -> None:
    assert split("Okay, the user", done="length", expects=True) == Split("", "Okay, the user", open=True)


def test_an_empty_reply_cut_where_reasoning_was_expected_ended_inside_its_opening_tag() -> None:
    assert split("", done="length", expects=True) == Split("", None, open=True)


def test_a_reply_of_a_server_too_old_for_a_done_reason_is_an_answer() -> None:
    assert split("Blue.", done=None, expects=True) == Split("Blue.")


@pytest.mark.parametrize("expects", [False, None])
def test_text_without_tags_that_was_cut_is_else_an_answer(expects: bool | None) -> None:
    assert split("Once upon a", done="length", expects=expects) == Split("Once upon a")


def test_a_model_that_chose_not_to_reason_has_answered() -> None:
    assert split("Blue.", expects=True) == Split("Blue.")


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷")],
)
def test_other_families_have_tags_of_their_own(opening: str, closing: str) -> None:
    assert split(f"{opening}hm{closing}Blue.") == Split("Blue.", "hm")
    assert split(f"{opening}\nhm", done="length") == Split("", "hm", open=True)


def test_a_json_answer_that_holds_tags_is_not_taken_apart() -> None:
    response = '{"text": "<think>hm</think>"}'

    assert split(response, expects=True) == Split(response)


@pytest.mark.parametrize("expects", ANY)
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<thought>\n", "\n</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<Think>", "</THINK>"),
        ("Here is my thought process:", "Here is my response:"),
    ],
)
def test_reasoning_in_the_marks_of_any_family_is_split(
    opening: str, closing: str, expects: bool | None
) -> None:
    assert split(f"{opening}hm{closing}\n\nBlue.", expects=expects) == Split("Blue.", "hm")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Blue.<|END_RESPONSE|>", "Blue."),
        ("<|START_RESPONSE|>Blue.<|END_RESPONSE|>", "Blue."),
        (
            "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\nBlue.\n\n<|end_of_solution|>",
            "Blue.",
        ),
    ],
)
def test_the_marks_around_an_answer_are_no_part_of_it(response: str, answer: str) -> None:
    assert split(response).answer == answer


def test_several_blocks_before_the_answer_are_all_reasoning() -> None:
    response = "<think>one</think>\n<think>two</think>\nBlue."

    assert split(response) == Split("Blue.", "one\n\ntwo")
    assert split("<think>one</think>\n<think>two", done="length") == Split("", "one\n\ntwo", open=True)


def test_a_block_in_an_answer_whose_reasoning_came_apart_is_reasoning_too() -> None:
    assert split("<think>two</think>Blue.", "one") == Split("Blue.", "one\n\ntwo")


@pytest.mark.parametrize(
    "response",
    [
        "`<think>` opens it.\n\n```\n<think>\nhm\n</think>\n```",
        "Models of this family write:\n<|channel|>analysis<|message|>Hm.<|end|>",
        "Use <|START_THINKING|> and <|END_THINKING|>.",
        "Here is my answer.",
        '<steps>\n<thought id="1">\nAdd them.\n</thought>\n</steps>',
        "He",
        "analysis of the data shows that the assistant finally spoke",
    ],
)
def test_an_answer_about_the_marks_stays_whole(response: str) -> None:
    assert split(response) == Split(response)
    assert split(response, done="length") == Split(response)
    assert split(response, expects=True) == Split(response)


HARMONY = "<|channel|>analysis<|message|>User wants a river.<|end|><|start|>assistant<|channel|>final<|message|>The Tagus."


@pytest.mark.parametrize("expects", ANY)
@pytest.mark.parametrize(
    "response",
    [
        HARMONY,
        f"{HARMONY}<|return|>",
        f"<|start|>assistant{HARMONY}<|end|>\n",
        HARMONY.removeprefix("<|channel|>"),
        "analysisUser wants a river.assistantfinalThe Tagus.",
    ],
)
def test_the_channels_of_harmony_are_read(response: str, expects: bool | None) -> None:
    assert split(response, expects=expects) == Split("The Tagus.", "User wants a river.")


@pytest.mark.parametrize(
    "response",
    [
        "<|channel|>analysis<|message|>Hm.",
        "<|channel|>analysis<|message|>Hm.<|en",
        "<|channel|>analysis<|message|>Hm.<|end|>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>fin",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|mess",
    ],
)
def test_channels_that_end_before_the_final_one_leave_the_answer_empty(response: str) -> None:
    assert split(response, done="length") == Split("", "Hm.", open=True)


def test_a_final_channel_alone_is_the_answer() -> None:
    assert split("<|channel|>final<|message|>The Tagus.") == Split("The Tagus.")


def test_tags_of_the_configuration_come_before_the_table() -> None:
    families = families_with([("<ponder>", "</ponder>")])

    parted = split_reasoning(
        "<ponder>hm</ponder>Blue.", "", done_reason="stop", expects_reasoning=None, families=families
    )

    assert parted == Split("Blue.", "hm")


@pytest.mark.parametrize(
    "mark", ["<|channel|>", "<|START_THINKING|>", "<unused94>thought", "<think>", "<thought>"]
)
def test_an_answer_that_begins_with_a_mark_in_a_sentence_stays_whole(mark: str) -> None:
    response = f"{mark} is what such a model writes first."

    assert split(response) == Split(response)
    assert split(response, expects=False) == Split(response)


@given(
    st.lists(st.sampled_from(MARKS), max_size=8), st.sampled_from(ANY), st.sampled_from(["stop", "length"])
)
def test_no_text_is_lost_and_nothing_is_a_defect(pieces: list[str], expects: bool | None, done: str) -> None:
    response = "".join(pieces)

    parted = split(response, done=done, expects=expects)

    words = sorted(re.findall("word[0-9]", response))
    assert sorted(re.findall("word[0-9]", f"{parted.reasoning or ''} {parted.answer}")) == words
    assert not (parted.open and parted.answer)


@pytest.mark.parametrize("expects", ANY)
@pytest.mark.parametrize("again", ["</think>", "\n\n</think>\n\n", "</think>\n</THINK>\n"])
def test_a_closing_tag_that_comes_again_is_no_answer(again: str, expects: bool | None) -> None:
    assert split(f"<think>hm</think>{again}Blue.", expects=expects) == Split("Blue.", "hm")
