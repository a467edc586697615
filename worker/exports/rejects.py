"""The file of lines of an input that were left out."""

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from worker.errors import InputRefused, Problem
from worker.exports.targets import ENDINGS, is_stream, replacing

if TYPE_CHECKING:
    from worker.door.rows import InputLine  # which reads templates; a command that writes need not


def rejects_path(output: Path | None, source: Path) -> Path:
    """Where the lines go that were skipped: beside the output, or beside the input where no file is written.

    >>> rejects_path(Path("out/answers.csv.gz"), Path("in.csv")).as_posix()
    'out/answers.rejects.jsonl'
    """
    beside = source if output is None or str(output) == "-" or is_stream(output) else output
    if str(beside) == "-":
        beside = Path("stdin")
    name = beside.name
    for ending in (".gz", *ENDINGS):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return beside.with_name(f"{name}.rejects.jsonl")


class RejectsFile:
    """The lines of an input that were skipped, as JSON lines ``{"line", "field", "code", "message", "input"}``.

    There is no file before the first one; it is complete when the block ends, and replaces that of an earlier run.
    After an exception there is none, except when the input is refused: then it says why. An input may be read more
    than once in the block; the file holds one reading of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        """Problems written; a line may have several."""
        self._exits = ExitStack()
        self._out: BinaryIO | None = None
        self._line = 0
        self._of_line: list[Problem] = []

    def __enter__(self) -> Self:
        return self

    def add(self, problem: Problem, line: "InputLine") -> None:
        """Keep a line, as the producer wrote it. Raises OSError."""
        if self._out is None:
            self._out = self._exits.enter_context(replacing(self.path))
        if problem.line < self._line:  # read from its beginning again
            self._out.seek(0)
            self._out.truncate()
            self.count = 0
        if problem.line != self._line:
            self._line, self._of_line = problem.line, []
        if problem in self._of_line:
            return
        self._of_line.append(problem)
        plain = {
            "line": problem.line,
            "field": problem.field,
            "code": problem.code,
            "message": problem.message,
            "input": _input(line),
        }
        self._out.write(json.dumps(plain, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InputRefused):
            self._exits.close()
        else:
            self._exits.__exit__(kind, error, trace)


def _input(line: "InputLine") -> str | dict[str, Any] | None:
    shown = line.raw if line.original is None else line.original
    return shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown
