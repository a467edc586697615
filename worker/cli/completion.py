"""What the shell offers after a tab: commands, options, and the names that this database holds.

Most values are found without importing the command that they belong to. Whatever goes wrong, the shell offers nothing and
prints nothing.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.cli.commands import COMMANDS, COMPLETION_VARIABLE
from worker.domain.numbers import count_of
from worker.observability.terminal import terminal_safe

Item = tuple[str, str]
"""What may stand there, and what it is."""

OPTIONS = {
    "--host": "hosts",
    "--model": "models",
    "-m": "models",
    "--from": "batches",
    "--batch": "batches",
    "--code": "codes",
    "--id": "columns",
    "--image": "columns",
}
"""Option → what its values are, whatever the command."""
_BATCH = ("watch", "status", "jobs", "results", "explain", "report", "pause", "resume", "cancel", "retry")
ARGUMENTS = {
    **dict.fromkeys((*_BATCH, "edit", "delete", "prune", "notify list"), "batches"),
    **{f"hosts {verb}": "hosts" for verb in ("set", "drain", "resume", "remove", "history", "check")},
    **{f"models {verb}": "models" for verb in ("list", "show", "pull", "rm", "cp", "push", "load", "stop")},
    **{
        f"schedule {verb}": "schedules"
        for verb in ("show", "pause", "resume", "remove", "history", "files", "run")
    },
}
"""Command → what its first argument is (tests compare this with the commands)."""
NOT_STORED = {("simulate", "--host"), ("up", "--host")}
_GROUPS = ("hosts", "models", "schedule", "fleet", "db", "notify")
_BLANKS = re.compile(r"[\s'\"\\$`&|;<>()*?!#\[\]{}~]")
"""At these a word of bash ends, or means something else."""
_BREAKS = re.compile(r"[@:=]+")
"""At these characters bash takes a word apart."""
_HEADER_BYTES = 65_536
_TEXTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
"""Files of which the first line is looked at; others are opened by who reads them."""


def answer(root: Any, instruction: str, environ: Mapping[str, str]) -> tuple[str, int] | None:
    """What to print for the shell, and the exit code; None for a shell or an instruction that is Typer's."""
    action, _, shell = instruction.partition("_")
    if action != "complete" or shell not in ("bash", "zsh", "fish"):
        return None
    try:
        words, incomplete = _bash_words(environ) if shell == "bash" else _words(environ)
        items = offered(root, words, incomplete)
    except (Exception, SystemExit):  # a shell would print it into the line that a person types
        items, incomplete = [], ""
    return _FORMATS[shell](items, incomplete, environ)


def offered(root: Any, words: Sequence[str], incomplete: str) -> list[Item]:
    """What may stand after ``words``; ``incomplete`` is its beginning."""
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        return []
    kind = kind_after(words, incomplete)
    if kind is None:
        return _of_the_command(root, words, incomplete)
    prefix, _, start = incomplete.rpartition("=") if incomplete.startswith("--") else ("", "", incomplete)
    matches = [item for item in values(kind, words) if item[0].startswith(start)]
    return [(f"{prefix}={value}" if prefix else value, what) for value, what in matches]


def kind_after(words: Sequence[str], incomplete: str) -> str | None:
    """What kind of value stands after ``words``, as far as that is known without the command."""
    path = command_path(words)
    if incomplete.startswith("--") and "=" in incomplete:
        return kind_of_option(path, incomplete.partition("=")[0])
    if incomplete.startswith("-") or not path:
        return None
    behind = words[len(path.split()) :]
    if behind and behind[-1].startswith("-"):
        return kind_of_option(path, behind[-1])
    return ARGUMENTS.get(path) if not behind else None


def command_path(words: Sequence[str]) -> str:
    """``hosts check`` of ``hosts check gpu-1``; empty before a command, or where options stand before it."""
    if not words or words[0] not in COMMANDS:
        return ""
    return " ".join(words[:2]) if words[0] in _GROUPS and len(words) > 1 else words[0]


def kind_of_option(path: str, option: str) -> str | None:
    """What the values of a command's option are."""
    if (path, option) in NOT_STORED:
        return None
    return "models" if path.startswith("models") and option == "--from" else OPTIONS.get(option)


def values(kind: str, words: Sequence[str]) -> list[Item]:
    """The values that there are now."""
    if kind == "codes":
        from worker.errors import Code

        return [(str(code), "") for code in Code]
    if kind == "columns":
        return [(column, "") for column in _columns(words)]
    rows = _stored(kind)
    if kind == "batches":
        return [("@last", "the newest batch"), *_batches(rows)]
    return [(name, "") for name, *_ in rows if _fits_a_word(name)]


def _stored(kind: str) -> Sequence[tuple[Any, ...]]:
    from worker.settings import load_settings
    from worker.storage.names import stored_names

    settings = load_settings()
    return stored_names(kind, settings.database_url, settings.home / "caravan.db")


def _batches(rows: Sequence[tuple[Any, ...]]) -> Iterator[Item]:
    """A batch by its name where a word can hold it and no newer batch has it, else by its number."""
    names: set[str] = set()
    for number, name, state, jobs in rows:
        usable = _fits_a_word(name) and name not in names
        names.add(name)
        yield (
            (name if usable else str(number)),
            f"{'' if usable else f'{name}, '}{count_of(jobs, 'job')}, {state}",
        )


