"""Results in the order of the input, long or wide, as a file or on standard output."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar, assert_never

from worker.domain.selection import Selection
from worker.exports.columns import USUAL_FIELDS, Fields
from worker.exports.parquet import write_parquet
from worker.exports.results import result_lines, result_table
from worker.exports.targets import AS_USUAL, CsvForm, output_kind, replacing, text_of
from worker.exports.wide import wide_lines, wide_table
from worker.exports.workbook import write_workbook
from worker.exports.writers import Column, Say, json_line, write_csv
from worker.records import record
from worker.storage.engine import Database

T = TypeVar("T")
Progress = Callable[[int], object]
"""Gets now and then how many rows there are so far, and at the end."""
PROGRESS_EVERY = 500


@record
class ResultWriter:
    """Writes the results that are ``chosen``."""

    database: Database
    chosen: Selection
    fields: Fields = USUAL_FIELDS
    wide: bool = False
    """A row for each input, with the answers of several models side by side; ``chosen`` names a batch."""
    form: CsvForm = AS_USUAL
    columns: Sequence[str] | None = None
    """The order of the input's columns, where it is known."""
    say: Say | None = None
    """Is told what a reader of the file should know."""

    def file(self, path: Path, progress: Progress = lambda _rows: None) -> int:
        """Write what the ending of ``path`` says; the file is replaced only when all is there. Returns how many rows.

        What is no ordinary file (a pipe, ``/dev/stdout``) is written to as it is. Raises InputRefused, OSError.
        """
        kind = output_kind(path)
        with replacing(path) as out:
            match kind.form:
                case "jsonl":
                    with text_of(out, compressed=kind.compressed) as text:
                        return _write_lines(text, _counted(self._lines(), progress))
                case "csv" | "tsv":
                    columns, rows = self._table(lean=True)
                    with text_of(out, compressed=kind.compressed) as text:
                        form = self.form.of(kind.form)
                        return write_csv(text, columns, _counted(rows, progress), form=form, say=self.say)
                case "xlsx":
                    columns, rows = self._table(lean=True)
                    return write_workbook(out, columns, _counted(rows, progress), say=self.say)
                case "parquet":
                    columns, rows = self._table(lean=False)
                    return write_parquet(out, columns, _counted(rows, progress))
                case _:
                    assert_never(kind.form)

    def csv(self, out: TextIO) -> int:
        """Write CSV to ``out``, which must leave line ends as they are; returns how many rows."""
        return write_csv(out, *self._table(lean=True), form=self.form, say=self.say)

    def lines(self, out: TextIO) -> int:
        """Write JSON lines to ``out``; returns how many."""
        return _write_lines(out, self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        lines = wide_lines if self.wide else result_lines
        return lines(self.database, self.chosen, self.fields)

    def _table(self, *, lean: bool) -> tuple[list[Column], Iterator[list[Any]]]:
        if self.wide:
            return wide_table(self.database, self.chosen, self.fields, lean=lean, say=self.say)
        return result_table(
            self.database, self.chosen, self.fields, columns=self.columns, lean=lean, say=self.say
        )


def _write_lines(out: TextIO, lines: Iterable[dict[str, Any]]) -> int:
    count = 0
    for line in lines:
        out.write(json_line(line))
        count += 1
    return count


def _counted(rows: Iterable[T], progress: Progress) -> Iterator[T]:
    count = 0
    for count, row in enumerate(rows, start=1):
        yield row
        if count % PROGRESS_EVERY == 0:
            progress(count)
    progress(count)
