"""Answers on their way out: one line or row per job, in the order of the input, in constant memory."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar, assert_never

from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.exports.columns import (
    LOGPROBS,
    MORE,
    PROMPT,
    USUAL_FIELDS,
    Fields,
    ResultColumn,
    error_of,
    table_columns,
)
from worker.exports.parquet import write_parquet
from worker.exports.prompts import fill_templates
from worker.exports.targets import output_kind, replacing, text_of
from worker.exports.workbook import write_workbook
from worker.exports.writers import AS_USUAL, Column, CsvForm, Say, write_csv
from worker.maintenance.number import number_all
from worker.replies.vectors import vector_values
from worker.storage.arrivals import PAGE, read_arrivals
from worker.storage.engine import Database
from worker.storage.results import ResultRow, iter_results, with_logprobs

T = TypeVar("T")
Progress = Callable[[int], None]
"""Told now and then how many rows there are so far, and at the end."""
TELL_EVERY = 500


def result_line(row: ResultRow) -> dict[str, Any]:
    """A result line as ``docs/schemas/result_line.schema.json`` describes it."""
    line = {
        "custom_id": row.custom_id,
        "job": row.job_id,
        "batch": row.batch,
        "state": row.state,
        "model": row.model,
        "answer": row.answer if row.embedding is None else None,
        "parsed": row.parsed,
        "reasoning": row.reasoning,
        "done_reason": row.done_reason,
        "cut": row.cut,
        "empty": row.empty,
        "prompt_fit": row.prompt_fit,
        "error": error_of(row),
        "host": row.host,
        "prompt_tokens": row.prompt_tokens,
        "output_tokens": row.output_tokens,
        "tokens_per_second": row.tokens_per_second,
        "total_seconds": row.total_seconds,
        "load_seconds": row.load_seconds,
        "prompt_eval_seconds": row.prompt_eval_seconds,
        "eval_seconds": row.eval_seconds,
        "queued_seconds": row.queued_seconds,
        "attempts": row.attempts,
        "reused_from": row.reused_from,
        "submitted_at": _iso(row.submitted_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "metadata": row.metadata,
    }
    if row.tool_calls is not None:
        line["tool_calls"] = row.tool_calls
    if row.logprobs is not None:
        line["logprobs"] = row.logprobs
    if row.embedding is not None:
        line["embedding"] = vector_values(row.embedding)
    return line


def _iso(at: Any) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def line_with(row: ResultRow, fields: Fields) -> dict[str, Any]:
    """A result line with what is asked for beyond it, and without what is not wanted."""
    line = result_line(row)
    for name in fields.more:
        if name not in line and name in MORE and name != "embedding":
            line[name] = MORE[name][1](row)
    for gone in fields.less:
        line.pop(gone, None)
    return line


def result_lines(
    database: Database,
    batch_id: int | None,
    *,
    states: Collection[JobState] | None = None,
    chosen: Selection | None = None,
    fields: Fields = USUAL_FIELDS,
) -> Iterator[dict[str, Any]]:
    """Every job of the batch (or those in ``states``, or ``chosen``) as a result line, in input order, open ones too.
    Without a batch: of all, batch by batch."""
    rows = iter_results(
        database, batch_id, states=states, chosen=chosen, long=fields.long, logprobs=fields.logprobs
    )
    for row in fill_templates(database, rows) if "prompt" in fields.long else rows:
        yield line_with(row, fields)


def follow_results(
    database: Database,
    chosen: Selection,
    *,
    after: int = 0,
    follow: Callable[[], bool] | None = None,
    less: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Results as they came, each a result line with its ``number`` first: a reader that goes on after the last number it
    saw misses none and sees none twice, however commits and the spool landed.

    With ``follow`` it goes on: that is asked whenever nothing is left, waits as long as it likes, and returns whether
    to look again. Numbers are given here too, so that nothing else has to run. Raises DatabaseUnavailable.
    """
    while True:
        ended = follow is None or not follow()
        number_all(database)
        while True:
            with database.read() as conn:
                page = read_arrivals(conn, chosen, after=after, limit=PAGE)
            rows = [row for _, row in page]
            if "logprobs" not in less:
                rows = list(with_logprobs(database, rows))
            for (number, _), row in zip(page, rows, strict=True):
                line = result_line(row)
                for name in less:
                    line.pop(name, None)
                yield {"number": number, **line}
            if page:
                after = page[-1][0]
            if len(page) < PAGE:
                break
        if ended:
            return


def write_results(
    database: Database,
    batch_id: int | None,
    out: TextIO,
    *,
    states: Collection[JobState] | None = None,
    chosen: Selection | None = None,
    fields: Fields = USUAL_FIELDS,
    progress: Progress | None = None,
) -> int:
    """Write JSON lines to ``out``; returns how many."""
    return write_lines(
        out,
        counted(
            result_lines(database, batch_id, states=states, chosen=chosen, fields=fields),
            progress,
        ),
    )


