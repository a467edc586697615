"""What makes two requests the same, and which answers would come out the same again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.reuse import is_repeatable, may_reuse, reuse_key

SAME: dict[str, Any] = {"system": "Be brief.", "options": {"seed": 1, "temperature": 0}}


@pytest.mark.parametrize(
    "other",
    [
        {**SAME, "system": "Be long."},
        {**SAME, "template": "{{ .Prompt }}"},
        {**SAME, "suffix": "end"},
        {**SAME, "images": ["aGVsbG8="]},
        {**SAME, "think": True},
        {**SAME, "think": False},
        {**SAME, "format": "json"},
        {**SAME, "context": [1, 2], "context_digest": "a" * 64},
        {**SAME, "raw": True},
        {**SAME, "options": {"seed": 2, "temperature": 0}},
        {**SAME, "options": {"seed": 1, "temperature": 0, "num_predict": 10}},
        {**SAME, "options": {"seed": 1, "temperature": 0, "stop": ["\n"]}},
        {**SAME, "options": {"seed": 1, "temperature": 0, "num_ctx": 8192}},
        {"options": SAME["options"]},
    ],
)
def test_whatever_is_asked_otherwise_is_another_request(other: dict[str, Any]) -> None:
    assert reuse_key("m:1", "Say it.", other) != reuse_key("m:1", "Say it.", SAME)


def test_another_model_window_or_prompt_is_another_request() -> None:
    keys = {
        reuse_key(*asked, SAME)
        for asked in [("m:1", "x"), ("m:2", "x"), ("m:1 num_ctx>=8192", "x"), ("m:1", "y"), ("m:1x", "")]
    }

    assert len(keys) == 5


def test_what_no_answer_depends_on_does_not_matter() -> None:
    patient = {**SAME, "keep_alive": "1h"}
    pointed = {**SAME, "options": {"temperature": 0.0, "seed": 1}}

    assert reuse_key("m:1", "x", patient) == reuse_key("m:1", "x", SAME) == reuse_key("m:1", "x", pointed)


@given(st.text(), st.text())
def test_no_text_breaks_a_key(prompt: str, system: str) -> None:
    assert len(reuse_key("m:1", prompt, {"system": system})) == 16


@pytest.mark.parametrize(
    ("options", "repeatable"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"seed": 0}, True),
        ({"seed": 42, "temperature": 0.8}, True),
        ({"seed": -1}, False),
        ({"temperature": 0.1}, False),
        ({"top_k": 1}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_answer_comes_out_the_same_without_chance(
    options: dict[str, Any] | None, repeatable: bool
) -> None:
    request = {"options": options}

    assert is_repeatable(request) is repeatable
    assert may_reuse(True, repeatable=repeatable) is repeatable
    assert may_reuse("any", repeatable=repeatable)
    assert not may_reuse(False, repeatable=repeatable)
