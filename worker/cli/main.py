"""``caravan``: the commands in one app, and what an error looks like.

A command's module is imported when the command is run: ``caravan --help`` needs none of them, ``status`` only its own.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from worker.cli.commands import COMMANDS, COMPLETION_VARIABLE, GROUPS
from worker.cli.lean import spare_types
from worker.cli.streams import say
from worker.cli.usage import no_command, usage_line
from worker.errors import CaravanError


class Commands(TyperGroup):
    """Commands by their table. Errors raised on purpose become a line on standard error and an exit code; defects keep
    their traceback."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        spare_types(self)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return _loaded(cmd_name, getattr(import_module(entry.module), entry.attribute), self)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        unknown = bool(args) and args[0] not in COMMANDS and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:
            _fail(no_command(args[0], list(COMMANDS)))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Names by the table: importing every command for one tab would be felt."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        item = import_module("typer._click.shell_completion").CompletionItem
        listed = ((name, entry) for entries in GROUPS.values() for name, entry in entries.items())
        return [item(name, help=entry.help) for name, entry in listed if name.startswith(incomplete)]

    def get_help(self, ctx: Any) -> str:
        from worker.cli.help import main_help, option_row

        groups = [
            (title, [(name, entry.help) for name, entry in entries.items()])
            for title, entries in GROUPS.items()
        ]
        return main_help(self.help or "", groups, [option_row(param, ctx) for param in self.get_params(ctx)])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        # a flag that may have a value: Click would take the file that follows it for that
        args = ["--reuse-any" if arg == "--reuse=any" else arg for arg in args]
        with _placed(ctx):
            return super().parse_args(ctx, args or ["--help"])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line. A usage error is one line too."""
        if not extra.pop("standalone_mode", True):
            return super().main(*args, standalone_mode=False, **extra)  # type: ignore[misc]
        if COMPLETION_VARIABLE in os.environ:  # noqa: TID251 - the shell's own protocol, no setting
            from worker.cli.completion import answer_the_shell

            if (reply := answer_the_shell(self)) is not None:
                sys.exit(reply)
        try:
            code = super().main(*args, standalone_mode=False, **extra)  # type: ignore[misc]
        except typer.Abort:
            _fail("stopped; nothing was done", code=1)
        except Exception as error:
            if not hasattr(
                error, "format_message"
            ):  # what Typer raises has it, under names that are no promise
                raise
            _fail(usage_line(error), code=getattr(error, "exit_code", 2))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CaravanError as error:
            from worker.cli.exits import exit_code, explain

            for line in explain(error):
                say(line)
            sys.exit(exit_code(error))
        except BrokenPipeError:
            sys.exit(0)  # whoever read the output has what it came for: `caravan results @last | head -1`
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            if not place and error.errno == 28:  # ENOSPC; every file that Caravan writes is named
                place = "standard output: "
            _fail(f"{place}{error.strerror or error}", code=1)
        except KeyboardInterrupt:
            say("interrupted")
            sys.exit(130)


def _fail(message: str, *, code: int = 2) -> NoReturn:
    say(f"caravan: {message}")
    sys.exit(code)


EVERYWHERE = ("verbose", "quiet", "log_format")
"""Options that stand before the command or behind it."""


def _loaded(name: str, loaded: Any, root: Any) -> Any:
    """The command, or the group of commands, that ``loaded`` is."""
    if isinstance(loaded, typer.Typer):
        group: Any = typer.main.get_command(loaded)
        group.name = name
        _draw_help(group)
        for inner, command in group.commands.items():
            if hasattr(command, "commands"):
                _draw_help(command)
            _prepare(f"{name} {inner}", command, root)
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, context_settings=getattr(loaded, "context_settings", None))(loaded)
    return _prepare(name, typer.main.get_command(single), root)


def _prepare(name: str, command: Any, root: Any) -> Any:
    """Let the command take the options that stand everywhere, and refuse those that would have no effect before it does
    anything."""
    run = command.invoke
    own = {option for param in command.params for option in param.opts}
    spare_types(command)
    command.params += [param for param in root.params if param.name in EVERYWHERE and not own & {*param.opts}]

    def invoke(ctx: Any) -> Any:
        from worker.cli.applicable import command_line_values, refuse_idle
        from worker.cli.settings import hold_common_options

        before, behind = ctx.find_root(), {option: ctx.params.pop(option, None) for option in EVERYWHERE}
        refuse_idle("", command_line_values(before) | command_line_values(ctx, behind))
        refuse_idle(name, command_line_values(ctx))
        with hold_common_options(
            verbose=(before.params["verbose"] or 0) + (behind["verbose"] or 0),
            quiet=bool(before.params["quiet"] or behind["quiet"]),
            log_format=behind["log_format"] or before.params["log_format"],
        ):
            return run(ctx)

    command.invoke = invoke
    _draw_help(command)
    if COMPLETION_VARIABLE in os.environ:  # noqa: TID251 - the shell's own protocol, no setting
        from worker.cli.completion import complete_with_values

        complete_with_values(name, command)
    return command


def _draw_help(command: Any) -> None:
    """Let ``--help`` draw panels, and ``--help-all`` show every option."""
    parse = command.parse_args

    def get_help(ctx: Any, *, every: bool = False) -> str:
        from worker.cli.help import help_of

        return help_of(command, ctx, every=every)

    def parse_args(ctx: Any, args: list[str]) -> Any:
        options = args[: args.index("--")] if "--" in args else args
        if not args and hasattr(command, "commands") and not command.invoke_without_command:
            args = ["--help"]
        if "--help-all" in options:
            typer.echo(get_help(ctx, every=True))
            ctx.exit()
        with _placed(ctx):
            return parse(ctx, _behind_the_command(args) if hasattr(command, "commands") else args)

    command.get_help, command.parse_args = get_help, parse_args


@contextmanager
def _placed(ctx: Any) -> Iterator[None]:
    """Say of a usage error in which command it is; of an option without its value Click does not know."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and getattr(error, "ctx", None) is None:
            error.ctx = ctx  # type: ignore[attr-defined]
        raise


