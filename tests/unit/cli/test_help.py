"""Help in panels, hints where a command line is wrong, and options that stand anywhere."""

import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from worker.cli.commands import COMMANDS, GROUPS, UNLISTED
from worker.cli.main import app


def caravan(*words: str, columns: int = 80) -> tuple[int, str]:
    """The exit code of a command line, and what it wrote."""
    done = CliRunner().invoke(app, words, env={"COLUMNS": str(columns)}, prog_name="caravan")
    return done.exit_code, done.output


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_is_drawn_in_panels_that_fit_the_terminal(command: tuple[str, ...], columns: int) -> None:
    code, text = caravan(*command, "--help", columns=columns)

    lines = text.splitlines()
    panels = [line for line in lines if line.startswith(("╭", "│", "╰"))]
    assert code == 0
    assert text.startswith("Usage: caravan")
    assert panels
    assert {cell_len(line) for line in panels} == {columns}
    assert [line for line in lines if cell_len(line) > columns and not line.startswith("Example: ")] == []


def test_the_main_help_lists_the_commands_in_groups_a_line_each() -> None:
    _, text = caravan("--help")

    for title, entries in GROUPS.items():
        at = text.index(f"╭─ {title} ─")
        for name, entry in entries.items():
            at = text.index(f"│ {name:<8}  {entry.help}", at)
    assert not any(f"│ {name} " in text for name in UNLISTED)
    assert caravan() == caravan("-h") == caravan("help") == caravan("--help")


def test_common_options_come_first_and_the_rest_on_request() -> None:
    _, common = caravan("run", "--help")
    _, every = caravan("run", "--help-all")

    assert "--model MODEL" in common
    assert "--webhook-key" not in common
    assert "more options: caravan run --help-all" in common
    assert "--webhook-key env:NAME|file:PATH" in every
    assert "more options" not in every
    assert caravan("help", "run") == caravan("run", "-h") == (0, common)
    assert caravan("hosts")[1] == caravan("hosts", "--help")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_an_option_takes_is_named_in_plain_capitals(name: str) -> None:
    _, text = caravan(name, "--help-all")

    assert "<" not in text
    assert "list[" not in text
    assert "[[" not in text
    assert not re.search(r"--(code|model|batch|output) (TEXT|PATH)", text), "the value has a name of its own"
    assert "[BATCH]" not in text or "Number, key, name, the beginning of one, or @last" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rnu", "there is no command 'rnu'; did you mean caravan run?"),
        ("ls", "there is no command 'ls'; did you mean caravan status?"),
        ("unhold @last", "there is no command 'unhold'; did you mean caravan retry --state held?"),
        ("qqq", "there is no command 'qqq'; caravan --help lists them"),
        ("run --tmeplate x", "run has no option --tmeplate; did you mean --template?"),
        (
            "run --temperature 0.2",
            "run has no option --temperature; options of a model are set with --set temperature=VALUE",
        ),
        ("status --qqqqq", "status has no option --qqqqq (caravan status --help-all)"),
        (
            "hosts add --name gpu-1",
            "hosts add has no option --name: give its value alone, caravan hosts add NAME URL",
        ),
        ("results --format csv", "results has no option --format; did you mean --as?"),
        ("status --limit x", "status: --limit: expected a whole number (caravan status --help)"),
        (
            "submit --priority urgent",
            "submit: --priority: 'urgent' is not one of 'interactive', 'high', 'normal', 'bulk' (caravan submit --help)",
        ),
        ("jobs", "jobs: BATCH is missing (caravan jobs --help)"),
        ("hosts add", "hosts add: NAME is missing (caravan hosts add --help)"),
        ("search x --where a=b", "search: no such option: --where (caravan search --help)"),
        ("prune --keep x", "prune has no option --keep (caravan prune --help-all)"),
        ("hosts lsit", "hosts has no command 'lsit'; did you mean caravan hosts list?"),
        ("db qqq", "db has no command 'qqq'; caravan db --help lists them"),
        ("run x --limit", "run: --limit: its value is missing (caravan run --help)"),
        ("hosts set --slots", "hosts set: --slots: its value is missing (caravan hosts set --help)"),
        ("--log-format", "--log-format: its value is missing (caravan --help)"),
        (
            "submit x --limit 0",
            "submit: --limit: expected a number greater than or equal to 1 (caravan submit --help)",
        ),
        (
            "retry 1 --truncate",
            (
                "retry has no option --truncate; caravan run --from BATCH --code context_overflow --truncate asks these rows "
                "again"
            ),
        ),
        ("run x -m a:1", "run has no option -m; did you mean --model?"),
        (
            "submit x -o y.csv",
            "submit has no option -o; caravan results BATCH -o FILE writes the answers",
        ),
        ("run x --where a=b", "run has no option --where (caravan run --help-all)"),
        ("run x --outp y.csv", "run has no option --outp; did you mean --output?"),
        ("submit . --model a:1", ". is a folder; --documents . asks each document in it"),
        (
            "hosts add 127.0.0.1:9 gpu-7",
            (
                "hosts add: NAME: the name comes first, then the URL, as in caravan hosts add gpu-7 127.0.0.1:9 "
                "(caravan hosts add --help)"
            ),
        ),
        (
            "simulate --faults no.json",
            "simulate: --faults: no.json: No such file or directory (caravan simulate --help)",
        ),
        (
            "simulate --models a:1,:",
            "simulate: --models: ':' is no name of a model; expected NAME:TAG, with commas between (caravan simulate --help)",
        ),
        ("status a b", "status: too many arguments: b (caravan status --help)"),
    ],
)
def test_a_wrong_command_line_gets_one_line_with_what_was_meant(words: str, message: str) -> None:
    assert caravan(*words.split()) == (2, f"caravan: {message}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("status", "-q"),
        ("-q", "status"),
        ("status", "--log-format", "json", "-vv"),
        ("hosts", "-q", "list"),
        ("hosts", "-v", "--log-format", "json", "list", "--json"),
    ],
)
def test_quiet_verbose_and_the_form_of_logs_stand_anywhere(words: tuple[str, ...]) -> None:
    code, text = caravan(*words)

    assert code == 0, text


def test_help_is_a_command_of_a_group_too() -> None:
    assert caravan("hosts", "help", "add") == caravan("hosts", "add", "--help")
    assert caravan("hosts", "help") == caravan("hosts", "--help")


def test_quiet_and_verbose_exclude_each_other_wherever_they_stand() -> None:
    code, text = caravan("-q", "status", "-v")

    assert (code, "-q has no effect beside -v" in text) == (2, True)


def test_status_without_a_batch_lists_and_options_of_the_list_need_no_batch() -> None:
    assert json.loads(caravan("status", "--json", "--limit", "3")[1]) == []
    assert "--limit has no effect beside BATCH" in caravan("status", "1", "--limit", "3")[1]


def test_fleet_holds_the_processes_that_service_files_call(tmp_path: Path) -> None:
    for name in UNLISTED:
        assert caravan("fleet", name, "--help")[1].replace("fleet ", "") == caravan(name, "--help")[
            1
        ].replace("fleet ", "")