def _fits_a_word(name: str) -> bool:
    return bool(re.fullmatch(r"[\w.:/+@%,-]+", name))


def _columns(words: Sequence[str]) -> list[str]:
    """The columns of the file among ``words``: of a table its first line, of JSONL the keys of the first object."""
    path = next((Path(word) for word in words if not word.startswith("-") and Path(word).is_file()), None)
    if path is None:
        return []
    if path.suffix.lower() not in _TEXTS:
        from worker.documents.tables import open_rows  # a spreadsheet, Parquet, something that is packed

        return list(open_rows(path).columns or ())
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    text = start.decode("utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    line = next((line for line in text.splitlines() if line.strip()), "")
    if line.lstrip().startswith("{"):
        import json

        return list(json.loads(line))
    import csv

    return next(csv.reader([line], delimiter=max(",;\t|", key=line.count)))


def complete_with_values(path: str, command: Any) -> None:
    """Let the values of a command's options and arguments be offered wherever they stand."""
    for param in command.params:
        kind = (
            ARGUMENTS.get(path)
            if param.param_type_name == "argument"
            else next(filter(None, (kind_of_option(path, option) for option in param.opts)), None)
        )
        if kind is not None and param._custom_shell_complete is None:
            param._custom_shell_complete = _completer(kind)


def _completer(kind: str) -> Callable[[Any, Any, str], list[Any]]:
    def complete(ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        words = [str(value) for value in ctx.params.values() if isinstance(value, str | Path)]
        return [
            CompletionItem(value, help=what)
            for value, what in values(kind, words)
            if value.startswith(incomplete)
        ]

    return complete


def _of_the_command(root: Any, words: Sequence[str], incomplete: str) -> list[Item]:
    """What the command itself offers: its options, their choices, and values behind other options."""
    from typer._click.shell_completion import ShellComplete

    class Offers(ShellComplete):
        name = source_template = ""

        def source_vars(self) -> dict[str, Any]:
            return {}

        def format_completion(self, item: Any) -> str:
            return str(item.value)

        def get_completion_args(self) -> tuple[list[str], str]:
            return list(words), incomplete

    offers = Offers(root, {}, "caravan", COMPLETION_VARIABLE).get_completions(list(words), incomplete)
    return [(str(item.value), str(item.help or "")) for item in offers if item.type == "plain"]


# -- the words that a shell hands over, and what it reads ------------------------------------------------------------


def _words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """Words before the cursor, and the one at it, as zsh and fish hand them over."""
    line = environ.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)[1:]
    return (words[:-1], words[-1]) if words and not line.endswith((" ", "\n")) else (words, "")


def _bash_words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The same of bash, which takes ``llama3.2:3b`` apart into three words: they are put together again."""
    at = int(environ.get("COMP_CWORD", "0"))
    parts = [*environ.get("COMP_WORDS", "").split("\n"), *[""] * at][: at + 1]
    words: list[str] = []
    glue = False
    for part in parts:
        is_break = bool(_BREAKS.fullmatch(part))
        if words and part and (glue or (is_break and not part.startswith("@"))):
            words[-1] += part
        else:
            words.append(part)
        glue = is_break
    *before, incomplete = words
    return [word for text in before[1:] for word in _split(text)], "".join(_split(incomplete)[:1])


def _split(line: str) -> list[str]:
    from typer._click.shell_completion import split_arg_string

    return split_arg_string(line)


def _bash(items: Sequence[Item], incomplete: str, environ: Mapping[str, str]) -> tuple[str, int]:
    """Bash replaces what is behind the last character at which it takes words apart, and quotes nothing itself."""
    there = [match.end() for match in _BREAKS.finditer(incomplete)]
    begin = there[-1] if there else 0
    typed = environ.get("COMP_WORDS", "").split("\n")[-1]
    quoted = typed.startswith(("'", '"'))
    values = (value[begin:] for value, _ in items)
    return "\n".join(value if quoted else _BLANKS.sub(r"\\\g<0>", value) for value in values), 0


def _zsh(items: Sequence[Item], incomplete: str, environ: Mapping[str, str]) -> tuple[str, int]:
    if not items:
        return "_files", 0
    quoted = [
        f'"{_for_zsh(value)}"' + (f':"{_for_zsh(terminal_safe(what))}"' if what else "")
        for value, what in items
    ]
    listed = "\n".join(quoted)
    return f"_arguments '*: :(({listed}))'", 0


def _for_zsh(text: str) -> str:
    plain = text.replace('"', '""').replace("'", "''").replace("$", "\\$").replace("`", "\\`")
    return plain.replace(":", r"\\:")


def _fish(items: Sequence[Item], incomplete: str, environ: Mapping[str, str]) -> tuple[str, int]:
    if environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return "", 0 if items else 1
    lines = (f"{value}\t{' '.join(terminal_safe(what).split())}" if what else value for value, what in items)
    return "\n".join(lines), 0


_FORMATS: Mapping[str, Callable[[Sequence[Item], str, Mapping[str, str]], tuple[str, int]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}


def answer_the_shell(root: Any) -> int | None:
    """Print what the shell that started this process asks for, and return the exit code; None where none does."""
    instruction = os.environ.get(COMPLETION_VARIABLE)  # noqa: TID251 - the shell's own protocol, no setting
    reply = None if not instruction else answer(root, instruction, os.environ)  # noqa: TID251
    if reply is None:
        return None
    text, code = reply
    if text:
        print(text)
    return code
