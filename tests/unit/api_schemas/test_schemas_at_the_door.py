"""Which JSON Schemas are refused before a host has to."""

from typing import Any

import pytest

from api_schemas.formats import format_problem


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "[a-z]+"},
        {"pattern": "^open"},
        {"type": "object", "properties": {"code": {"type": "string", "pattern": "x$"}}},
        {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "x"}]}},
        {"$defs": {"code": {"type": "string", "pattern": "x"}}, "$ref": "#/$defs/code"},
    ],
)
def test_a_pattern_that_may_match_within_a_text_is_refused(schema: dict[str, Any]) -> None:
    assert "may match within a text" in (format_problem(schema) or "")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[a-z]+$"},
        {"type": "object", "properties": {"pattern": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"enum": [{"pattern": "x"}]}}},
        {"type": "integer", "pattern": "x"},
        {"$defs": {"tree": {"properties": {"of": {"$ref": "#/$defs/tree"}}}}, "$ref": "#/$defs/tree"},
    ],
)
def test_other_patterns_and_properties_of_that_name_are_taken(schema: dict[str, Any]) -> None:
    assert format_problem(schema) is None


def test_a_reference_to_itself_is_refused() -> None:
    assert "leads to itself" in (format_problem({"$ref": "#"}) or "")
