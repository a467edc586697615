"""What the code says of itself in ``docs/``: tables within pages, whole pages, and the JSON Schemas.

``make reference`` writes all of it anew.
"""

import types
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from api_schemas import publish
from tests.faults.catalogue import FAULTS
from tests.faults.marked import provoked_by
from tests.repo.docs.json_output import json_output
from tests.repo.docs.limits import limits
from tests.repo.docs.pages import DOCS, write_table
from tests.repo.docs.reference_pages import command_line, python_api
from tests.repo.docs.sqlite_schema import sqlite_schema
from worker.errors import CODES
from worker.observability.events import EVENTS
from worker.settings import PREFIX, Settings, Tag
from worker.storage.view_columns import COLUMNS

REWRITE = "run `make reference`"

_TYPES: Mapping[Any, str] = {
    str: "text",
    Path: "path",
    bool: "true or false",
    int: "whole number",
    float: "number",
    list[tuple[Tag, Tag]]: "list of pairs of texts",
}
_BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"), ("lt", "below {}"))


def settings_table() -> str:
    """Variable, type, default and meaning of every setting."""
    return _rows(
        ("variable", "type", "default", "meaning"),
        (
            (
                f"`{PREFIX}{name.upper()}`",
                _type(field),
                _default(field),
                field.description or "",
            )
            for name, field in Settings.model_fields.items()
        ),
    )


def codes_table() -> str:
    """Every code with its meaning, its fault, whether it is tried again, and what to do."""
    return _rows(
        ("code", "what happened", "whose fault", "tried again", "what to do"),
        (
            (
                f"`{code}`",
                facts.meaning,
                facts.fault,
                "yes" if facts.retried else "no",
                facts.advice,
            )
            for code, facts in CODES.items()
        ),
    )


def limits_table() -> str:
    """Every bound: of what, how much, where it is changed, and what happens beyond it."""
    return _rows(
        ("of what", "at most", "change", "beyond it"),
        ((one.what, one.most, one.change, one.beyond) for one in limits()),
    )


def events_table() -> str:
    """Every event with its meaning and its fields."""
    rows = []
    for event, text in EVENTS.items():
        meaning, _, fields = text.rpartition(": ")
        rows.append(
            (
                f"`{event}`",
                meaning,
                ", ".join(f"`{field}`" for field in fields.split(", ")),
            )
        )
    return _rows(("event", "meaning", "fields"), rows)


def faults_table() -> str:
    """Every fault, what Caravan does about it, and the tests that provoke it."""
    tests = provoked_by()
    return _rows(
        ("", "fault", "what Caravan does", "provoked by"),
        (
            (str(number), fault.what, fault.behaviour, fault.untested or _places(tests.get(number, [])))
            for number, fault in FAULTS.items()
        ),
    )


def _places(tests: list[str]) -> str:
    """Tests by their file: ``test_x.py``: 3."""
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    return ", ".join(f"[{file.rpartition('/')[2]}](../../{file})" for file in files)


def view_table(view: str) -> str:
    """The columns of one report view, in their order."""
    return _rows(
        ("column", "type", "meaning"),
        ((f"`{name}`", kind, meaning) for name, (kind, meaning) in COLUMNS[view].items()),
    )


def _line_table(name: str) -> str:
    return publish.tables()[name]


def _schema(name: str) -> str:
    return publish.text_of(publish.schemas()[name])


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings_table,
    "limits": limits_table,
    "codes": codes_table,
    "events": events_table,
    "faults": faults_table,
    **{view: partial(view_table, view) for view in COLUMNS},
    **{name: partial(_line_table, name) for name in publish.tables()},
}
"""By the name in their mark, whichever page that stands on."""

FILES: Mapping[str, Callable[[], str]] = {
    "reference/command_line.md": command_line,
    "reference/json_output.md": json_output,
    "reference/python_api.md": python_api,
    **{f"schemas/{name}.schema.json": partial(_schema, name) for name in publish.schemas()},
    "../worker/storage/sqlite_schema.sql": sqlite_schema,
}
"""Files that hold nothing else, by their path from ``docs/``."""


def rewrite() -> None:
    """Write every table and every file anew."""
    for name, made in FILES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
    for name, made in TABLES.items():
        write_table(name, made())


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not types.NoneType)
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    bounds = [
        text.format(f"{value:g}")
        for name, text in _BOUNDS
        for rule in field.metadata
        if (value := getattr(rule, name, None)) is not None
    ]
    return ", ".join([_TYPES[annotation], *([" ".join(bounds)] if bounds else [])])


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the platform's folder"
    match field.default:
        case None | "":
            return "–"
        case bool(value):
            return f"`{str(value).lower()}`"
        case int(value) | float(value):
            return f"`{value:g}`"
        case value:
            return f"`{value}`"


if __name__ == "__main__":
    rewrite()
