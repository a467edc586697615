"""How large a window a job needs, and what is tried when it was too small."""

import pytest

from worker.domain.runners import RunnerKey
from worker.kinds.generate.request import prompt_tokens
from worker.kinds.registry import kind_of
from worker.policy.context_window import (
    answer_tokens,
    bucket,
    estimate_tokens,
    widened,
)

REFUSED = (
    '{"error":{"code":400,"message":"request (4404 tokens) exceeds the available context size (4096 tokens), try '
    'increasing it","type":"exceed_context_size_error","n_prompt_tokens":4404,"n_ctx":4096}}'
)


@pytest.mark.parametrize(
    ("text", "really"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 50, 500),
        ("深度学习模型的推理速度取决于显存带宽。" * 50, 700),
        ("Привет, мир! " * 50, 250),
    ],
)
def test_an_estimate_is_above_what_tokenizers_make_of_a_text_and_not_far(text: str, really: int) -> None:
    assert really <= estimate_tokens(text) <= 2.1 * really


def test_what_stands_before_the_answer_counts() -> None:
    alone = prompt_tokens("x" * 300, {})

    assert prompt_tokens("x" * 300, {"system": "y" * 300}) == alone + 100
    assert prompt_tokens("x" * 300, {"template": "z" * 30}) == alone + 10
    assert prompt_tokens("x" * 300, {"context": [1] * 50}) == alone + 50
    assert prompt_tokens("x" * 300, {"images": ["…"]}) > alone + 500


def test_a_model_that_reasons_needs_room_for_it() -> None:
    assert answer_tokens({}, thinking=False) == 2048
    assert answer_tokens({}, thinking=True) == 8192
    assert answer_tokens({"think": False}, thinking=True) == 2048
    assert answer_tokens({"options": {"num_predict": 7}}, thinking=True) == 7
    assert answer_tokens({"options": {"num_predict": -1}}, thinking=False) == 2048


def test_a_window_is_never_larger_than_the_model_was_trained_for() -> None:
    assert kind_of("generate").window("x" * 60_000, {}, thinking=False, trained=None) == 24_576
    assert kind_of("generate").window("x" * 60_000, {}, thinking=False, trained=8192) == 8192


def test_windows_are_few() -> None:
    assert len({bucket(tokens) for tokens in range(1, 131_072, 7)}) == 11


def test_a_refusal_that_names_the_tokens_names_the_next_window() -> None:
    key = RunnerKey.parse("m:1 num_ctx>=4096")

    grown = widened(key, 4096, REFUSED, answer=2048, trained=131_072)

    assert grown is not None
    assert grown.text == "m:1 num_ctx>=8192"


def test_of_an_older_server_the_next_size_above_what_was_loaded_is_tried() -> None:
    key = RunnerKey.parse("m:1 num_ctx>=4096 num_gpu=3")

    grown = widened(key, 8192, "the input length exceeds the context length", answer=2048, trained=None)

    assert grown is not None
    assert grown.text == "m:1 num_ctx>=12288 num_gpu=3"


def test_a_window_that_was_named_or_cannot_grow_stays() -> None:
    named, full = RunnerKey.parse("m:1 num_ctx=4096"), RunnerKey.parse("m:1 num_ctx>=4096")

    assert widened(named, 4096, REFUSED, answer=2048, trained=None) is None
    assert widened(full, 4096, REFUSED, answer=2048, trained=4096) is None
