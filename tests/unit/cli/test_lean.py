"""Options without a value skip Typer's type adapters, and are what the adapters would have made of them."""

from typing import Any

import pytest
import typer

from worker.cli.commands import COMMANDS
from worker.cli.lean import spare_types
from worker.cli.main import app


def commands_of(name: str) -> dict[str, Any]:
    """The command of that name, or those of the group, by their path."""
    root = typer.main.get_command(app)
    command = root.get_command(typer.Context(root), name)  # type: ignore[attr-defined]
    inner = getattr(command, "commands", None)
    return {name: command} if inner is None else {f"{name} {word}": one for word, one in inner.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_is_left_out_is_what_its_type_makes_of_it(name: str) -> None:
    for command in commands_of(name).values():
        context = typer.Context(command)
        for param in command.params:
            if param.required or param.callback is not None:
                continue
            adapted = param.get_runtime_param().coerce(param.default, param=param, ctx=context)
            assert param.process_value(context, param.default) == adapted


def test_a_short_command_makes_no_type_adapters() -> None:
    command = commands_of("status")["status"]
    context = typer.Context(command)

    for param in command.params:
        param.process_value(context, param.default)

    assert [param.name for param in command.params if param._runtime_param is not None] == []


def test_a_value_that_was_given_is_still_checked() -> None:
    command = commands_of("status")["status"]
    limit = next(param for param in command.params if "--limit" in param.opts)
    spare_types(command)

    assert limit.process_value(typer.Context(command), "7") == 7
    with pytest.raises(Exception, match="valid integer"):
        limit.process_value(typer.Context(command), "seven")
