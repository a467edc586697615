"""A batch in Python: how far it is, its results, and what can be done about it."""

import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, get_args

from worker.client.progress import OnProgress, display_progress
from worker.clock import Clock
from worker.domain.answers import AnswerCounts, AnswerFilter
from worker.domain.batches import BatchProgress, BatchState
from worker.domain.jobs import JobState
from worker.domain.replies import PromptFit
from worker.domain.selection import Selection
from worker.errors import DatabaseFailure
from worker.exports.parquet import column_value
from worker.exports.results import result_lines, result_table
from worker.exports.writers import Kind
from worker.maintenance.actions import cancel_jobs, retry_jobs
from worker.storage.answers import answer_counts
from worker.storage.counts import batch_progress
from worker.storage.engine import Database
from worker.storage.results import iter_results

if TYPE_CHECKING:
    import numpy
    import pandas

DATABASE_SECONDS = 60.0
"""How long a wait rides out a database that is away."""


class Place(Protocol):
    """Where a batch is kept."""

    database: Database
    clock: Clock

    def wake(self) -> None:
        """Have whoever serves look at the database."""


@dataclass(frozen=True, slots=True)
class BatchHandle:
    """A batch, from outside. Good for as long as the ``Caravan`` that gave it is open."""

    id: int
    key: str
    name: str
    _place: "Place" = field(repr=False, compare=False)

    def progress(self) -> BatchProgress:
        """Its jobs by state, now. Raises DatabaseFailure."""
        with self._place.database.read() as conn:
            return batch_progress(conn, self.id)

    def wait(
        self,
        callback: OnProgress | None = None,
        timeout: float | None = None,
        poll: float = 1.0,
        *,
        progress_bar: bool = False,
    ) -> BatchProgress:
        """Wait until no job can change by itself: all have ended or are held, or the batch is paused and none runs.

        ``callback`` gets the progress every ``poll`` seconds; an exception of it ends the wait. ``progress_bar`` shows how far
        it is on standard error. Raises TimeoutError after ``timeout`` seconds, DatabaseFailure when the database fails for
        longer than ``DATABASE_SECONDS``.
        """
        if progress_bar:
            with display_progress(self.name, callback) as shown:
                return self.wait(shown, timeout, poll)
        began = read_at = time.monotonic()
        while True:
            try:
                progress = self.progress()
                read_at = time.monotonic()
            except DatabaseFailure:
                if time.monotonic() - read_at > DATABASE_SECONDS:
                    raise
            else:
                if callback is not None:
                    callback(progress)
                if _at_rest(progress):
                    return progress
            left = math.inf if timeout is None else began + timeout - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"batch {self.id} is not done after {timeout:g} s")
            time.sleep(min(poll, left))  # noqa: TID251 - the producer waits

    def results(self, states: Collection[JobState | str] | None = None) -> Iterator[dict[str, Any]]:
        """Result lines in the order of the input, in constant memory, open jobs too; with ``states`` those in them.

        Raises ValueError for an unknown state.
        """
        return result_lines(self._place.database, self._chosen(states))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.results()

    def to_dataframe(self, states: Collection[JobState | str] | None = None) -> "pandas.DataFrame":
        """The results as a table in memory, with the columns and the order of ``caravan results -o answers.parquet``: the
        columns of the input are columns here, numbers may be missing (``Int64``), and times are in UTC.

        Raises ExtraMissing, an ImportError, where pandas is not installed.
        """
        from worker.extras import require

        require("pandas", "to_dataframe()")
        import pandas

        columns, rows = result_table(self._place.database, self._chosen(states))
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        series = [
            pandas.Series([_cell(column.kind, value) for value in cells], dtype=_DTYPES[column.kind])
            for column, cells in zip(columns, values, strict=True)
        ]
        return pandas.DataFrame({column.name: cells for column, cells in zip(columns, series, strict=True)})

    def embeddings(self) -> "tuple[list[str], numpy.ndarray[Any, Any]]":
        """The vectors of a batch of texts: each ``custom_id``, and beside it a row of float32 numbers, in the order of the input.
        Those that failed or have not ended are not among them.

        Raises ExtraMissing, an ImportError, where numpy is not installed; ValueError where models gave vectors of several
        lengths.
        """
        from worker.extras import require

        require("numpy", "embeddings()")
        import numpy

        rows = iter_results(self._place.database, self._chosen([JobState.SUCCEEDED]))
        vectors = [(row.custom_id, row.embedding) for row in rows if row.embedding is not None]
        sizes = {len(vector) for _, vector in vectors}
        if len(sizes) > 1:
            raise ValueError(f"batch {self.id} has vectors of {len(sizes)} lengths; read them by results()")
        numbers = numpy.frombuffer(b"".join(vector for _, vector in vectors), dtype="<f4")
        return [custom_id for custom_id, _ in vectors], numbers.reshape(len(vectors), -1 if vectors else 0)

    def cancel(self) -> int:
        """Cancel the jobs that have not ended; returns how many. Those that run stop within seconds.

        Raises Conflict where all jobs have ended.
        """
        done = cancel_jobs(self._place.database, Selection(batch_id=self.id), clock=self._place.clock)
        return done.jobs + done.running

    def answer_counts(self) -> AnswerCounts:
        """How many answers were cut, are empty, or were given to a part of the prompt."""
        with self._place.database.read() as conn:
            return answer_counts(conn, self.id)

    def retry(
        self,
        states: Collection[JobState | str] | None = None,
        *,
        cut: bool = False,
        empty: bool = False,
        prompt_fit: Collection[PromptFit] = (),
        options: Mapping[str, Any] | None = None,
    ) -> int:
        """Ask jobs again, with ``options`` in their requests; returns how many.

        Which: those in ``states`` (failed, cancelled, expired, held, succeeded), and those with answers that were cut,
        are empty, or have one of ``prompt_fit``; every condition that is set has to hold. Default: those that failed.
        An answer stays until a new one is stored.

        Raises ValueError for an unknown state; InputRefused for options no host would take; Conflict for a batch
        that was never complete.
        """
        unknown = set(prompt_fit) - set(get_args(PromptFit))
        if unknown:
            raise ValueError(f"prompt_fit holds {', '.join(get_args(PromptFit))}, not {sorted(unknown)}")
        answers = AnswerFilter(cut, empty, frozenset(prompt_fit))
        if states is None and not answers:
            states = (JobState.FAILED,)
        chosen = replace(self._chosen(states), answers=answers)
        again = retry_jobs(self._place.database, chosen, clock=self._place.clock, options=options).jobs
        self._place.wake()
        return again

    def _chosen(self, states: Collection[JobState | str] | None) -> Selection:
        """The jobs in these states; all for None. Raises ValueError for an unknown one."""
        if states is None:
            return Selection(self.id)
        names = [states] if isinstance(states, str) else states
        return Selection(self.id, states=frozenset(JobState(name) for name in names))


_DTYPES: Mapping[Kind, str] = {
    "text": "object",
    "integer": "Int64",
    "number": "float64",
    "truth": "boolean",
    "time": "datetime64[us, UTC]",
    "vector": "object",
}


def _cell(kind: Kind, value: Any) -> Any:
    """A value in a table of pandas: a vector is an array of numpy."""
    if kind == "vector" and value is not None:
        import numpy

        return numpy.frombuffer(value, dtype="<f4")
    return column_value(kind, value)


def _at_rest(progress: BatchProgress) -> bool:
    """Whether nothing can change by itself. A batch that somebody is sending just now is not."""
    match progress.batch.state:
        case BatchState.RECEIVING:
            return False
        case BatchState.PAUSED:
            return not progress.counts.get(JobState.RUNNING, 0)
        case _:
            return not progress.open
