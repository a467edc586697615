"""Long documents are cut on their structure, and nothing of them is lost."""

import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.documents.read import Document
from worker.documents.split import split
from worker.policy.context_window import estimate_tokens

ALPHABET = st.sampled_from(
    ["word ", "很长的话。", "\n", "\n\n", "# Head\n", "x" * 40, ". ", "第一章 开始\n", "😀"]
)


@example("word word word word word " + "x" * 40 + "# Head\n. 😀\n\n\n\n\n\n\n😀", 22)
@given(st.lists(ALPHABET, max_size=120).map("".join), st.integers(16, 80))
def test_the_parts_are_the_text_and_each_fits(text: str, budget: int) -> None:
    parts = split(text, budget)

    assert "".join(part.text for part in parts) == text
    assert all(estimate_tokens(part.text) <= budget for part in parts)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert all(text[part.start : part.end] == part.text for part in parts)


def test_a_text_that_fits_is_one_part() -> None:
    [part] = split("Short.", 100)

    assert (part.text, part.number, part.of) == ("Short.", 1, 1)


def test_parts_begin_at_headings_and_know_what_they_stand_under() -> None:
    text = "# Book\n\n## One\n\n" + "First chapter. " * 20 + "\n\n## Two\n\n" + "Second chapter. " * 20

    parts = split(text, 130)

    assert [part.headings for part in parts] == [("Book",), ("Book", "Two")]
    assert parts[1].text.startswith("## Two")


def test_chinese_is_cut_behind_its_sentences() -> None:
    text = "雪停了，天还没有亮。" * 30

    parts = split(text, 60)

    assert len(parts) > 2
    assert all(part.text.endswith("。") for part in parts)


def test_chinese_chapters_are_headings() -> None:
    text = "第一回 灵根育孕源流出\n" + "诗曰。" * 30 + "\n第二回 悟彻菩提真妙理\n" + "话表。" * 30

    parts = split(text, 200)

    assert [part.headings for part in parts] == [("第一回 灵根育孕源流出",), ("第二回 悟彻菩提真妙理",)]


def test_parts_know_their_pages() -> None:
    pages = ["One. " * 30, "Two. " * 30, "Three. " * 30]

    parts = split("\n\n".join(pages), 110, pages=pages)

    assert [part.pages for part in parts] == [(1, 2), (3, 3)]


def test_a_heading_within_code_is_none() -> None:
    parts = split("```\n# no heading\n```\n\n" + "Some words. " * 40, 60)

    assert len(parts) > 1
    assert all(part.headings == () for part in parts)


def test_a_budget_for_no_sentence_is_refused() -> None:
    with pytest.raises(ValueError):
        split("text", 15)


def document(**changes: object) -> Document:
    told: dict[str, Any] = {
        "name": "a.txt",
        "path": "/in/a.txt",
        "text": "t",
        "pages": None,
        "metadata": {},
        "media_type": "text/plain",
    }
    return Document(**{**told, "sha256": "0" * 64, "encoding": "utf-8", **changes})


@pytest.mark.parametrize(
    "unit",
    [
        "```\ncode\n```\n# One\n\ntext\n",
        "```\n# One\n",
        "# One\n## Two\ntext\n",
        "# One\n" + "word " * 30 + "\n\n",
    ],
    ids=["closed fences", "unclosed fences", "headings", "small sections"],
)
def test_the_steps_of_a_split_grow_with_the_text_and_not_with_its_square(unit: str) -> None:
    def steps(many: int) -> int:
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        text = unit * many
        sys.setprofile(counted)
        try:
            split(text, 64)
        finally:
            sys.setprofile(None)
        return count

    assert steps(1600) < 5 * steps(400)