def _behind_the_command(args: Sequence[str]) -> list[str]:
    """What follows a group of commands, with ``help`` as the option, and the options that stand everywhere behind the
    command.

    >>> _behind_the_command(["-v", "--log-format", "json", "list", "--json"])
    ['list', '-v', '--log-format', 'json', '--json']
    >>> _behind_the_command(["help", "add"]), _behind_the_command(["help"]), _behind_the_command(["-h"])
    (['add', '--help'], ['--help'], ['-h'])
    """
    if args[:1] == ["help"]:
        return [*args[1:], "--help"]
    first = 0
    while first < len(args) and _EVERYWHERE.fullmatch(args[first]):
        first += 2 if args[first] == "--log-format" else 1
    return [*args[first : first + 1], *args[:first], *args[first + 1 :]]


_EVERYWHERE = re.compile(r"-[qv]+|--verbose|--quiet|--log-format(=.*)?")

app = typer.Typer(
    name="caravan",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bulk text generation on Ollama hosts: prompts in, answers in a SQL database, few model loads.\n\n"
    "First: caravan demo\n\n"
    "For real: caravan run prompts.jsonl --host http://gpu-1:11434 -o answers.jsonl\n\n"
    "Exit codes: 0 all succeeded, 1 error, 2 input refused, 3 finished with failed or held jobs, 4 no host can serve,"
    " 5 the deadline will be missed, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).",
)


def _version(flag: bool) -> None:
    if flag:
        import importlib.metadata

        from worker.extras import DISTRIBUTION

        typer.echo(importlib.metadata.version(DISTRIBUTION))
        raise typer.Exit


@app.callback()
def caravan(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log what happens; -vv logs more.")
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and no summary; errors and results only.")
    ] = False,
    log_format: Annotated[
        Literal["line", "json"] | None, typer.Option("--log-format", help="Log lines for people or machines.")
    ] = None,
) -> None:
    """Bulk text generation on Ollama hosts."""
