"""Is a ``caravan …`` command that a document shows one that the command line takes?"""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from tests.repo.docs.pages import Block

_ENDS = frozenset({"|", "||", "&&", ";", "&"})
_REDIRECTIONS = frozenset({"<", ">", ">>", "2>"})


def shell_lines(block: Block) -> Iterator[str]:
    """The commands typed in a ``console`` block: what follows ``$``, continued where a line ends with a backslash."""
    typed = ""
    for line in block.text.splitlines():
        if typed or line.startswith("$ "):
            typed += line.removeprefix("$ ") if not typed else line.strip()
            if typed.endswith("\\"):
                typed = typed[:-1].rstrip() + " "
                continue
            yield typed
            typed = ""


def programs(line: str) -> Iterator[list[str]]:
    """The words of each program on a shell line, without variables set before it and without redirections."""
    line = re.sub(r"(?<=\s)\d(?=[<>])", "", line)  # 2> redirects as > does
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if skip:
            skip = False
        elif word in _ENDS:
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        elif word in _REDIRECTIONS:
            skip = True
        else:
            words.append(word)


def caravan_words(words: Sequence[str]) -> list[str] | None:
    """What follows ``caravan`` in a program's words, also behind ``docker compose run``; None where there is none."""
    for at, word in enumerate(words):
        if word.rsplit("/", 1)[-1] == "caravan" and "=" not in word:
            return list(words[at + 1 :])
    return None


def check_command(root: Any, words: Sequence[str]) -> None:
    """See that ``words`` parse as a command of ``root``: names, options, arguments and their types.

    Raises AssertionError or typer's usage error.
    """
    command, rest, path = root, list(words), "caravan"
    while hasattr(command, "list_commands"):
        if not rest or rest[0].startswith("-"):
            _check_options(command, rest, path)
            return
        name = rest.pop(0)
        found = command.get_command(None, name)
        assert found is not None, f"{path} {name}: no such command"
        command, path = found, f"{path} {name}"
    if "--help" in rest:
        _check_options(command, rest, path)
        return
    command.make_context(path, rest, resilient_parsing=False)


def _check_options(command: Any, words: Sequence[str], path: str) -> None:
    context = typer.Context(command)
    known = {
        name
        for parameter in command.get_params(context)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{path}: no option {word}"


def check_mention(root: Any, words: Sequence[str]) -> None:
    """See that a command named in prose exists, and each option named beside it; arguments may be left out."""
    command, path = root, "caravan"
    for word in words:
        if not hasattr(command, "list_commands") or word.startswith("-") or word in ("…", "COMMAND"):
            break
        found = command.get_command(None, word)
        assert found is not None, f"{path} {word}: no such command"
        command, path = found, f"{path} {word}"
    _check_options(
        command,
        [word.strip("[]") for word in words if word.strip("[").startswith("-") and word != "-"],
        path,
    )
