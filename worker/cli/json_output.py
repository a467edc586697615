"""``--json``: the option, and how a shape or a list of them is printed."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from worker.cli.streams import machine_output, say

if TYPE_CHECKING:
    from api_schemas.output.base import Output

Row = TypeVar("Row")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Newest = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many; default: 20, and all with --json.")
]
NEWEST = 20
"""Rows of a table of the newest where no limit is given."""
ALL = 2**31 - 1


def print_json(value: "Output | Iterable[Output]") -> None:
    """A shape on a line, or shapes as an array, written as they come; times in UTC with a Z.

    Raises BrokenPipeError where nobody reads the array any more; TypeError for what is no shape.
    """
    from api_schemas.output.base import Output

    if isinstance(value, Output):
        sys.stdout.write(_text(value) + "\n")
        return
    with machine_output() as out:
        out.write("[")
        for count, item in enumerate(value):
            out.write((", " if count else "") + _text(item))
        out.write("]\n")


def _text(value: "Output") -> str:
    from api_schemas.output.base import Output, plain

    if not isinstance(value, Output):
        raise TypeError(f"--json prints shapes of api_schemas/output, no {type(value).__name__}")
    return json.dumps(plain(value), ensure_ascii=False)


def limited(rows: Iterable[Row], limit: int, things: str) -> Iterator[Row]:
    """The first ``limit`` rows; ``say_more`` where there are others."""
    for count, row in enumerate(rows):
        if count == limit:
            say_more(count + 1, limit, things)
            return
        yield row


def say_more(rows: int, limit: int, things: str) -> None:
    """On standard error: that only the first ``limit`` of at least so many rows are listed, and how to get the others."""
    if rows > limit:
        more = f"--limit {10 * limit} lists more, --json without --limit all"
        say(f"only the first {limit:,} {things} are listed; {more}")
