"""Whether a ``format`` is one that hosts take: ``"json"``, or a self-contained JSON Schema."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

LONGEST_SCHEMA = 64 * 1024
"""Bytes: a host makes a grammar of it for each answer."""


def format_problem(value: object) -> str | None:
    """What is wrong with ``value`` as a ``format``, or None.

    >>> format_problem("json"), format_problem({"type": "object"})
    (None, None)
    >>> format_problem("xml")
    'expected "json" or a JSON Schema object, got "xml"'
    """
    if value == "json":
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return "a JSON Schema written as a text; give the object itself, without quotes around it"
    if not isinstance(value, Mapping):
        return f'expected "json" or a JSON Schema object, got {json.dumps(value, ensure_ascii=False)[:60]}'
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return "a number that JSON does not have"
    if len(text) > LONGEST_SCHEMA:
        return f"a JSON Schema of {len(text):,} bytes, at most {LONGEST_SCHEMA:,} are allowed"
    return _envelope_problem(value) or _schema_problem(text)


def _envelope_problem(value: Mapping[str, Any]) -> str | None:
    """Why ``value`` binds nothing although it is valid: other interfaces wrap a schema into an object, whose keys are no
    keywords of JSON Schema and so allow every answer."""
    if not value:
        return None  # the schema that says in so many words that it allows everything
    if value.get("type") == "json_object":
        return '{"type": "json_object"} is a form of the API of OpenAI; write "json"'
    if value.get("type") == "function":
        return f"a tool of the API of OpenAI; {_inside(value)}"
    if value.get("type") in ("json_schema", "grammar", "text"):
        return f"a response_format of the API of OpenAI; {_inside(value)}"
    if _constrains(value):
        return None
    if any(isinstance(value.get(key), Mapping) for key in _WRAPPERS):
        return f"a schema within another object, as for the API of OpenAI; {_inside(value)}"
    if not _KEYWORDS & value.keys():
        names = ", ".join(str(name) for name in list(value)[:5])[:100]
        return (
            f"an object without a keyword of JSON Schema ({names}), which allows every answer; "
            'the fields of an answer stand under properties: {"type": "object", "properties": {…}}'
        )
    return None


_WRAPPERS = (
    *("response_format", "json_schema", "schema", "text", "format", "function", "parameters"),
    *("input_schema", "response_schema", "responseSchema", "output_format"),
)


def _inside(value: Mapping[str, Any]) -> str:
    """What to give instead: the schema that the wrappers hold, by its path."""
    path: list[str] = []
    inner: Any = value
    while isinstance(inner, Mapping) and (key := next((k for k in _WRAPPERS if k in inner), None)):
        path.append(key)
        inner = inner[key]
    if not path or not isinstance(inner, Mapping):
        return 'give "json" or the JSON Schema itself'
    if inner.get("type") == "json_object":
        return 'write "json"'
    return f"give the object that stands under {'.'.join(path)}"


def _constrains(value: Mapping[str, Any]) -> bool:
    """Whether a keyword that binds an answer stands at the top."""
    return bool((_KEYWORDS - _ANNOTATIONS) & value.keys())


_ANNOTATIONS = frozenset(
    {
        "$schema",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$vocabulary",
        "$comment",
        "$defs",
        "definitions",
        "title",
    }
    | {"description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "id"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
)
_KEYWORDS = _ANNOTATIONS | frozenset(
    {
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "$recursiveAnchor",
        "type",
        "enum",
        "const",
        "allOf",
        "anyOf",
        "oneOf",
    }
    | {
        "not",
        "if",
        "then",
        "else",
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
    }
    | {"required", "minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "dependencies"}
    | {"unevaluatedProperties", "unevaluatedItems", "items", "prefixItems", "additionalItems", "contains"}
    | {
        "minContains",
        "maxContains",
        "minItems",
        "maxItems",
        "uniqueItems",
        "pattern",
        "minLength",
        "maxLength",
    }
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "nullable"}
)
"""Keywords of JSON Schema, drafts 4 to 2020-12."""


@lru_cache(maxsize=256)
def _schema_problem(text: str) -> str | None:
    # Imported here: it takes longer than everything else in this package, and few lines carry a schema.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "".join(f".{part}" for part in error.absolute_path)
        return f"not a JSON Schema: {('at ' + where[1:] + ': ') if where else ''}{error.message[:200]}"
    except RecursionError:
        return "not a JSON Schema: nested too deep"
    for reference in _references(schema):
        if not reference.startswith("#"):
            return f'$ref "{reference[:100]}" points outside of the schema; a host does not fetch it'
        if not _resolves(reference, schema):
            return f'$ref "{reference[:100]}" points at nothing in the schema'
    for pattern in _patterns(schema):
        if not (pattern.startswith("^") and pattern.endswith("$")):
            return f'pattern "{pattern[:100]}" may match within a text; a host takes ^…$ alone'
    try:
        Draft202012Validator(schema, registry=Registry()).is_valid({})  # a registry that fetches nothing
    except (Unresolvable, re.error) as error:
        return f"not a JSON Schema that can be applied: {str(error)[:200]}"
    except RecursionError:
        return "a $ref that leads to itself: no answer could be checked against it"
    return None


_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_A_SCHEMA = (
    "items",
    "additionalProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
)


def _patterns(schema: Any) -> Iterator[str]:
    """The patterns of texts; what stands in a ``const``, an ``enum`` or an example is no schema.

    Source: ``common/json-schema-to-grammar.cpp _visit_pattern`` of llama.cpp.
    """
    if not isinstance(schema, dict):
        return
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and schema.get("type") in (None, "string"):
        yield pattern
    for name in _OF_SCHEMAS:
        for part in schema.get(name) or ():
            yield from _patterns(part)
    for name in _BY_NAME:
        for part in (schema.get(name) or {}).values():
            yield from _patterns(part)
    for name in _A_SCHEMA:
        yield from _patterns(schema.get(name))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _resolves(reference: str, schema: Any) -> bool:
    node = schema
    for part in reference[1:].split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return False
    return reference == "#" or reference.startswith("#/")
