"""Results in the order of the input, long or wide, as a file or on standard output."""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from worker.domain.selection import Selection
from worker.exports.columns import USUAL_FIELDS, Fields
from worker.exports.results import (
    Progress,
    write_lines,
    write_results,
    write_results_csv,
    write_results_file,
)
from worker.exports.wide import wide_lines, write_wide_csv, write_wide_file
from worker.exports.writers import AS_USUAL, CsvForm, Say
from worker.records import record
from worker.storage.engine import Database


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

    def file(self, path: Path, progress: Progress | None = None) -> int:
        """Write what the ending of ``path`` says; returns how many rows. Raises InputRefused, OSError."""
        if self.wide:
            return write_wide_file(
                self.database,
                self.chosen,
                path,
                fields=self.fields,
                form=self.form,
                progress=progress,
                say=self.say,
            )
        return write_results_file(
            self.database,
            self.chosen.batch_id,
            path,
            columns=self.columns,
            form=self.form,
            chosen=self.chosen,
            fields=self.fields,
            progress=progress,
            say=self.say,
        )

    def csv(self, out: TextIO) -> None:
        """Write CSV to ``out``, which must leave line ends as they are."""
        if self.wide:
            write_wide_csv(self.database, self.chosen, out, fields=self.fields, form=self.form, say=self.say)
            return
        write_results_csv(
            self.database,
            self.chosen.batch_id,
            out,
            form=self.form,
            chosen=self.chosen,
            fields=self.fields,
            say=self.say,
        )

    def lines(self, out: TextIO) -> None:
        """Write JSON lines to ``out``."""
        if self.wide:
            write_lines(out, wide_lines(self.database, self.chosen, fields=self.fields))
            return
        write_results(self.database, self.chosen.batch_id, out, chosen=self.chosen, fields=self.fields)
