"""What is published from the schemas: ``docs/schemas/``, and tables of the reference pages. ``make reference`` writes them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from api_schemas.chat import ChatLine
from api_schemas.embed import EmbedLine
from api_schemas.job_line import JobLine
from api_schemas.job_problems import PROBLEM_CODES
from api_schemas.options import NO_LONGER_READ, RUNNER_OPTIONS, Options
from api_schemas.results import ResultLine

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WIDEST_INT = (-(2**31), 2**31 - 1)


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """Each published schema by the name of its file, without ``.schema.json``."""
    job = JobLine.model_json_schema(schema_generator=_Untitled)
    chat = ChatLine.model_json_schema(schema_generator=_Untitled)
    result = ResultLine.model_json_schema(mode="serialization", schema_generator=_Untitled)
    return {
        "job_line": {"$schema": _DIALECT, **job},
        "chat_line": {"$schema": _DIALECT, **chat},
        "embed_line": {"$schema": _DIALECT, **EmbedLine.model_json_schema(schema_generator=_Untitled)},
        "result_line": {"$schema": _DIALECT, **result},
    }


def text_of(schema: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def tables() -> dict[str, str]:
    """The tables of job lines and result lines by name, in Markdown."""
    codes = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in PROBLEM_CODES.items())
    return {
        "job line": _table(JobLine),
        "chat line": _table(ChatLine),
        "embed line": _table(EmbedLine),
        "options": _table(Options),
        "result line": _table(ResultLine, bounds=False),
        "problems": f"| code | means |\n|---|---|\n{codes}\n",
    }


def _table(model: type[BaseModel], *, bounds: bool = True) -> str:
    properties = model.model_json_schema(schema_generator=_Untitled)["properties"]
    lines = ["| name | type | range | what it does |", "|---|---|---|---|"]
    if not bounds:
        lines = ["| name | type | what it says |", "|---|---|---|"]
    for name, schema in properties.items():
        kinds = [kind for kind in _kinds(schema) if kind.get("type") != "null"]
        types = " or ".join(dict.fromkeys(_type(kind) for kind in kinds))
        marks = " *(load-time)*" if name in RUNNER_OPTIONS else ""
        shown = f"~~`{name}`~~" if model is Options and name in NO_LONGER_READ else f"`{name}`"
        cells = [
            shown + marks,
            types,
            _range(kinds[0]),
            schema.get("description", "").replace("|", "\\|"),
        ]
        if not bounds:
            del cells[2]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _kinds(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The types that a schema leaves open, one by one."""
    for kind in schema.get("anyOf", ()):
        yield from _kinds(kind)
    if "anyOf" not in schema:
        yield schema


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind: str = schema["type"]
    if kind == "array":
        return f"list of {' or '.join(f'{_type(item)}s' for item in _kinds(schema['items']))}"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return "time" if schema.get("format") == "date-time" else names.get(kind, kind)


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f"above {schema['exclusiveMinimum']:g}"
    if "maxLength" in schema:
        return f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if low is None:
        return "any" if schema.get("type") in ("integer", "number") else ""
    if high is None or high == _WIDEST_INT[1]:
        return f"{low:g} and up"
    return "any" if high > _WIDEST_INT[1] else f"{low:g} to {high:g}"
