"""Commands without a process of their own."""

from collections.abc import Callable

from typer.testing import CliRunner, Result

from worker.cli.main import app

Shell = Callable[..., Result]


def run(*arguments: str) -> Result:
    """What a command with these arguments prints, and its exit code."""
    return CliRunner().invoke(app, list(arguments))
