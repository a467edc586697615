"""The colours of states, where a person looks at a terminal that has any."""

import os
import sys
from collections.abc import Mapping

from worker.cli.streams import drawing

_SIGNS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2"}
STATES: Mapping[str, str] = {
    **dict.fromkeys(("failed", "refused", "unreachable", "quarantined", "bad"), "red"),
    **dict.fromkeys(("paused", "held", "slow", "draining", "expired", "cancelling", "warn"), "yellow"),
    **dict.fromkeys(("finished", "succeeded", "ready", "ok"), "green"),
    **dict.fromkeys(("open", "receiving", "running", "retrying"), "cyan"),
    **dict.fromkeys(("cancelled", "closed"), "dim"),
}
"""The first word of a state → its colour; other words have none."""


def colour_of(state: str) -> str | None:
    """The colour of a state, by its first word.

    >>> colour_of("paused: 20 jobs failed"), colour_of("ready, serving"), colour_of("queued")
    ('yellow', 'green', None)
    """
    words = state.replace(":", " ").replace(",", " ").split()
    return STATES.get(words[0]) if words else None


def has_colours() -> bool:
    """Whether standard output is a terminal whose reader takes colours (https://no-color.org)."""
    environ = os.environ  # noqa: TID251 - what a terminal says of itself
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def show(text: str) -> None:
    """Print a line with colours in it. What hosts, files and people wrote in it has to be ``terminal_safe`` already."""
    print(text, file=drawing(sys.stdout))


def painted(text: str, colour: str | None) -> str:
    """The text in a colour of the terminal; as it is where there is none."""
    return f"\x1b[{_SIGNS[colour]}m{text}\x1b[0m" if colour is not None and has_colours() else text


def paint_state(text: str) -> str:
    """A state in its colour, with the blanks around it."""
    return painted(text, colour_of(text))


def paint_failures(count: str) -> str:
    """A number of failures: red where there are any."""
    return painted(count, None if count.strip() == "0" else "red")
