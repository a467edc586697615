"""Reference pages that are written by the code alone: the command line, and the Python API."""

import enum
import inspect
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any

import typer.main
from typer import Context

import caravan
from worker.cli.commands import GROUPS, UNLISTED
from worker.cli.help import option_row, usage
from worker.cli.main import app

_FIRST = """`caravan COMMAND --help` prints the same for a command, and `--help-all` where it has many options. `BATCH` is a
number, a key, a name, the beginning of a key or name, or `@last`. Every command accepts these options:"""
_IMPORTS = """Import these names from `caravan`. [Submit from Python](../howto/python.md) shows how to use them. Celery producers
import `submit` from `caravan.celery`."""
_EVERYWHERE = ("verbose", "quiet", "log_format")
"""Options that every command takes; the page lists them once."""


def command_line() -> str:
    """Every command with its arguments and options, in the groups of ``caravan --help``."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        _WRITTEN.format("from the commands"),
        _FIRST,
        _table(
            option_row(param, Context(root)) for param in root.get_params(Context(root)) if _has_text(param)
        ),
    ]
    for group, entries in [*GROUPS.items(), ("Processes of a fleet", UNLISTED)]:
        parts.append(f"## {group}")
        for name in entries:
            parts += _command(root.get_command(Context(root), name), f"caravan {name}")
    return "\n\n".join(parts) + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    context = Context(command, info_name=path)
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    yield f"### {path}"
    yield _escaped(text.strip())
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _command(command.get_command(context, name), f"{path} {name}")
        return
    yield f"```text\n{usage(command, context)}\n```"
    if example:
        yield f"Example: `{example.strip()}`"
    params = [param for param in command.get_params(context) if not getattr(param, "hidden", False)]
    arguments = [
        (param.metavar or param.name.upper(), param.help or "")
        for param in params
        if param.param_type_name == "argument"
    ]
    if any(text for _, text in arguments):
        yield _table(arguments)
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        if param.param_type_name == "option" and _has_text(param) and param.name not in _EVERYWHERE:
            title = getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(title, []).append(option_row(param, context))
    for title, rows in panels.items():
        if len(panels) > 1:
            yield f"**{title}**"
        yield _table(rows)


def _has_text(param: Any) -> bool:
    return param.param_type_name == "option" and param.name != "help" and not getattr(param, "hidden", False)


def python_api() -> str:
    """Everything that ``from caravan import …`` gives, with its signature and its docstring."""
    parts = [
        "# Python API",
        _WRITTEN.format("from `caravan`"),
        _IMPORTS,
    ]
    everything = [getattr(caravan, name) for name in caravan.__all__]
    errors = [item for item in everything if issubclass(item, Exception)]
    values = [item for item in everything if not issubclass(item, Exception)]
    for item in values:
        parts += [f"## {item.__name__}", _doc(item)]
        if issubclass(item, enum.Enum):
            parts.append("Values: " + ", ".join(f"`{member.value}`" for member in item) + ".")
        else:
            parts += _members(item)
    parts += [
        "## Errors",
        _table(((item.__name__, _doc(item)) for item in errors), head=("error", "meaning")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _members(item: type) -> Iterator[str]:
    if "__init__" in vars(item):
        yield f"```text\n{item.__name__}{_signature(vars(item)['__init__'])}\n```"
    for name, member in inspect.getmembers(item):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"### {item.__name__}.{name}"
            yield _doc(member.fget)
        elif isinstance(member, types.FunctionType | types.MethodType):
            yield f"### {item.__name__}.{name}"
            yield f"```text\n{name}{_signature(member)}\n```"
            yield _doc(member)


def _signature(function: Any) -> str:
    """The parameters, one a line where they are many, without ``self``."""
    signature = inspect.signature(function)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in ("self", "cls")]
    text = str(signature.replace(parameters=kept)).replace("'", "")
    text = re.sub(
        r"\b(?:collections\.abc|pathlib|datetime|typing|worker(?:\.\w+)*|api_schemas(?:\.\w+)*)\.", "", text
    )
    return (
        text
        if len(text) < 100
        else re.sub(r", (?=(?:\w+:|\*|\w+=|/))", ",\n    ", text).replace("(", "(\n    ", 1)
    )


def _doc(item: Any) -> str:
    """The docstring without its doctests."""
    return _escaped(inspect.cleandoc(item.__doc__ or "").partition("\n\n>>>")[0])


_WRITTEN = "<!-- Written by `make reference` {}; do not edit. -->"


def _escaped(text: str) -> str:
    """Text of the code as Markdown shows it: names in double backticks become code."""
    return text.replace("``", "`").replace("<", "&lt;")


def _table(rows: Iterable[tuple[str, str]], head: tuple[str, str] = ("name", "what it does")) -> str:
    cells = [(f"`{name}`", " ".join(_escaped(text).split())) for name, text in rows]
    lines = [head, ("---", "---"), *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
