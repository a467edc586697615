"""Results into a table of an external database: each once, by its number, however often the command runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.selection import Selection
from worker.errors import InputRefused, Problem
from worker.exports.columns import PROMPT, USUAL_FIELDS, Fields, ResultColumn, common_columns, table_columns
from worker.exports.files import Progress
from worker.exports.parquet import column_value
from worker.exports.writers import Kind
from worker.maintenance.number import number_all
from worker.records import record
from worker.storage.arrivals import arrival_numbers, read_numbered
from worker.storage.engine import Database
from worker.storage.external import NUMBER, ExternalDatabase, takes
from worker.storage.results import ResultRow

PAGE = 500
LOOK = 5000
"""Numbers that are compared with those of the table at a time."""


@record
class Appended:
    """What a command did to a table."""

    rows: int
    """Appended now."""
    there: int
    """Results that the table had already."""
    created: bool


def append_results(
    database: Database,
    chosen: Selection,
    target: ExternalDatabase,
    table: str,
    *,
    fields: Fields = USUAL_FIELDS,
    progress: Progress | None = None,
) -> Appended:
    """Append the results that the table does not have yet, those of ``chosen``; make the table where it is missing.

    Results have numbers in the order in which they were stored. An answer that takes the place of an older one has a
    number of its own. Each page is one transaction: interrupted, the same command goes on.
    Raises InputRefused for a table that lacks a column, or has one of another type; DatabaseFailure.
    """
    columns = _columns(database, chosen, fields)
    there = target.columns(table)
    if there is None:
        size = next((column.column.size for column in columns if column.column.kind == "vector"), None)
        target.create(table, _kinds(columns), size=size)
    else:
        columns = _fitting(columns, there, table)
    kinds = _kinds(columns)
    prompts = any(column.value is PROMPT for column in columns)
    number_all(database)
    rows = known = after = 0
    while True:
        with database.read() as conn:
            numbers = arrival_numbers(conn, chosen, after=after, limit=LOOK)
        if not numbers:
            return Appended(rows, known, created=there is None)
        after = numbers[-1]
        stored = target.numbers(table, numbers[0], numbers[-1])
        known += len(stored.intersection(numbers))
        missing = [number for number in numbers if number not in stored]
        for start in range(0, len(missing), PAGE):
            page = missing[start : start + PAGE]
            with database.read() as conn:
                results = read_numbered(conn, chosen, page, prompts=prompts)
            lines = [[number, *_values(columns, row)] for number, row in results]
            while lines and not target.append(table, kinds, lines):  # another command appends the same
                taken = target.numbers(table, page[0], page[-1])
                lines = [line for line in lines if line[0] not in taken]
            rows += len(lines)
            if progress is not None:
                progress(rows)


def _columns(database: Database, chosen: Selection, fields: Fields) -> list[ResultColumn]:
    """Those of Parquet; of several batches, what their inputs had for columns is in ``metadata`` alone."""
    fields = replace(fields, less=fields.less | {"logprobs"})
    if chosen.batch_id is None:
        return common_columns(fields)
    return table_columns(database, chosen.batch_id, metadata=True, fields=fields, reserved=(NUMBER,))


def _kinds(columns: Sequence[ResultColumn]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {NUMBER: "integer"}
    return kinds | {column.column.name: column.column.kind for column in columns}


def _values(columns: Sequence[ResultColumn], row: ResultRow) -> list[Any]:
    return [column_value(column.column.kind, column.value(row)) for column in columns]


def _fitting(
    columns: Sequence[ResultColumn], there: Mapping[str, Kind | None], table: str
) -> list[ResultColumn]:
    """The columns for a table that is there. An input's own may be missing, where ``metadata`` holds them all."""
    ours = {NUMBER, *(column.column.name for column in common_columns(USUAL_FIELDS))}
    names = [NUMBER, *(column.column.name for column in columns)]
    missing = [name for name in names if name not in there and not (name not in ours and "metadata" in there)]
    wrong = [
        f"{column.column.name} ({there[column.column.name]}, not {column.column.kind})"
        for column in columns
        if column.column.name in there and not takes(there[column.column.name], column.column.kind)
    ]
    if missing or wrong:
        faults = [f"lacks {', '.join(missing)}"] if missing else []
        faults += [f"has columns of another type: {', '.join(wrong)}"] if wrong else []
        message = f"--to-table: table {table} {' and '.join(faults)}; name a table that is not there yet, or mend it"
        raise InputRefused([Problem(0, "--to-table", "wrong_columns", message)])
    return [column for column in columns if column.column.name in there]
