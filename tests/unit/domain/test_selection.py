"""What a selection says survives its way through the database."""

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from worker.domain.answers import AnswerFilter
from worker.domain.jobs import JobState
from worker.domain.selection import Selection

FULL = Selection(
    batch_id=7,
    job_ids=frozenset({1, 2}),
    states=frozenset({JobState.FAILED}),
    codes=frozenset({"cut"}),
    models=frozenset({"qwen3:8b"}),
    custom_ids=frozenset({"a", "b"}),
    metadata=(("sku", "7"),),
    answers=AnswerFilter(cut=True),
    since=datetime(2026, 11, 23, 2, tzinfo=UTC),
    until=datetime(2026, 11, 24, 2, tzinfo=UTC),
    parts=True,
)


@pytest.mark.parametrize("name", [field.name for field in fields(Selection)])
def test_each_condition_is_stored_and_read_again(name: str) -> None:
    alone = replace(Selection(), **{name: getattr(FULL, name)})

    assert alone != Selection()
    assert Selection.parse(alone.stored) == alone
    assert Selection.parse(FULL.stored) == FULL


@pytest.mark.parametrize("name", [field.name for field in fields(Selection)])
def test_any_condition_but_the_batch_means_less_than_the_whole_batch(name: str) -> None:
    alone = replace(Selection(7), **{name: getattr(FULL, name)})

    assert alone.whole_batch == (name in ("batch_id", "parts"))
