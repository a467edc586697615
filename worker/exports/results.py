"""Answers on their way out: one line or row per job, in the order of the input, in constant memory."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.selection import Selection
from worker.door.combine import filled
from worker.errors import HostError
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
from worker.exports.writers import Column, Say
from worker.maintenance.number import number_all
from worker.replies.vectors import vector_values
from worker.storage.arrivals import PAGE, read_arrivals
from worker.storage.engine import Database
from worker.storage.follows.parents import combining_requests, parts_of
from worker.storage.results import Long, ResultRow, iter_results, with_logprobs


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
    database: Database, chosen: Selection, fields: Fields = USUAL_FIELDS
) -> Iterator[dict[str, Any]]:
    """The jobs that are chosen, each as a result line, in the order of the input, open ones too. Without a batch: of all,
    batch by batch."""
    rows = iter_results(database, chosen, long=fields.long, logprobs=fields.logprobs)
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


def result_table(
    database: Database,
    chosen: Selection,
    fields: Fields = USUAL_FIELDS,
    *,
    columns: Sequence[str] | None = None,
    lean: bool = False,
    say: Say | None = None,
) -> tuple[list[Column], Iterator[list[Any]]]:
    """Results as the columns and the rows of a table. See ``table_columns``."""
    table = table_columns(
        database, chosen.batch_id, columns=columns, metadata=not lean, fields=fields, lean=lean, say=say
    )
    return [column.column for column in table], _rows(database, chosen, fields, table)


def _rows(
    database: Database, chosen: Selection, fields: Fields, table: Sequence[ResultColumn]
) -> Iterator[list[Any]]:
    values = [column.value for column in table]
    long = with_prompts(fields.long, table)
    rows = iter_results(database, chosen, long=long, logprobs=any(value is LOGPROBS for value in values))
    for row in fill_templates(database, rows) if "prompt" in long else rows:
        yield [value(row) for value in values]


def with_prompts(long: Sequence[Long], table: Sequence[ResultColumn]) -> Sequence[Long]:
    """What is read only where it is asked for: also prompts, where the table has a column of them."""
    shown = any(column.value is PROMPT for column in table)
    return (*long, "prompt") if shown and "prompt" not in long else long


CHUNK = 200


def fill_templates(database: Database, rows: Iterable[ResultRow]) -> Iterator[ResultRow]:
    """The same rows; the template of a combination is filled, unless its parts or their answers are not there any more."""
    iterator = iter(rows)
    while chunk := tuple(itertools.islice(iterator, CHUNK)):
        with database.read() as conn:
            requests = combining_requests(conn, [row.job_id for row in chunk])
            parts = parts_of(conn, list(requests))
        for row in chunk:
            if row.job_id in requests and row.prompt is not None:
                try:
                    prompt = filled(row.prompt, requests[row.job_id], parts.get(row.job_id, ()))
                except HostError:
                    prompt = row.prompt
                yield replace(row, prompt=prompt)
            else:
                yield row
