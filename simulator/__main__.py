"""``python -m simulator``: simulated hosts alone, until Ctrl-C."""

import typer

from simulator.command import simulate


def command_line() -> typer.Typer:
    """The one command, as ``caravan simulate`` has it."""
    app = typer.Typer(add_completion=False)
    app.command()(simulate)
    return app


if __name__ == "__main__":
    command_line()(prog_name="python -m simulator")
