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


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        ({"name": "person", "strict": True, "schema": PERSON}, "under schema"),
        ({"schema": PERSON}, "under schema"),
        ({"title": "Person", "description": "x", "schema": PERSON}, "under schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}},
            "under json_schema.schema",
        ),
        ({"type": "json_schema", "name": "p", "schema": PERSON}, "under schema"),
        ({"json_schema": {"name": "p", "schema": PERSON}}, "under json_schema.schema"),
        ({"type": "json_object"}, 'write "json"'),
        ({"response_format": {"type": "json_object"}}, 'write "json"'),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": PERSON}}},
            "under response_format.json_schema.schema",
        ),
        ({"format": {"type": "json_schema", "schema": PERSON}}, "under format.schema"),
        ({"name": "f", "description": "A tool.", "parameters": PERSON}, "under parameters"),
        ({"name": "f", "input_schema": PERSON}, "under input_schema"),
        ({"type": "function", "function": {"name": "f", "parameters": PERSON}}, "under function.parameters"),
        ({"type": "function", "name": "f", "parameters": PERSON}, "under parameters"),
        ({"type": "function", "name": "f"}, 'give "json" or the JSON Schema itself'),
        ({"text": {"format": {"type": "json_schema", "schema": PERSON}}}, "under text.format.schema"),
        ({"responseSchema": PERSON}, "under responseSchema"),
        ({"type": "text"}, 'give "json" or the JSON Schema itself'),
        ({"name": "string", "age": "integer"}, "under properties"),
        ('{"type": "object"}', "give the object itself"),
        ("json_object", 'expected "json"'),
    ],
)
def test_an_envelope_that_binds_no_answer_is_refused_with_what_to_give_instead(
    value: Any, instead: str
) -> None:
    assert instead in (format_problem(value) or "")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"schema": {"type": "object"}, "name": {"type": "string"}}},
        {"properties": {"a": {}}},
        {"$defs": {"a": PERSON}, "$ref": "#/$defs/a", "schema": {"x": 1}},
        {"type": "object", "x-vendor": {"schema": 1}, "strict": True},
        {"enum": ["a", "b"]},
        {"description": "Anything at all."},
    ],
)
def test_a_schema_with_keywords_is_taken_whatever_else_it_holds(schema: dict[str, Any]) -> None:
    assert format_problem(schema) is None
