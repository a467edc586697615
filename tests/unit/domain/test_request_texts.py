"""The texts of a request are the same whether they were kept or not, and no two requests share them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.jobs import NewJob, Priority, request_digest
from worker.domain.request_texts import SMALL, request_texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_text_that_was_kept_is_the_text_of_the_request(request: dict[str, Any]) -> None:
    for _ in range(2):
        texts = request_texts(request)

        assert texts.json == json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        assert texts.canonical == (json.dumps(request, sort_keys=True) if request else "")


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    requests: list[dict[str, Any]] = [{"think": 1}, {"think": True}, {"think": 1.0}]

    assert [request_texts(request).json for request in requests] == [
        '{"think":1}',
        '{"think":true}',
        '{"think":1.0}',
    ]


def test_a_large_request_is_not_kept() -> None:
    request = {"images": ["a" * SMALL]}

    assert request_texts(request).json == json.dumps(request, separators=(",", ":"))


@pytest.mark.parametrize(
    ("request_", "digest"),
    [
        ({}, "8215500aa8f29b45a55cbd43ac66b02d"),
        (
            {"options": {"temperature": 0.2, "seed": 1}, "system": "Sé breve."},
            "1b57a5b3fa34312a2d93129c9b94ccf3",
        ),
    ],
)
def test_the_digest_of_a_question_is_what_stored_batches_have(request_: dict[str, Any], digest: str) -> None:
    job = NewJob(1, "a", "m:1", "m:1 num_ctx>=4096", Priority.NORMAL, "Say it.", request_)

    assert request_digest(job).hex() == digest
