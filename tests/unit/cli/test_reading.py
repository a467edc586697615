"""How many rows were read is shown while they are, and nothing of it is left."""

import io

import pytest
from rich.console import Console

from tests.unit.cli.test_display import a_console
from tests.waiting import wait_until
from worker.cli import reading
from worker.cli.reading import ReadingProgress


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a display in a test."""
    monkeypatch.setattr(reading, "AFTER_SECONDS", 0.0)
    monkeypatch.setattr(reading, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(reading, "QUIET_SECONDS", 0.01)


def test_a_terminal_shows_the_row_that_is_read_and_forgets_it_at_the_end() -> None:
    console, screen = a_console(80)
    row = 1_200

    with ReadingProgress(console, "products.csv", lambda: row) as shown:
        wait_until(
            lambda: "Reading products.csv: 1,200 rows" in "".join(screen.rows), description="it is shown"
        )
        row = 90_000
        wait_until(lambda: "90,000 rows" in "".join(screen.rows), description="it goes on")
        shown.end()
        console.print("extend that batch?")

    assert [text for text in screen.rows if text] == ["extend that batch?"]


def test_elsewhere_it_is_a_line_now_and_then() -> None:

    written = io.StringIO()

    with ReadingProgress(Console(file=written, width=200), "products.csv", lambda: 7):
        wait_until(
            lambda: "Reading products.csv: 7 rows\n" in written.getvalue(), description="a line is printed"
        )


def test_a_quiet_console_shows_nothing() -> None:

    written = io.StringIO()

    with ReadingProgress(Console(file=written, quiet=True), "products.csv", lambda: 7):
        pass

    assert written.getvalue() == ""
