"""``caravan``: the commands in one app, and what an error looks like."""

import importlib.metadata
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.cli import batches, fleet, run
from worker.cli.exits import exit_code, explain
from worker.errors import CaravanError


class Commands(TyperGroup):
    """Errors raised on purpose become a line on standard error and an exit code; defects keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CaravanError as error:
            for line in explain(error):
                typer.echo(line, err=True)
            sys.exit(exit_code(error))
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            typer.echo(f"caravan: {place}{error.strerror or error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            sys.exit(130)


app = typer.Typer(
    name="caravan",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bulk text generation on Ollama hosts: prompts in, answers in a SQL database, few model loads.\n\n"
    "First: caravan demo. For real: caravan run prompts.jsonl --host http://gpu-1:11434 -o answers.jsonl\n\n"
    "Exit codes: 0 all succeeded, 1 error, 2 input refused, 3 finished with failed or held jobs, 4 no host can serve,"
    " 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("caravan"))
        raise typer.Exit


@app.callback()
def caravan(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Bulk text generation on Ollama hosts."""


run.add_to(app)
batches.add_to(app)
fleet.add_to(app)
