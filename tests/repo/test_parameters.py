"""No function of the door or the command line takes many parameters, and no group of options is large."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType

import worker.cli
import worker.door

MOST = 12


def modules() -> Iterator[ModuleType]:
    for package in (worker.door, worker.cli):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(info.name)


def test_no_function_of_the_door_and_the_commands_has_more_than_twelve_parameters() -> None:
    crowded = []
    for module in modules():
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
                if count > MOST:
                    crowded.append(f"{module.__name__}.{node.name}: {count}")

    assert crowded == []


def test_no_group_of_options_has_more_than_twelve_fields() -> None:
    groups = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and is_dataclass(value) and value.__module__.startswith("worker.cli.")
    }

    assert len(groups) > 10
    assert {group.__name__: len(fields(group)) for group in groups if len(fields(group)) > MOST} == {}
