"""One row for each input, with a group of columns for each model that was asked: to compare answers side by side."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from worker.domain.selection import Selection
from worker.exports.results import (
    OF_RESULT,
    PROMPT,
    Fields,
    Progress,
    ResultColumn,
    column,
    counted,
    line_with,
    table_columns,
    write_as,
)
from worker.exports.writers import Column, write_csv
from worker.storage.engine import Database
from worker.storage.linked import Asked, asked_models, family, iter_inputs
from worker.storage.results import ResultRow, with_logprobs

CELLS = (
    "state",
    "answer",
    "reasoning",
    "cut",
    "error_code",
    "output_tokens",
    "tokens_per_second",
    "total_seconds",
)
"""Of each model. ``reasoning`` only where it is asked for."""
_OF_INPUT = ("custom_id", "metadata", "prompt")


@dataclass(frozen=True, slots=True)
class Group:
    """A group of columns: a model as one batch asked it."""

    name: str
    """The model; with ``@`` and the number of the batch where several batches asked it."""
    asked: Asked


def groups_of(asked: Sequence[Asked], models: Collection[str] | None = None) -> list[Group]:
    """A group for each, of ``models`` alone where they are given.

    >>> [group.name for group in groups_of([Asked(1, "a"), Asked(2, "a"), Asked(2, "b")])]
    ['a@1', 'a@2', 'b']
    """
    times = Counter(one.model for one in asked)
    return [
        Group(one.model if times[one.model] == 1 else f"{one.model}@{one.batch_id}", one)
        for one in asked
        if models is None or one.model in models
    ]


def wide_lines(
    database: Database,
    chosen: Selection,
    *,
    fields: Fields = Fields(),  # noqa: B008 - frozen
) -> Iterator[dict[str, Any]]:
    """For each input a line: ``custom_id``, ``metadata``, and under ``models`` a result line for each group that has
    one, without what belongs to the input. ``chosen`` names a batch; those linked to it are looked at too."""
    of, groups = _laid_out(database, chosen)
    names = {group.asked: group.name for group in groups}
    for rows in iter_inputs(database, of, replace(chosen, batch_id=None), long=fields.long):
        if "logprobs" in fields.more:
            rows = list(with_logprobs(database, rows))
        lines = {}
        first: dict[str, Any] = {}
        for row in rows:
            line = line_with(row, _lean(fields))
            own = {name: line.pop(name) for name in _OF_INPUT if name in line}
            first = first or own
            lines[names[Asked(row.batch, row.model)]] = line
        yield {**first, "models": lines}


def write_wide_csv(
    database: Database,
    chosen: Selection,
    out: TextIO,
    *,
    fields: Fields = Fields(),  # noqa: B008 - frozen
    bom: bool = False,
    safe: bool = True,
) -> int:
    """Write CSV to ``out``, which must leave line ends as they are; returns how many rows."""
    columns, rows = _table(database, chosen, fields, metadata=False)
    return write_csv(out, [column.name for column in columns], rows, bom=bom, safe=safe)


def write_wide_file(
    database: Database,
    chosen: Selection,
    path: Path,
    *,
    fields: Fields = Fields(),  # noqa: B008 - frozen
    bom: bool = False,
    safe: bool = True,
    progress: Progress | None = None,
) -> int:
    """Write what the ending of ``path`` says, as ``write_results_file`` does; returns how many rows."""

    def lines() -> Iterator[dict[str, Any]]:
        return counted(wide_lines(database, chosen, fields=fields), progress)

    def table(*, metadata: bool) -> tuple[list[Column], Iterator[list[Any]]]:
        columns, rows = _table(database, chosen, fields, metadata=metadata)
        return columns, counted(rows, progress)

    return write_as(path, lines, table, bom=bom, safe=safe)


def _laid_out(database: Database, chosen: Selection) -> tuple[list[int], list[Group]]:
    assert chosen.batch_id is not None
    with database.read() as conn:
        of = family(conn, chosen.batch_id)
        asked = asked_models(conn, of)
    return of, groups_of(asked, chosen.models)


def _lean(fields: Fields) -> Fields:
    """Reasoning twice a row is seldom what somebody compares."""
    return fields if "reasoning" in fields.more else replace(fields, less=fields.less | {"reasoning"})


def _table(
    database: Database, chosen: Selection, fields: Fields, *, metadata: bool
) -> tuple[list[Column], Iterator[list[Any]]]:
    of, groups = _laid_out(database, chosen)
    made = {name: (kind, value) for name, kind, value in OF_RESULT}
    less = _lean(fields).less
    only_input = Fields(tuple(name for name in fields.more if name == "prompt"), frozenset(made) | less)
    inputs = table_columns(database, of[0], metadata=metadata, fields=only_input)
    last = [one for one in inputs if one.column.name == "metadata"]
    inputs = [one for one in inputs if one.column.name != "metadata"]
    cells = [column(name, *made[name]) for name in CELLS if name not in less]
    beyond = [one for one in table_columns(database, of[0], fields=fields) if one.column.name in _BEYOND]
    cells += [one for one in beyond if one.column.name in fields.more]
    taken = {one.column.name for one in (*inputs, *last)}
    columns = [one.column for one in inputs]
    for group in groups:
        columns += [
            Column(_free(f"{cell.column.name}_{group.name}", taken), cell.column.kind) for cell in cells
        ]
    columns += [one.column for one in last]
    prompts = any(one.value is PROMPT for one in inputs)
    long = [*fields.long, *(("prompt",) if prompts and "prompt" not in fields.long else ())]

    def rows() -> Iterator[list[Any]]:
        for found in iter_inputs(database, of, replace(chosen, batch_id=None), long=long):
            if "logprobs" in fields.more:
                found = list(with_logprobs(database, found))
            by = {Asked(row.batch, row.model): row for row in found}
            yield [
                *_values(inputs, found[0]),
                *(value for group in groups for value in _values(cells, by.get(group.asked))),
                *_values(last, found[0]),
            ]

    return columns, rows()


_BEYOND = frozenset({"request", "context", "digest", "logprobs", "tool_calls", "embedding"})


def _values(columns: Sequence[ResultColumn], row: ResultRow | None) -> list[Any]:
    return [None if row is None else column.value(row) for column in columns]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
