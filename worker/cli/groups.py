"""Options that are declared once: frozen dataclasses of options, spread over the parameters of a command."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import typer

BATCH_IN_WORDS = "Number, key, name, the beginning of one, or @last"
"""How a command takes a batch."""

Command = TypeVar("Command", bound=Callable[..., Any])


def option(names: str, text: str, panel: str | None = None, **details: Any) -> Any:
    """An option by its names, its help and its panel; ``details`` as Typer calls them."""
    return typer.Option(*names.split(), help=text, rich_help_panel=panel, **details)


def with_groups(command: Command) -> Command:
    """A command as Typer sees it: each parameter that is a dataclass, and each field that is one, becomes the options that
    are its fields. Raises TypeError where two groups have the same option."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint):
            parameters += _spread(hint)
        else:
            parameters.append(parameter.replace(annotation=hint))
    names = [parameter.name for parameter in parameters]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise TypeError(f"{command.__name__}: several groups have an option {min(doubled)}")
    parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)

    def spread(**values: Any) -> Any:
        arguments = {
            name: _grouped(hint, values) if is_dataclass(hint) else values[name]
            for name, hint in hints.items()
            if name != "return"
        }
        return command(**arguments)

    spread.__name__, spread.__doc__, spread.__module__ = command.__name__, command.__doc__, command.__module__
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    spread.command = command  # type: ignore[attr-defined]
    return spread  # type: ignore[return-value]


@cache
def _hints(group: Any) -> dict[str, Any]:
    return get_type_hints(group, include_extras=True)


def _spread(group: Any) -> list[inspect.Parameter]:
    hints = _hints(group)
    parameters: list[inspect.Parameter] = []
    for field in fields(group):
        hint = hints[field.name]
        if is_dataclass(hint):
            parameters += _spread(hint)
            continue
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hint,
            )
        )
    return parameters


def _grouped(group: Any, values: Mapping[str, Any]) -> Any:
    hints = _hints(group)
    return group(
        **{
            field.name: _grouped(hints[field.name], values)
            if is_dataclass(hints[field.name])
            else values[field.name]
            for field in fields(group)
        }
    )


def values_of(group: Any) -> dict[str, Any]:
    """The fields of a group by name; a group in it stays one."""
    return {field.name: getattr(group, field.name) for field in fields(group)}
