"""Questions to a person."""

import sys

import typer

from worker.errors import Conflict


def confirm(question: str, *, yes: bool, instead: str = "give --yes") -> None:
    """Ask unless ``yes``. Raises Conflict, with what to give ``instead``, where nobody can answer, and typer.Exit after a
    no."""
    if yes:
        return
    if not can_ask():
        raise Conflict(f"{question} Nobody can answer here: {instead}")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def can_ask() -> bool:
    """Whether a person sits at a terminal to answer."""
    return sys.stdin.isatty()
