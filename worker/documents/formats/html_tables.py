"""Where the cells of a table of HTML stand: one may span columns and rows."""

import re
from dataclasses import field

from worker.records import mutable_record

MOST_SPAN = 50
"""Columns or rows: a larger span lays out a page, and counts as none."""
MOST_COLUMNS = 200
LONGEST_CELL = 2000
"""Characters of a cell that holds data; a longer one lays out a page, and keeps its lines."""
_HEADING = re.compile(r"\n#{1,6} ")


@mutable_record
class Grid:
    """An open table."""

    column: int = 0
    covered: dict[int, int] = field(default_factory=dict)
    """Column → rows below that a cell above still takes."""
    cells: list[tuple[int, int]] = field(default_factory=list)
    """Of each closed cell of the row that holds data, its first part and the one behind its last."""
    begin: int = 0
    is_layout: bool = False
    """Whether the open cell holds a table itself."""

    def start_row(self) -> None:
        """A row begins."""
        self.column, self.cells = 0, []

    def start_cell(self) -> int:
        """A cell begins; the number of bars before it."""
        before = self.column
        while self.covered.get(self.column, 0) > 0:
            self.covered[self.column] -= 1
            self.column += 1
        self.is_layout = False
        return self.column - before + (before > 0)

    def end_cell(self, columns: int, rows: int, text: str, end: int) -> int:
        """The open cell ends with this text; the number of bars behind it, for columns that it spans."""
        holds_data = not self.is_layout and len(text) <= LONGEST_CELL and not _HEADING.search(text)
        if holds_data:
            self.cells.append((self.begin, end))
        if holds_data and rows > 1 and self.column < MOST_COLUMNS:
            self.covered.update(dict.fromkeys(range(self.column, self.column + columns), rows - 1))
        self.column += columns
        return columns - 1

    def end_row(self) -> None:
        """A row ends: what spans it at its end takes one row less."""
        for column in [column for column in self.covered if column >= self.column]:
            self.covered[column] -= 1


def span_of(written: int) -> int:
    """
    >>> span_of(2), span_of(0), span_of(10_000)
    (2, 1, 1)
    """
    return written if 1 <= written <= MOST_SPAN else 1


def flat(text: str) -> str:
    """The text of a cell on one line.

    >>> flat("one\\n\\n- two\\n- three")
    'one - two - three'
    """
    return " ".join(line for line in map(str.strip, re.split(r"[\n\x01]+", text)) if line)
