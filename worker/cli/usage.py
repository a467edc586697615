"""The message for a wrong command line: one line with the problem and the probable meaning."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from worker.cli.commands import ELSEWHERE

MODEL_OPTIONS = (
    "temperature",
    "num_ctx",
    "num_predict",
    "seed",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "repeat_penalty",
)
"""Options of Ollama that people give as options of a command."""

FAMILIAR = {"--format": "--as"}
"""What other tools call an option of ours."""


INSTEAD = {
    ("submit", "--host"): "whoever serves asks the hosts that were added; caravan run asks hosts of its own",
    **dict.fromkeys(
        [("submit", "-o"), ("submit", "--output")], "caravan results BATCH -o FILE writes the answers"
    ),
    (
        "retry",
        "--truncate",
    ): "caravan run --from BATCH --code context_overflow --truncate asks these rows again",
    ("run", "-m"): "did you mean --model?",
    ("submit", "-m"): "did you mean --model?",
    ("quote", "-m"): "did you mean --model?",
}
"""Command and an option of another command → what is meant for it."""

EVERYWHERE = {"--help", "--help-all", "--verbose", "--quiet", "--log-format"}
"""Options of each command, which nobody means by another name."""


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word of ``words`` that looks most like ``word``."""
    return next(iter(get_close_matches(word, list(words), n=1, cutoff=0.6)), None)


def nearest_option(name: str, options: Iterable[str]) -> str | None:
    """The option that was probably meant: one that begins so, or is written alike. The dashes, which all have, do not count.

    >>> nearest_option("--outp", ["--output", "--out-of"]), nearest_option("--modle", ["--model", "--memory"])
    ('--output', '--model')
    >>> nearest_option("--where", ["--sheet"]), nearest_option("--truncate", ["--state"]), nearest_option("-x", ["-o"])
    (None, None, None)
    """
    words = {option.removeprefix("--"): option for option in options if option.startswith("--")}
    word = name.lstrip("-")
    begun = sorted(other for other in words if len(word) > 2 and other.startswith(word))
    return words.get(next(iter(begun or get_close_matches(word, words, n=1, cutoff=0.7)), ""))


def no_command(word: str, commands: Sequence[str], path: str = "caravan") -> str:
    """The message for a command that is not there.

    >>> no_command("rnu", ["run", "status"])
    "there is no command 'rnu'; did you mean caravan run?"
    >>> no_command("ps", ["run", "status"])
    "there is no command 'ps'; did you mean caravan hosts ps?"
    >>> no_command("lst", ["add", "list"], "caravan hosts")
    "hosts has no command 'lst'; did you mean caravan hosts list?"
    """
    match = (ELSEWHERE.get(word) if path == "caravan" else None) or nearest(word, commands)
    remedy = f"did you mean {path} {match}?" if match else f"{path} --help lists them"
    lack = "there is no command" if path == "caravan" else f"{_within(path)} has no command"
    return f"{lack} {word!r}; {remedy}"


def _within(path: str) -> str:
    """``caravan hosts add`` without its first word, unless that is all."""
    return path.removeprefix("caravan ")


def usage_line(error: Any) -> str:
    """A usage error of Typer as one line, without ``caravan:``."""
    ctx = getattr(error, "ctx", None)
    path = "caravan" if ctx is None else ctx.command_path
    if hasattr(error, "possibilities"):
        return _no_option(error, ctx, path)
    message = " ".join(error.format_message().split())
    if (unknown := re.match(r"No such command '(.*?)'\.", message)) and ctx is not None:
        return no_command(unknown[1], list(ctx.command.commands), path)
    message = re.sub(r"^Invalid value for '?(.+?)'?: ", lambda match: f"{_place(match[1])}: ", message)
    message = re.sub(
        r"^Missing argument '?(.+?)'?\.", lambda match: f"Missing argument {match[1].upper()}.", message
    )
    message = re.sub(
        r"^Missing (?:argument|option|parameter) '?(.+?)'?\.(?: |$)", r"\1 is missing. ", message
    )
    message = re.sub(r"^Option '(.+?)' requires an argument", r"\1: its value is missing", message)
    message = re.sub(r"Value error, ", "", message)
    message = re.sub(r"Input should be a valid integer.*", "expected a whole number", message)
    message = re.sub(r"Input should be a valid (\w+).*", r"expected a \1", message)
    message = re.sub(r"Input should be ", "expected a number ", message).strip()
    message = re.sub(r"^Got unexpected extra argument\S* \((.*)\)$", r"too many arguments: \1", message)
    message = message[:1].lower() + message[1:] if message[:2].istitle() else message
    place = "" if path == "caravan" or message.startswith(f"{_within(path)}: ") else f"{_within(path)}: "
    return f"{place}{message.rstrip('.')} ({path} --help)"


def _place(hint: str) -> str:
    return hint.replace("' / '", ", ")


def _no_option(error: Any, ctx: Any, path: str) -> str:
    name = error.option_name
    word = name.lstrip("-").replace("-", "_")
    if instead := INSTEAD.get((_within(path), name)):
        return f"{_within(path)} has no option {name}; {instead}"
    if ctx is not None:
        params = ctx.command.get_params(ctx)
        known = {
            option
            for param in params
            if param.param_type_name == "option"
            for option in (*param.opts, *param.secondary_opts)
        }
        if word in MODEL_OPTIONS and "--set" in known:
            return f"{_within(path)} has no option {name}; options of a model are set with --set {word}=VALUE"
        if word in {param.name for param in params if param.param_type_name == "argument"}:
            usage = " ".join(
                str(param.metavar or param.name).upper()
                for param in params
                if param.param_type_name == "argument"
            )
            return f"{_within(path)} has no option {name}: give its value alone, {path} {usage}"
        match = (
            FAMILIAR.get(name) if FAMILIAR.get(name) in known else nearest_option(name, known - EVERYWHERE)
        )
        if match:
            return f"{_within(path)} has no option {name}; did you mean {match}?"
    return f"{_within(path)} has no option {name} ({path} --help-all)"
