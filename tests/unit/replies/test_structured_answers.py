"""Which answers count as the JSON that was asked for."""

from typing import Any

import pytest

from worker.replies.structured import DEEPEST, Unfit, fitting, parsed

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (" \n[1, 2]\n\n  \t", [1, 2]),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\r\n{"a": 1}```\n', {"a": 1}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        ('{"a": "\\ud83d x \\u0000"}', {"a": "\ufffd x \ufffd"}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ],
)
def test_what_is_json_is_taken(text: str, value: Any) -> None:
    assert fitting(text, "json", cut=False) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the answer is empty"),
        ("Sure! {}", "not JSON"),
        ('{"a": 1} {"b": 2}', "Extra data"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 5000 + "}", "too long"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ('"text"', "expected a JSON object"),
    ],
)
def test_what_is_no_json_says_why(text: str, why: str) -> None:
    with pytest.raises(Unfit) as refused:
        fitting(text, "json", cut=False)

    assert why in str(refused.value)


def test_a_cut_answer_says_so_and_a_complete_one_before_white_space_is_none() -> None:
    with pytest.raises(Unfit, match="cut after 8 characters; raise num_predict"):
        parsed('{"a": "b', cut=True)

    assert parsed('{"a": "b"}' + "\n" * 500, cut=True) == {"a": "b"}


def test_a_schema_is_checked_where_the_grammar_cannot() -> None:
    assert fitting('{"a": "abc"}', SCHEMA, cut=False) == {"a": "abc"}

    with pytest.raises(Unfit, match=r"at a: 'abcd' is too long"):
        fitting('{"a": "abcd"}', SCHEMA, cut=False)
    with pytest.raises(Unfit, match="'a' is a required property"):
        fitting("{}", SCHEMA, cut=False)


def test_a_schema_of_a_single_value_takes_one() -> None:
    assert fitting("3", {"type": "integer"}, cut=False) == 3
    assert fitting("null", {"type": "null"}, cut=False) is None


def test_a_schema_that_never_ends_is_no_defect() -> None:
    with pytest.raises(Unfit, match="refers to itself"):
        fitting("{}", {"$ref": "#"}, cut=False)


def test_nothing_is_fetched_for_a_schema() -> None:
    with pytest.raises(Unfit, match="cannot be applied"):
        fitting("{}", {"$dynamicRef": "http://127.0.0.1:9/schema"}, cut=False)
