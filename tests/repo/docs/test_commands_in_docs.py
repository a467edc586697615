"""Commands, settings and events that the documents name exist."""

import re
from pathlib import Path

import pytest
import typer.main

from tests.repo.docs.commands import (
    caravan_words,
    check_command,
    check_mention,
    programs,
    shell_lines,
)
from tests.repo.docs.pages import PAGES, ROOT, blocks, inline_code
from worker.cli.main import app
from worker.observability.events import EVENTS
from worker.settings import PREFIX, Settings

CARAVAN = typer.main.get_command(app)
MISSPELT = {"CARAVAN_LEASE_SECOND"}
"""Shown on purpose, with the error it gives."""
OUR_PAGES = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _typed(page: Path) -> list[tuple[str, list[str]]]:
    """Where, and the words, of every program that a reader is told to type."""
    return [
        (block.place, words)
        for block in blocks(page, "console")
        for line in shell_lines(block)
        for words in programs(line)
    ]


SHOWN = [
    pytest.param(typed, id=f"{place} caravan {' '.join(typed)}")
    for page in PAGES
    for place, words in _typed(page)
    if (typed := caravan_words(words)) is not None
]


@pytest.mark.parametrize("typed", SHOWN)
def test_a_caravan_command_that_is_shown_is_one_the_command_line_takes(
    typed: list[str],
) -> None:
    check_command(CARAVAN, typed)


@OUR_PAGES
def test_every_caravan_command_named_in_prose_exists(page: Path) -> None:
    for code in inline_code(page):
        if code.startswith("caravan "):
            check_mention(CARAVAN, code.split()[1:])


@pytest.mark.parametrize("name", ["README.md", "docs/running.md", "docs/fleet.md"])
def test_the_pages_for_users_show_commands(name: str) -> None:
    assert sum(caravan_words(words) is not None for _, words in _typed(ROOT / name)) >= 5


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="no such command"):
        check_command(CARAVAN, ["hosts", "rename", "gpu-1"])
    with pytest.raises(Exception, match="--ouput"):
        check_command(CARAVAN, ["run", "prompts.jsonl", "--ouput", "answers.jsonl"])
    with pytest.raises(AssertionError, match="no option --fast"):
        check_mention(CARAVAN, ["run", "--fast"])


@OUR_PAGES
def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}

    named = set(re.findall(r"\bCARAVAN_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))

    assert {name for name in named - known if not name.startswith("CARAVAN_TEST")} <= MISSPELT


@OUR_PAGES
def test_every_event_that_is_named_exists(page: Path) -> None:
    nouns = "|".join(sorted({event.partition(".")[0] for event in EVENTS}))

    named = {code for code in inline_code(page) if re.fullmatch(rf"(?:{nouns})\.[a-z_]+", code)}

    assert named - set(EVENTS) <= {"job.py", "database.url", "batch.finished"}


@OUR_PAGES
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    named = {words[1] for _, words in _typed(page) if words[0] == "make" and len(words) > 1}
    named |= {code.split()[1] for code in inline_code(page) if re.fullmatch(r"make [\w-]+", code)}
    if not named:
        return

    targets = set(
        re.findall(
            r"^([\w-]+):(?!=)",
            (ROOT / "Makefile").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    )

    assert named <= targets


@OUR_PAGES
def test_what_docker_compose_is_told_stands_in_its_file(page: Path) -> None:
    told = [words[2:] for _, words in _typed(page) if words[:2] == ["docker", "compose"]]
    if not told:
        return
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")

    for words in told:
        if "--profile" in words:
            assert f"profiles: [{words[words.index('--profile') + 1]}]" in text
        if "run" in words:
            service = next(word for word in words[words.index("run") + 1 :] if not word.startswith("-"))
            assert re.search(rf"^  {service}:$", text, flags=re.MULTILINE)


@OUR_PAGES
def test_every_variable_that_is_set_for_docker_compose_is_one_it_reads(page: Path) -> None:
    named = set(re.findall(r"\b((?:GPU|POSTGRES|STOP)_[A-Z0-9_]+)\b", page.read_text(encoding="utf-8")))
    if not named:
        return

    assert named <= set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
