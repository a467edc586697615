"""``caravan``: the commands in one app, and what an error looks like.

A command's module is imported when the command is run: ``caravan --help`` needs none of them, ``status`` only its own.
"""

import gc
import sys
from importlib import import_module
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from worker.errors import CaravanError

COMMANDS: dict[str, tuple[str, str, str]] = {
    "run": (
        "worker.cli.run",
        "run",
        "Answer every prompt in FILE on these hosts and keep the answers in the database.",
    ),
    "demo": (
        "worker.cli.demo",
        "demo",
        "Show the main job in under a minute: mixed prompts, three models, two simulated hosts, few model loads.",
    ),
    "up": (
        "worker.cli.up",
        "up",
        "Serve every host that was added, and whatever is submitted, until stopped. Hosts added later are picked up.",
    ),
    "submit": (
        "worker.cli.submit",
        "submit",
        "Put a batch in the database for whoever serves, and wake them. Prints its number.",
    ),
    "quote": (
        "worker.cli.quote",
        "quote",
        "Say what FILE takes before it is submitted: jobs, loads, when each host and all of it is done, and how sure that is.",
    ),
    "status": ("worker.cli.batches", "status", "Show how far a batch, or every batch, has come."),
    "batches": (
        "worker.cli.batches",
        "batches",
        "List batches, the newest first: name, state, and how far each has come.",
    ),
    "watch": (
        "worker.cli.watch",
        "watch",
        "Watch a batch until it is done, or all work until Ctrl-C: models, hosts, speeds, failures, and what it waits for.",
    ),
    "results": (
        "worker.cli.results",
        "results",
        "Write results: of a batch in the order of the input, at any time, as JSON lines, CSV or Parquet; or as they come.",
    ),
    "export": (
        "worker.cli.results",
        "export",
        "Write results as `caravan results` does, without the reasoning unless --with reasoning asks for it.",
    ),
    "search": (
        "worker.cli.search",
        "search",
        "Find prompts and answers by their words, the newest first, in any language.",
    ),
    "report": (
        "worker.cli.report",
        "report",
        "Say what the work came to: tokens, GPU seconds busy and loading, speed, idleness, kWh; as a page with --html.",
    ),
    "jobs": (
        "worker.cli.seeing",
        "jobs",
        "List jobs of a batch in the order of its input: where each stands, and why it failed or is held.",
    ),
    "explain": ("worker.cli.seeing", "explain", "Say what a job or a batch waits for, why, and what helps."),
    "cancel": (
        "worker.cli.actions",
        "cancel",
        "Cancel what is left of a batch, or some jobs: what waits at once, what runs within seconds. Answers stay.",
    ),
    "pause": (
        "worker.cli.actions",
        "pause",
        "Start no more jobs of a batch; those that run end by themselves.",
    ),
    "resume": ("worker.cli.actions", "resume", "Let a paused batch go on."),
    "retry": (
        "worker.cli.actions",
        "retry",
        "Ask jobs again that failed, those of another --state, or those whose answers were cut, are empty or unfit.",
    ),
    "set": (
        "worker.cli.actions",
        "set_",
        "Make the jobs of a batch more or less urgent, or give it other hours.",
    ),
    "unhold": (
        "worker.cli.actions",
        "unhold",
        "Let held jobs go: after a missing model was pulled, or a suspect was looked at.",
    ),
    "prune": (
        "worker.cli.keeping",
        "prune",
        "Forget prompts and answers of batches that are over; what was counted stays.",
    ),
    "delete": (
        "worker.cli.keeping",
        "delete",
        "Delete jobs for good: prompts, metadata, answers, attempts. What was counted stays; what runs is cancelled first.",
    ),
    "schedule": (
        "worker.cli.schedules",
        "schedules",
        "Documents that are asked every night: only those that are new or changed.",
    ),
    "hosts": ("worker.cli.hosts", "hosts", "The Ollama hosts of this database."),
    "ps": (
        "worker.cli.seeing",
        "ps",
        "Show what each host has loaded: how large, how much of it in the GPU, its context window, and until when.",
    ),
    "models": (
        "worker.cli.models",
        "models",
        "The models of the fleet: list, show, pull, rm, cp, create, push, load, stop.",
    ),
    "worker": (
        "worker.cli.fleet",
        "worker",
        "Serve hosts of a fleet until stopped. One per GPU host, beside it or for it.",
    ),
    "control": (
        "worker.cli.fleet",
        "control",
        "Rescue stale jobs, promote retries, wake idle hosts, settle batches. One per fleet; more do no harm.",
    ),
    "beat": (
        "worker.cli.fleet",
        "beat",
        "Send the ticks that control works on. One per fleet; more do no harm.",
    ),
    "db": (
        "worker.cli.db",
        "database",
        "The database: its schema, a check of what it promises, backups, and moving it.",
    ),
    "simulate": (
        "simulator.command",
        "simulate",
        "Simulate Ollama hosts for any client, until Ctrl-C. The answers are made up.",
    ),
    "health": (
        "worker.cli.health",
        "health",
        "Say whether all is well: processes, database, disks, hosts, what waits too long. Exit code 1 when something is not.",
    ),
    "notify": (
        "worker.cli.health",
        "notify",
        "Those who are told when something is not well, or a batch is over.",
    ),
    "info": (
        "worker.cli.info",
        "info",
        "Say what this is and what it uses: versions, home, database, broker, who serves, where each setting came from.",
    ),
}
"""Name → module, the function or the group in it, and its help in one line (a test compares it with the docstring)."""