def write_lines(out: TextIO, lines: Iterable[dict[str, Any]]) -> int:
    """Each as a line of JSON; returns how many."""
    count = 0
    for line in lines:
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count


def counted(rows: Iterable[T], progress: Progress | None) -> Iterator[T]:
    """The same, told of now and then."""
    count = 0
    for count, row in enumerate(rows, start=1):
        yield row
        if progress is not None and count % TELL_EVERY == 0:
            progress(count)
    if progress is not None:
        progress(count)


def write_results_csv(
    database: Database,
    batch_id: int | None,
    out: TextIO,
    *,
    states: Collection[JobState] | None = None,
    columns: Sequence[str] | None = None,
    form: CsvForm = AS_USUAL,
    chosen: Selection | None = None,
    fields: Fields = USUAL_FIELDS,
    say: Say | None = None,
) -> int:
    """Write CSV to ``out``, which must leave line ends as they are; returns how many rows. See ``table_columns``."""
    found, rows = result_table(
        database, batch_id, states=states, columns=columns, chosen=chosen, fields=fields, lean=True, say=say
    )
    return write_csv(out, found, rows, form=form, say=say)


def write_results_file(
    database: Database,
    batch_id: int | None,
    path: Path,
    *,
    states: Collection[JobState] | None = None,
    columns: Sequence[str] | None = None,
    form: CsvForm = AS_USUAL,
    chosen: Selection | None = None,
    fields: Fields = USUAL_FIELDS,
    progress: Progress | None = None,
    say: Say | None = None,
) -> int:
    """Write what the ending of ``path`` says; the file is replaced only when all is there. Returns how many jobs.

    ``columns`` is the order of the input's, where it is known; ``form`` is for CSV. ``say`` gets what a reader of the
    file should know. What is no ordinary file (a pipe, ``/dev/stdout``) is written to as it is. Raises InputRefused, OSError.
    """

    def lines() -> Iterator[dict[str, Any]]:
        return counted(
            result_lines(database, batch_id, states=states, chosen=chosen, fields=fields), progress
        )

    def table(*, lean: bool) -> tuple[list[Column], Iterator[list[Any]]]:
        found, rows = result_table(
            database,
            batch_id,
            states=states,
            columns=columns,
            metadata=not lean,
            chosen=chosen,
            fields=fields,
            lean=lean,
            say=say,
        )
        return found, counted(rows, progress)

    return write_as(path, lines, table, form=form, say=say)


def write_as(
    path: Path,
    lines: Callable[[], Iterable[dict[str, Any]]],
    table: Callable[..., tuple[Sequence[Column], Iterable[Sequence[Any]]]],
    *,
    form: CsvForm,
    say: Say | None,
) -> int:
    """Write ``lines()``, or the columns and rows of ``table(lean=…)``, as the ending of ``path`` says."""
    kind = output_kind(path)
    with replacing(path) as out:
        match kind.form:
            case "jsonl":
                with text_of(out, compressed=kind.compressed) as text:
                    return write_lines(text, lines())
            case "csv" | "tsv":
                with text_of(out, compressed=kind.compressed) as text:
                    return write_csv(text, *table(lean=True), form=form.of(kind.form), say=say)
            case "xlsx":
                return write_workbook(out, *table(lean=True), say=say)
            case "parquet":
                return write_parquet(out, *table(lean=False))
            case _:
                assert_never(kind.form)


def result_table(
    database: Database,
    batch_id: int | None,
    *,
    states: Collection[JobState] | None = None,
    columns: Sequence[str] | None = None,
    metadata: bool = False,
    chosen: Selection | None = None,
    fields: Fields = USUAL_FIELDS,
    lean: bool = False,
    say: Say | None = None,
) -> tuple[list[Column], Iterator[list[Any]]]:
    """Results as the columns and the rows of a table. See ``table_columns``."""
    found = table_columns(
        database, batch_id, columns=columns, metadata=metadata, fields=fields, lean=lean, say=say
    )
    return [one.column for one in found], _rows(database, batch_id, found, states, chosen, fields)


def _rows(
    database: Database,
    batch_id: int | None,
    table: Sequence[ResultColumn],
    states: Collection[JobState] | None,
    chosen: Selection | None,
    fields: Fields,
) -> Iterator[list[Any]]:
    values = [one.value for one in table]
    prompts = any(one.value is PROMPT for one in table)
    logprobs = any(one.value is LOGPROBS for one in table)
    rows = iter_results(
        database,
        batch_id,
        states=states,
        prompts=prompts,
        chosen=chosen,
        long=fields.long,
        logprobs=logprobs,
    )
    for row in fill_templates(database, rows) if prompts or "prompt" in fields.long else rows:
        yield [value(row) for value in values]
