"""One row for each input, with a group of columns for each model that was asked: to compare answers side by side."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.selection import Selection
from worker.exports.columns import (
    METADATA,
    OF_RESULT,
    TIMING,
    USUAL_FIELDS,
    Fields,
    ResultColumn,
    column,
    table_columns,
)
from worker.exports.results import line_with, with_prompts
from worker.exports.writers import Column, Say
from worker.records import record
from worker.storage.engine import Database
from worker.storage.linked import BatchModel, family, iter_inputs, models_of_batches
from worker.storage.results import ResultRow, with_logprobs

CELLS = (
    "answer",
    "state",
    "reasoning",
    "cut",
    "error_code",
    "output_tokens",
    "tokens_per_second",
    "total_seconds",
)
"""Of each model. ``reasoning`` only where it is asked for; in a table that people read, ``TIMING`` too."""
_OF_INPUT = ("custom_id", "metadata", "prompt")


@record
class Group:
    """A group of columns: a model as one batch asked it."""

    name: str
    """The model; with ``@`` and the number of the batch where several batches asked it."""
    source: BatchModel


def groups_of(sources: Sequence[BatchModel], models: Collection[str] | None = None) -> list[Group]:
    """A group for each, of ``models`` alone where they are given.

    >>> [group.name for group in groups_of([BatchModel(1, "a"), BatchModel(2, "a"), BatchModel(2, "b")])]
    ['a@1', 'a@2', 'b']
    """
    times = Counter(source.model for source in sources)
    return [
        Group(source.model if times[source.model] == 1 else f"{source.model}@{source.batch_id}", source)
        for source in sources
        if models is None or source.model in models
    ]


def wide_lines(
    database: Database, chosen: Selection, fields: Fields = USUAL_FIELDS
) -> Iterator[dict[str, Any]]:
    """For each input a line: ``custom_id``, ``metadata``, and under ``models`` a result line for each group that has
    one, without what belongs to the input. ``chosen`` names a batch; those linked to it are looked at too."""
    of, groups = _laid_out(database, chosen)
    names = {group.source: group.name for group in groups}
    for rows in iter_inputs(database, of, replace(chosen, batch_id=None), long=fields.long):
        if "logprobs" in fields.more:
            rows = list(with_logprobs(database, rows))
        lines = {}
        first: dict[str, Any] = {}
        for row in rows:
            line = line_with(row, _lean(fields))
            own = {name: line.pop(name) for name in _OF_INPUT if name in line}
            first = first or own
            lines[names[BatchModel(row.batch, row.model)]] = line
        yield {**first, "models": lines}


def _laid_out(database: Database, chosen: Selection) -> tuple[list[int], list[Group]]:
    assert chosen.batch_id is not None
    with database.read() as conn:
        of = family(conn, chosen.batch_id)
        sources = models_of_batches(conn, of)
    return of, groups_of(sources, chosen.models)


def _lean(fields: Fields) -> Fields:
    """Reasoning twice a row is seldom what somebody compares."""
    return fields if "reasoning" in fields.more else replace(fields, less=fields.less | {"reasoning"})


def wide_table(
    database: Database, chosen: Selection, fields: Fields, *, lean: bool, say: Say | None
) -> tuple[list[Column], Iterator[list[Any]]]:
    """The input's columns, the answers side by side, and then what else is known of each."""
    of, groups = _laid_out(database, chosen)
    made = {name: (kind, value) for name, kind, value in OF_RESULT}
    less = _lean(fields).less | (TIMING if lean and "timing" not in fields.more else frozenset())
    only_input = Fields(tuple(name for name in fields.more if name == "prompt"), frozenset(made) | less)
    inputs = table_columns(database, of[0], metadata=not lean, fields=only_input, lean=lean, say=say)
    last = [field for field in inputs if field.value is METADATA.value]
    inputs = [field for field in inputs if field.value is not METADATA.value]
    cells = [column(name, *made[name]) for name in CELLS if name not in less]
    beyond = [
        field for field in table_columns(database, of[0], fields=fields) if field.column.name in _BEYOND
    ]
    cells += [field for field in beyond if field.column.name in fields.more]
    names = {field.column.name for field in (*inputs, *last)}
    spread = [(group, cell) for group in groups for cell in cells if cell.column.name == "answer"]
    spread += [(group, cell) for group in groups for cell in cells if cell.column.name != "answer"]
    columns = [field.column for field in inputs]
    columns += [
        Column(_free(f"{cell.column.name}_{group.name}", names), cell.column.kind) for group, cell in spread
    ]
    columns += [field.column for field in last]
    long = with_prompts(fields.long, inputs)

    def rows() -> Iterator[list[Any]]:
        for answers in iter_inputs(database, of, replace(chosen, batch_id=None), long=long):
            if "logprobs" in fields.more:
                answers = list(with_logprobs(database, answers))
            by = {BatchModel(row.batch, row.model): row for row in answers}
            yield [
                *_values(inputs, answers[0]),
                *(_value(cell, by.get(group.source)) for group, cell in spread),
                *_values(last, answers[0]),
            ]

    return columns, rows()


_BEYOND = frozenset({"request", "context", "digest", "logprobs", "tool_calls", "embedding"})


def _values(columns: Sequence[ResultColumn], row: ResultRow) -> list[Any]:
    return [column.value(row) for column in columns]


def _value(cell: ResultColumn, row: ResultRow | None) -> Any:
    return None if row is None else cell.value(row)


def _free(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name
