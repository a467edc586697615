"""The reference page of what ``--json`` prints, written by the shapes alone."""

import inspect
import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, JsonValue

from api_schemas.output.base import Output
from api_schemas.output.commands import OUTPUTS
from api_schemas.results import ResultLine

_FIRST = """With `--json` a command prints one JSON value on standard output, and everything else on standard error.
`caravan watch` prints one value a line.

- Times are ISO 8601 in UTC with a `Z`. Durations are in seconds, and the name of the field says so. Sizes are in bytes.
- `batch` and `job` are numbers, and name the same thing everywhere.
- Every field is always there; where there is no value it is null.
- A list is complete, unless you give `--limit`: then standard error says that there are more. Where a field holds only the
  first of many, its description says how to get the others."""
_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    AwareDatetime: "time",
    Any: "any value",
    JsonValue: "any value",
}


def json_output() -> str:
    """The shapes by command, and each shape with its fields."""
    rows = "\n".join(f"| `caravan {name}` | {_printed(shape)} |" for name, shape in OUTPUTS.items())
    parts = [
        "# JSON output",
        "<!-- Written by `make reference` from the shapes in `api_schemas/output`; do not edit. -->",
        _FIRST,
        f"| command | prints |\n|---|---|\n{rows}",
        *(part for shape in sorted(shapes(), key=_title) for part in _section(shape)),
    ]
    return "\n\n".join(parts) + "\n"


def shapes() -> set[type[Output]]:
    """Every shape that stands in the table, those within them, and those that they extend."""
    found: set[type[Output]] = set()

    def add(annotation: Any) -> None:
        if _is_shape(annotation) and annotation not in found:
            found.add(annotation)
            for field in annotation.model_fields.values():
                add(field.annotation)
            add(annotation.__base__ if annotation.__base__ and annotation.__base__.model_fields else None)
        for part in get_args(annotation):
            add(part)

    for output in OUTPUTS.values():
        add(output)
    return found


def _is_shape(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Output)


def _section(shape: type[Output]) -> Iterator[str]:
    yield f"## {_title(shape)}"
    yield inspect.cleandoc(shape.__doc__ or "").replace("``", "`")
    base: Any = shape.__base__
    inherited = base.model_fields if _is_shape(base) else {}
    if inherited:
        yield f"It has all fields of {_link(base)}, and:"
    rows = "\n".join(
        f"| `{name}` | {_type(field.annotation)} | {field.description} |"
        for name, field in shape.model_fields.items()
        if name not in inherited
    )
    yield f"| name | type | what it says |\n|---|---|---|\n{rows}"


def _title(shape: type[BaseModel]) -> str:
    """``BatchStatusOutput``: Batch status."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", shape.__name__.removesuffix("Output")).capitalize()


def _link(shape: type[BaseModel]) -> str:
    if shape is ResultLine:
        return "[Result line](result_lines.md)"
    return f"[{_title(shape)}](#{_title(shape).lower().replace(' ', '-')})"


def _printed(output: Any) -> str:
    parts = [output] if get_origin(output) is not types.UnionType else get_args(output)
    return " or ".join(_type(part) for part in parts)


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _link(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        names = [_type(part) for part in parts if part is not types.NoneType]
        return " or ".join([*names, *(["null"] if types.NoneType in parts else [])])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"object of {_type(parts[1])}"
    return _NAMES[annotation]