class Commands(TyperGroup):
    """Commands by their table. Errors raised on purpose become a line on standard error and an exit code; defects keep
    their traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = COMMANDS.get(cmd_name)
        if known is None:
            return None
        module, attribute, _ = known
        gc.disable()  # what imports make stays; looking through it time and again is a tenth of a short command
        try:
            found = getattr(import_module(module), attribute)
        finally:
            gc.enable()
        return _loaded(cmd_name, found)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Names by the table: importing every command for one tab would be felt."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        CompletionItem = _completion_item()  # noqa: N806 - a class
        return [
            CompletionItem(name, help=told)
            for name, (_, _, told) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, _, told) in COMMANDS.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # a flag that may have a value: Click would take the file that follows it for that
        return super().parse_args(ctx, ["--reuse-any" if arg == "--reuse=any" else arg for arg in args])

    def invoke(self, ctx: Any) -> Any:
        try:
            _see_that_options_apply("", ctx)
            return super().invoke(ctx)
        except CaravanError as error:
            from worker.cli.exits import exit_code, explain

            for line in explain(error):
                typer.echo(line, err=True)
            sys.exit(exit_code(error))
        except BrokenPipeError:
            sys.exit(0)  # whoever read the output has what it came for: `caravan results @last | head -1`
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            if not place and error.errno == 28:  # ENOSPC; every file that Caravan writes is named
                place = "standard output: "
            typer.echo(f"caravan: {place}{error.strerror or error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            sys.exit(130)


def _completion_item() -> Any:
    """Typer brings a Click of its own by now, and needed the real one before."""
    try:
        return import_module("typer._click.shell_completion").CompletionItem
    except ModuleNotFoundError:
        return import_module("click.shell_completion").CompletionItem


def _loaded(name: str, found: Any) -> Any:
    if isinstance(found, typer.Typer):
        group: Any = typer.main.get_command(found)
        group.name = name
        for inner, command in group.commands.items():
            _check_before(f"{name} {inner}", command)
        return group
    one = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    one.command(name, context_settings=getattr(found, "context_settings", None))(found)
    return _check_before(name, typer.main.get_command(one))


def _check_before(name: str, command: Any) -> Any:
    """Let the command refuse options that would have no effect before it does anything."""
    run = command.invoke

    def invoke(ctx: Any) -> Any:
        _see_that_options_apply(name, ctx)
        return run(ctx)

    command.invoke = invoke
    return command


def _see_that_options_apply(name: str, ctx: Any) -> None:
    """Raise InputRefused."""
    from worker.cli.applicable import given_to, refuse_idle

    refuse_idle(name, given_to(ctx))


app = typer.Typer(
    name="caravan",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bulk text generation on Ollama hosts: prompts in, answers in a SQL database, few model loads.\n\n"
    "First: caravan demo. For real: caravan run prompts.jsonl --host http://gpu-1:11434 -o answers.jsonl\n\n"
    "Exit codes: 0 all succeeded, 1 error, 2 input refused, 3 finished with failed or held jobs, 4 no host can serve,"
    " 5 the deadline will be missed, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).",
)


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        from worker.extras import DISTRIBUTION

        typer.echo(importlib.metadata.version(DISTRIBUTION))
        raise typer.Exit


@app.callback()
def caravan(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log what happens; -vv logs more.")
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors and results only.")
    ] = False,
    log_format: Annotated[
        Literal["line", "json"] | None, typer.Option("--log-format", help="Log lines for people or machines.")
    ] = None,
) -> None:
    """Bulk text generation on Ollama hosts."""
    from worker.cli.settings import said_before  # not needed for --help

    ctx.with_resource(said_before(verbose=verbose, quiet=quiet, log_format=log_format))
