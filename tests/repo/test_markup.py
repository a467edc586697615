"""Text from hosts, files and people never meets a console that reads markup."""

import ast
import functools
from pathlib import Path

import pytest

from worker.cli.render import error_console, output_console

ROOT = Path(__file__).parents[2]


@functools.cache
def all_calls() -> list[tuple[str, ast.Call]]:
    """Every call of the program with its place; read by the first test, not by each process that collects it."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for package in ("worker", "simulator", "caravan")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a function, a method or a class of this name, with its place."""
    return [(place, call) for place, call in all_calls() if name in (_name(call.func), _attribute(call.func))]


def _name(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else ""


def _attribute(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else ""


def test_consoles_are_made_in_one_module_and_read_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not calls("Console"), "use error_console or output_console of worker/cli/render.py"
    assert {place.split(":")[0] for place, _ in calls("SafeConsole")} == {"worker/cli/render.py"}
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        for console, stream in ((error_console(), "err"), (output_console(), "out")):
            console.print("[/oops] [bold]x[/bold] :smile:")
            assert getattr(capsys.readouterr(), stream) == "[/oops] [bold]x[/bold] :smile:\n"


def test_no_call_asks_a_console_for_markup() -> None:
    asking = [
        place
        for name in ("print", "render_str", "log", "add_column", "TextColumn", "Table")
        for place, call in calls(name)
        for keyword in call.keywords
        if keyword.arg == "markup"
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]

    assert not asking


def test_columns_of_progress_bars_read_no_markup() -> None:
    columns = calls("TextColumn")

    assert columns
    for place, call in columns:
        assert any(
            keyword.arg == "markup"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is False
            for keyword in call.keywords
        ), f"{place}: TextColumn reads markup unless it is told markup=False"


def test_no_text_is_read_as_markup() -> None:
    assert not calls("from_markup")
    assert not calls("from_ansi")
