"""What was odd about the lines of an input, and taken all the same."""

from collections.abc import Iterator

from api_schemas.job_line import IGNORED_FIELDS
from api_schemas.jobs import ParsedLine
from worker.documents.row import QUIRKS
from worker.door.rows import InputLine

MOST_NOTES = 3
_SPANS = "--quote none reads each line as a row"


class Notes:
    """The first notes word by word, and what is said once for all lines."""

    def __init__(self) -> None:
        self.lines = 0
        """Those that have a note of their own."""
        self.first: list[str] = []
        self._places: dict[str, tuple[int, int]] = {}
        """Field, quirk or ``spans`` → how many lines have it, and the first."""
        self._longest = 1
        """Lines of the file that a row spans."""

    def add(self, line: InputLine, parsed: ParsedLine) -> None:
        """Note what is odd about a line."""
        if parsed.notes or line.notes:
            self.lines += 1
            if len(self.first) < MOST_NOTES:
                self.first += [f"line {line.line}: {note}" for note in (*line.notes, *parsed.notes)]
        spans = ("spans",) if line.lines > 1 else ()
        self._longest = max(self._longest, line.lines)
        for name in (*parsed.ignored, *line.quirks, *spans):
            count, first = self._places.get(name, (0, line.line))
            self._places[name] = count + 1, first

    def sentences(self) -> Iterator[str]:
        """What is said once for all lines."""
        for name, (count, first) in self._places.items():
            where = f"line {first:,}" if count == 1 else f"{count:,} lines, the first is line {first:,}"
            if name in IGNORED_FIELDS:
                yield f"{name} has no effect: {IGNORED_FIELDS[name]} ({where})"
            elif name in QUIRKS:
                yield f"{QUIRKS[name]} ({where})"
            elif count == 1:
                yield f"the row on line {first:,} spans {self._longest:,} lines; {_SPANS}"
            else:
                yield (
                    f"{count:,} rows span several lines, the first is on line {first:,}, the longest has "
                    f"{self._longest:,}; {_SPANS}"
                )
