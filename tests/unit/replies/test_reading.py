from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.replies import PromptFit, Reply
from worker.replies.contexts import pack_context, unpack_context
from worker.replies.prompt_fit import prompt_fit
from worker.replies.read import read_reply
from worker.replies.timings import seconds, tokens_per_second

reproducible = settings(max_examples=200)

REPLY = Reply(
    model="plain",
    response="Sure thing.",
    thinking="",
    done_reason="stop",
    context=(260, 75, 108, 262, 261, 263, 264, 274),
    total_duration=101_781_162,
    load_duration=5_766_514,
    prompt_eval_count=6,
    prompt_eval_duration=21_045_411,
    eval_count=4,
    eval_duration=52_760_883,
    chunks=5,
)


def test_a_reply_without_durations_has_no_speed_and_divides_by_nothing() -> None:
    reply = replace(
        REPLY,
        total_duration=0,
        load_duration=0,
        prompt_eval_duration=0,
        eval_duration=0,
    )

    result = read_reply(reply, expects_reasoning=False, guarded=True)

    assert (result.tokens_per_second, result.prompt_tokens_per_second) == (None, None)
    assert (result.total_seconds, result.eval_seconds) == (0.0, 0.0)


@pytest.mark.parametrize("nanoseconds", [0, -1])
def test_no_time_is_no_speed(nanoseconds: int) -> None:
    assert tokens_per_second(5, nanoseconds) is None


def test_nanoseconds_become_seconds() -> None:
    assert (seconds(0), seconds(1), seconds(10_020_507_026)) == (
        0.0,
        1e-9,
        10.020507026,
    )


def test_durations_are_kept_as_they_were_sent() -> None:
    result = read_reply(REPLY, expects_reasoning=None, guarded=True)

    assert (result.total_duration, result.load_duration) == (101_781_162, 5_766_514)
    assert (result.prompt_eval_duration, result.eval_duration) == (
        21_045_411,
        52_760_883,
    )
    assert result.context == REPLY.context


@pytest.mark.parametrize(
    ("context", "prompt", "output", "guarded", "fit"),
    [
        (17, 6, 13, False, "yes"),  # untruncated, ended by the model: two less
        (13, 6, 8, False, "yes"),  # untruncated, ended by num_predict: one less
        (4415, 256, 13, False, "no"),  # older server: cut to num_ctx
        (4415, 131, 13, False, "no"),  # newer server: cut to about half of it
        (4415, 256, 13, True, "no"),  # too old for truncate: the counts win
        (321, 13, 301, False, "unknown"),  # text read again in other tokens
        (321, 13, 301, True, "yes"),
        (None, 6, 13, True, "yes"),  # raw
        (None, 6, 13, False, "unknown"),
        (400, 0, 13, False, "unknown"),  # the count was left out
        (400, 0, 13, True, "unknown"),
        (0, 6, 13, False, "unknown"),
    ],
)
def test_whether_the_prompt_fitted_is_told_from_the_counts(
    context: int | None, prompt: int, output: int, guarded: bool, fit: PromptFit
) -> None:
    assert (
        prompt_fit(
            context_tokens=context,
            prompt_tokens=prompt,
            output_tokens=output,
            guarded=guarded,
        )
        == fit
    )


@pytest.mark.parametrize(
    ("context", "prompt", "window", "least", "fit"),
    [
        (5000, 2048, 2048, 0, "no"),  # the whole prompt is longer than the window
        (5000, 1027, 2048, 0, "no"),
        (5000, 2048, 16_384, 0, "no"),  # a host that has another window than it was asked for
        (5000, 4990, 4990, 0, "unknown"),
        (3000, 37, 4096, 0, "unknown"),  # a prefix cache held the rest
        (None, 2048, 2048, 0, "unknown"),  # as large as the window
        (None, 2047, 2048, 0, "yes"),
        (None, 2047, 4096, 9000, "unknown"),  # fewer tokens than words
        (None, 100, 4096, 120, "yes"),
        (None, 0, 4096, 0, "unknown"),
    ],
)
def test_a_count_that_proves_nothing_leaves_it_unknown_whether_the_prompt_fitted(
    context: int | None, prompt: int, window: int, least: int, fit: PromptFit
) -> None:
    assert (
        prompt_fit(
            context_tokens=context,
            prompt_tokens=prompt,
            output_tokens=6,
            guarded=True,
            window=window,
            least_tokens=least,
        )
        == fit
    )


@reproducible
@given(
    st.lists(st.integers(0, 200_000), max_size=300)
    | st.lists(st.integers(0, 2**32 - 1), max_size=50)
    | st.lists(st.integers(0, 10**18 - 1), max_size=20)
)
def test_a_context_comes_back_as_the_list_that_went_in(tokens: list[int]) -> None:
    assert unpack_context(pack_context(tokens) or b"") == tokens


@pytest.mark.parametrize("edge", [0, 999_999, 1_000_000, 2**24, 2**32 - 1, 10**18 - 1])
def test_every_width_of_an_id_comes_back(edge: int) -> None:
    assert unpack_context(pack_context([edge, 0, 1]) or b"") == [edge, 0, 1]


@pytest.mark.parametrize("token", [-1, 10**18])
def test_a_context_with_what_is_no_token_is_not_kept(token: int) -> None:
    assert pack_context([7, token]) is None


@pytest.mark.parametrize(
    "packed", [b"", b"\x03\x15\x16\x44", b"\x06\x15", b"\x06\xab\xcd\xef", b"\x07\x15\x16\x44", b"\xff"]
)
def test_bytes_that_are_no_context_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed context"):
        unpack_context(packed)
