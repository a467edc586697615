"""Commands, settings, events and targets that the documents name exist."""

import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
import typer.main

from tests.repo.docs.commands import (
    caravan_words,
    check_command,
    check_mention,
    programs,
    shell_lines,
)
from tests.repo.docs.pages import PAGES, ROOT, blocks, inline_code, place
from worker.cli.main import app
from worker.observability.events import EVENTS
from worker.settings import PREFIX, Settings

CARAVAN = typer.main.get_command(app)
NO_SETTINGS = {"CARAVAN_LEASE_SECOND", "CARAVAN_SERVICE_HOST", "CARAVAN_SERVICE_PORT", "CARAVAN_PORT"}
"""Output on purpose: a misspelling with the error that it gives, and what Kubernetes sets in every pod."""
NO_EVENTS = {"job.py", "worker.py", "database.url", "batch.finished"}
"""Files, and keys of messages, that look like the names of events."""
CHECK_ERRORS = (AssertionError, click.ClickException)


def _typed() -> Iterator[tuple[str, list[str]]]:
    """Where, and the words, of every program that a reader is told to type."""
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in shell_lines(block):
                for words in programs(line):
                    yield block.place, words


def _problems(checks: list[tuple[str, Any, list[str]]]) -> list[str]:
    """What is wrong with the commands, each checked by the function beside it. There has to be one at least."""
    assert checks
    problems = []
    for where, check, words in checks:
        try:
            check(CARAVAN, words)
        except CHECK_ERRORS as error:
            why = error.format_message() if isinstance(error, click.ClickException) else error
            problems.append(f"{where}: caravan {' '.join(words)}: {why}")
    return problems


def _named(pattern: str) -> dict[str, set[str]]:
    """What matches ``pattern`` in the text of any page, and the pages that name it."""
    names: dict[str, set[str]] = {}
    for page in PAGES:
        for name in re.findall(pattern, page.read_text(encoding="utf-8")):
            names.setdefault(name, set()).add(place(page))
    assert names
    return names


def test_every_caravan_command_that_is_shown_is_one_the_command_line_takes() -> None:
    shown = [
        (where, check_command, typed)
        for where, words in _typed()
        if (typed := caravan_words(words)) is not None
    ]

    assert _problems(shown) == []


def test_every_caravan_command_named_in_prose_exists() -> None:
    named = [
        (place(page), check_mention, code.split()[1:])
        for page in PAGES
        for code in inline_code(page)
        if code.startswith("caravan ")
    ]

    assert _problems(named) == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no such command"):
        check_command(CARAVAN, ["hosts", "rename", "gpu-1"])
    with pytest.raises(Exception, match="--ouput"):
        check_command(CARAVAN, ["run", "prompts.jsonl", "--ouput", "answers.jsonl"])
    with pytest.raises(AssertionError, match="no option --fast"):
        check_mention(CARAVAN, ["run", "--fast"])


def test_every_setting_that_is_named_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}

    named = _named(r"\bCARAVAN_[A-Z_]*[A-Z]\b")

    assert {
        name: pages
        for name, pages in named.items()
        if name not in known | NO_SETTINGS and not name.startswith("CARAVAN_TEST")
    } == {}


def test_every_event_that_is_named_exists() -> None:
    nouns = "|".join(sorted({event.partition(".")[0] for event in EVENTS}))
    event = re.compile(rf"(?:{nouns})\.[a-z_]+")

    named = {(place(page), code) for page in PAGES for code in inline_code(page) if event.fullmatch(code)}

    assert named
    assert {(page, code) for page, code in named if code not in EVENTS and code not in NO_EVENTS} == set()


def test_every_make_target_that_is_named_exists() -> None:
    named = {words[1] for _, words in _typed() if words[0] == "make" and len(words) > 1}
    named |= {
        code.split()[1] for page in PAGES for code in inline_code(page) if re.fullmatch(r"make [\w-]+", code)
    }
    targets = set(re.findall(r"^([\w-]+):(?!=)", _text("Makefile"), flags=re.MULTILINE))

    assert named
    assert named <= targets


def test_what_docker_compose_is_told_stands_in_its_file() -> None:
    commands = [words[2:] for _, words in _typed() if words[:2] == ["docker", "compose"]]
    compose = _text("compose.yaml")

    assert commands
    for words in commands:
        if "--profile" in words:
            assert f"profiles: [{words[words.index('--profile') + 1]}]" in compose
        if "run" in words:
            service = next(word for word in words[words.index("run") + 1 :] if not word.startswith("-"))
            assert re.search(rf"^  {service}:$", compose, flags=re.MULTILINE)


def test_every_variable_that_is_set_for_docker_compose_is_one_it_reads() -> None:
    named = _named(r"\b((?:GPU|POSTGRES|STOP)_[A-Z0-9_]+)\b")
    read = set(re.findall(r"\$\{(\w+)", _text("compose.yaml")))

    assert {name: pages for name, pages in named.items() if name not in read} == {}


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
