"""What a JSON schema allows: as grammar rules, and as an example.

Source: llama.cpp ``common/json-schema-to-grammar.cpp``; the part of it that bulk jobs use: object, array, string,
number, integer, boolean, null, enum, const, anyOf, oneOf, allOf, local $ref.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulator.json_rules import JSON_RULES, Element

_TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")


class BadSchema(ValueError):
    """A schema that cannot be turned into a grammar."""


def schema_rules(schema: Mapping[str, Any], *, space_at_end: bool) -> dict[str, Sequence[Sequence[Element]]]:
    """The rules of a schema; after each value there may be white space, at the very end only on O.

    Raises:
        BadSchema: an unknown type, an unresolvable reference or a pattern that may match within a text.
    """
    blank, newline = frozenset(b" \t"), frozenset(b"\n")
    rules: dict[str, Sequence[Sequence[Element]]] = {
        **{name: rule for name, rule in JSON_RULES.items() if name not in ("root", "ws")},
        "space": [[], [frozenset(b" ")], [newline, "indent-20"], [newline, newline, "indent-20"]],
        "ws": [["space"]],
        "indent-0": [[]],
    }
    for left in range(1, 21):
        rules[f"indent-{left}"] = [[], [blank, f"indent-{left - 1}"]]
    builder = _Builder(schema, rules)
    name = builder.rule(schema, "root")
    last = list(rules[name])
    if not space_at_end:
        last = [one[:-1] if one and one[-1] == "space" else one for one in last]
    rules["root"] = last
    return rules


class _Builder:
    def __init__(self, root: Mapping[str, Any], rules: dict[str, Sequence[Sequence[Element]]]) -> None:
        self._root = root
        self._rules = rules
        self._count = 0

    def rule(self, schema: Any, hint: str) -> str:
        """Add the rule of a schema; its name."""
        self._count += 1
        name = f"{hint}-{self._count}"
        self._rules[name] = []  # a schema may refer to itself
        self._rules[name] = self._alternatives(schema, name)
        return name

    def _alternatives(self, schema: Any, name: str) -> list[Sequence[Element]]:
        if schema is True or schema == {}:
            return [["value"]]
        if not isinstance(schema, dict):
            raise BadSchema(f"unrecognized schema {json.dumps(schema)}")
        if "$ref" in schema:
            return [[self.rule(resolve(self._root, schema["$ref"]), name)]]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return [[self.rule(one, name)] for one in schema[key]]
        if schema.get("allOf"):
            return [[self.rule(merged(schema["allOf"]), name)]]
        if "const" in schema:
            return [[*_literal(schema["const"]), "space"]]
        if "enum" in schema:
            return [[*_literal(one), "space"] for one in schema["enum"]]
        kind = schema.get("type", "object" if "properties" in schema else None)
        if kind in (None, "string") and "pattern" in schema:
            _anchored(schema["pattern"])
        if isinstance(kind, list):
            return [[self.rule({**schema, "type": one}, name)] for one in kind]
        match kind:
            case "object" if "properties" in schema:
                return [self._object(schema, name)]
            case "array" if "items" in schema:
                return [self._array(schema, name)]
            case "integer":
                return [["sign", "integer-part", "space"]]
            case "boolean":
                return [[*_literal(True), "space"], [*_literal(False), "space"]]
            case "null":
                return [[*_literal(None), "space"]]
            case "string":
                return [[frozenset(b'"'), "chars", frozenset(b'"'), "space"]]
            case "number":
                return [["sign", "integer-part", "fraction", "exponent", "space"]]
            case "object" | "array":
                return [[kind]]
            case None:
                return [["value"]]
            case _:
                raise BadSchema(f"unrecognized type {kind}")

    def _object(self, schema: Mapping[str, Any], name: str) -> Sequence[Element]:
        """Required members in their order; optional ones are left out, as if never chosen."""
        required = [key for key in schema["properties"] if key in schema.get("required", ())]
        optional = [key for key in schema["properties"] if key not in required]
        elements: list[Element] = [frozenset(b"{"), "space"]
        for place, key in enumerate(required or optional):
            value = self.rule(schema["properties"][key], f"{name}-{key}")
            if place:
                elements += [frozenset(b","), "space"]
            elements += [*_literal(key), "space", frozenset(b":"), "space", value]
        return [*elements, frozenset(b"}"), "space"]

    def _array(self, schema: Mapping[str, Any], name: str) -> Sequence[Element]:
        item = self.rule(schema["items"], f"{name}-item")
        more = f"{name}-more"
        self._rules[more] = [[], [frozenset(b","), "space", item, more]]
        fewest = int(schema.get("minItems", 0))
        filled: list[Element] = [item]
        for _ in range(fewest - 1):
            filled += [frozenset(b","), "space", item]
        some = f"{name}-some"
        self._rules[some] = [[*filled, more]] if fewest else [[], [item, more]]
        return [frozenset(b"["), "space", some, frozenset(b"]"), "space"]


def _anchored(pattern: Any) -> None:
    if not (isinstance(pattern, str) and pattern.startswith("^") and pattern.endswith("$")):
        raise BadSchema("Pattern must start with '^' and end with '$'")


def resolve(root: Mapping[str, Any], reference: str) -> Any:
    """What a local reference points to.

    Raises:
        BadSchema: nothing is there.
    """
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not isinstance(found, dict) or part not in found:
            raise BadSchema(f"cannot resolve $ref {reference}, {part} not found")
        found = found[part]
    return found


def merged(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The schemas of ``allOf`` as one."""
    whole: dict[str, Any] = {"properties": {}, "required": []}
    for schema in schemas:
        whole["properties"] |= schema.get("properties", {})
        whole["required"] += schema.get("required", [])
        whole |= {key: value for key, value in schema.items() if key not in ("properties", "required")}
    return whole


def example_of(schema: Any, number: int, length: int) -> str:
    """A JSON text that fits a schema (None: any object)."""
    if schema is None:
        schema = {"properties": {"answer": {"type": "string"}, "score": {"type": "integer"}}}
    value = _Example(schema, number, length).value(schema, 0)
    return json.dumps(value, ensure_ascii=False, indent=2)


class _Example:
    def __init__(self, root: Mapping[str, Any], number: int, length: int) -> None:
        self._root = root
        self._number = number
        self._length = length

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > 12:
            return "x"
        if "$ref" in schema:
            return self.value(resolve(self._root, schema["$ref"]), depth + 1)
        for key in ("anyOf", "oneOf", "enum"):
            if schema.get(key):
                one = schema[key][self._next() % len(schema[key])]
                return one if key == "enum" else self.value(one, depth + 1)
        if schema.get("allOf"):
            return self.value(merged(schema["allOf"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                properties = schema.get("properties", {})
                return {key: self.value(one, depth + 1) for key, one in properties.items()}
            case "array":
                fewest = max(1, int(schema.get("minItems", 1)))
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(fewest)]
            case "integer":
                low = int(schema.get("minimum", 0))
                return low + self._next() % max(1, int(schema.get("maximum", low + 100)) - low + 1)
            case "number":
                return round(float(schema.get("minimum", 0)) + self._next() % 100 / 100, 2)
            case "boolean":
                return self._next() % 2 == 0
            case "null":
                return None
            case _:
                words = ("clear", "short", "late", "green", "open", "paid", "whole", "plain")
                return " ".join(words[self._next() % len(words)] for _ in range(1 + self._length // 16))

    def _next(self) -> int:
        self._number = (self._number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        return self._number >> 8


def _literal(value: Any) -> list[Element]:
    return [frozenset([byte]) for byte in json.dumps(value, ensure_ascii=False).encode()]
