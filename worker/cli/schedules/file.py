"""What a YAML file says of schedules, each thing that is wrong with its line."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.errors import InputRefused, Problem

if TYPE_CHECKING:
    from worker.domain.schedules import ScheduleSpec

_ALSO = {"model": "models", "root": "roots", "set": "options", "document": "documents"}
"""As the command line calls them."""


def read_schedules(path: Path) -> "dict[str, ScheduleSpec]":
    """The schedules of a file by name: one with its ``name``, or several under ``schedules``. Raises InputRefused."""
    from dataclasses import replace

    from worker.cli.applicable import refuse_idle
    from worker.schedules.spec import check_name, spec_of

    specs: dict[str, ScheduleSpec] = {}
    for name, values, lines, line in _schedules_of(path):
        if name in specs:
            raise _refused(path, line, "name", f"{name} stands in the file twice")
        try:
            refuse_idle("schedule file", {field: value for field, value in values.items() if value})
            spec = spec_of(values, base=path.resolve().parent)
            specs[check_name(name)] = replace(spec, file=str(path.resolve()))
        except InputRefused as error:
            problems = [
                _problem(path, lines.get(problem.field, line), problem.field, f"{name}: {problem.message}")
                for problem in error.problems
            ]
            raise InputRefused(problems) from error
    if not specs:
        raise _refused(path, 0, "schedules", "names no schedule")
    return specs


def _schedules_of(path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, int], int]]:
    """Name, fields, the line of each field, and that of the schedule."""
    import yaml

    from worker.documents.encodings import read_text

    try:
        root = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 0 if mark is None else mark.line + 1
        message = getattr(error, "problem", None) or str(error)
        raise _refused(
            path, line, "", f"no YAML: {message}; is a text that begins with * in quotes?"
        ) from error
    if root is None:
        return
    top = _entries(path, root)
    if "schedules" not in top:
        if "name" not in top:
            raise _refused(path, 1, "name", "expected name: and its fields, or several under schedules:")
        name = top.pop("name")
        yield str(_value(path, name[1])), *_fields(path, top), name[0]
        return
    for key, (line, _) in top.items():
        if key != "schedules":
            raise _refused(path, line, key, f"unknown {key!r} beside schedules")
    listed = top["schedules"][1]
    if isinstance(listed, yaml.SequenceNode):
        for node in listed.value:
            fields = _entries(path, node)
            if "name" not in fields:
                raise _refused(path, node.start_mark.line + 1, "name", "a schedule without a name")
            name = fields.pop("name")
            yield str(_value(path, name[1])), *_fields(path, fields), name[0]
        return
    for key, (line, node) in _entries(path, listed).items():
        yield key, *_fields(path, _entries(path, node)), line


def _entries(path: Path, node: Any) -> dict[str, tuple[int, Any]]:
    """Key → its line and node."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _refused(path, node.start_mark.line + 1, "", "expected names and values")
    entries: dict[str, tuple[int, Any]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _refused(path, line, "", "expected a name before the colon")
        if key.value in entries:
            raise _refused(path, line, key.value, f"{key.value} stands there twice")
        entries[key.value] = (line, value)
    return entries


def _fields(path: Path, entries: dict[str, tuple[int, Any]]) -> tuple[dict[str, Any], dict[str, int]]:
    from dataclasses import fields
    from difflib import get_close_matches

    from worker.domain.schedules import ScheduleSpec

    known = {field.name for field in fields(ScheduleSpec)} - {"file"}
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    problems = []
    for key, (line, node) in entries.items():
        plain = key.replace("-", "_")
        name = _ALSO.get(plain, plain)
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            message = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(_problem(path, line, key, f"unknown field {key!r}; {message}"))
        elif name in values:
            problems.append(_problem(path, line, key, f"{key} says {name} again"))
        else:
            values[name], lines[name] = _value(path, node), line
    if problems:
        raise InputRefused(problems)
    return values, lines


def _value(path: Path, node: Any) -> Any:
    """The plain value of a node."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return _plain(loader.construct_object(node, deep=True))
    except yaml.YAMLError as error:
        message = getattr(error, "problem", None) or str(error)
        raise _refused(path, node.start_mark.line + 1, "", message) from error
    finally:
        loader.dispose()


def _plain(value: Any) -> Any:
    """Dates as they are written: YAML makes values of their own of them."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _problem(path: Path, line: int, field: str, message: str) -> Problem:
    place = f"{path}:{line}" if line else str(path)
    return Problem(0, f"--{field}", "invalid_value", f"{place}: {message}")


def _refused(path: Path, line: int, field: str, message: str) -> InputRefused:
    return InputRefused([_problem(path, line, field, message)])
