"""Pages, help texts, docstrings, messages and names keep to plain English, as far as a machine can tell."""

from collections.abc import Iterator
from typing import Any

import typer.main

from tests.repo import english
from tests.repo.docs.pages import DOCS, PAGES, place
from tests.repo.docs.tables import FILES
from worker.cli.main import app

WRITTEN = {DOCS / name for name in FILES}


def _helps(command: Any, path: str) -> Iterator[tuple[str, str]]:
    context = typer.Context(command)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _helps(command.get_command(context, name), f"{path} {name}")
    for param in command.get_params(context):
        if getattr(param, "help", None) and not getattr(param, "hidden", False):
            yield f"{path} {param.opts[0]}", param.help


def test_pages_are_written_in_plain_english() -> None:
    pages = [
        page for page in PAGES if page not in WRITTEN and page.name not in ("CHANGELOG.md", "README.zh-CN.md")
    ]

    problems = [
        f"{place(page)}:{line}: {text}: write {instead}"
        for page in pages
        for line, text, instead in english.in_page(page.read_text(encoding="utf-8"))
    ]

    assert pages
    assert problems == []


def test_help_texts_begin_with_a_noun_or_an_imperative_and_are_sentences() -> None:
    helps = list(_helps(typer.main.get_command(app), "caravan"))

    problems = {
        f"{where}: {text}: {problem}" for where, text in helps if (problem := english.help_problem(text))
    }

    assert helps
    assert problems == set()


def test_docstrings_messages_and_names_of_the_program_are_plain_english() -> None:
    assert any(english.modules())
    assert english.findings() == {}


def test_what_needs_to_be_read_twice_is_noticed() -> None:
    source = '''
def asked(told: str) -> str:
    """Which of them are left?"""
    return "CARAVAN_PING_URL is none"
'''

    assert [text for _, text, _ in english.in_code(source)] == [
        "asked",
        "told",
        "Which of them are left?",
        "is none",
    ]
    page = "# Being told\n\nWhat is stored is deleted, what was lost is asked, and the rest is copied and named anew.\n"
    assert len(list(english.in_page(page))) == 3
    names = "def keep(slots_told: int, rows: int) -> None: ...\nclass KeptRows: ...\ndef one_line() -> None: ...\n"
    assert [text for _, text, _ in english.in_code(names, "known_hosts")] == [
        "known_hosts",
        "slots_told",
        "KeptRows",
    ]
    silent = 'def find(name: str) -> int:\n    """The number of a batch."""\n    raise NotFound(name)\n'
    assert [text for *_, text in english.in_code(silent)] == ["say that it raises NotFound"]
    assert list(english.in_code(silent.replace("batch.", "batch. Raises NotFound."))) == []
    assert english.help_problem("Of that chance.")
    assert english.help_problem("Random seed for --sample.") is None
