"""The columns of a table of results: those of the input, and the result of each job."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from operator import attrgetter
from typing import Any, Literal

from worker.domain.jobs import JobState
from worker.errors import CODES, Code, InputRefused, Problem
from worker.exports.input_kinds import NUMERALS, column_kind, ids_are_numerals, is_csv, kinds_of_metadata
from worker.exports.writers import Column, Kind, Say
from worker.records import record
from worker.storage.batches import get_batch, recipe_of
from worker.storage.engine import Database
from worker.storage.results import (
    LONG,
    Long,
    ResultRow,
    has_logprobs,
    has_tool_calls,
    vector_sizes,
)

More = Literal[
    "reasoning", "prompt", "request", "context", "digest", "logprobs", "tool_calls", "embedding", "timing"
]
"""What may be asked for beyond the columns that are always there. ``timing`` stands for all ``TIMING``."""
TIMING = frozenset(
    {
        "tokens_per_second",
        "total_seconds",
        "load_seconds",
        "prompt_eval_seconds",
        "eval_seconds",
        "queued_seconds",
        "attempts",
        "submitted_at",
        "started_at",
        "finished_at",
    }
)
"""Columns that say how long it took: in Parquet always, in tables that people read where they are asked for."""


@record
class Fields:
    """Which fields of a result line, or columns of a table."""

    more: tuple[More, ...] = ()
    less: frozenset[str] = frozenset()

    @property
    def long(self) -> list[Long]:
        return [name for name in LONG if name in self.more]

    @property
    def logprobs(self) -> bool:
        """Whether log probabilities are read. They are there unless they are left out: somebody requested them."""
        return "logprobs" not in self.less


USUAL_FIELDS = Fields()


def fields_of(more: Collection[More], less: Collection[str]) -> Fields:
    """Checked: what is left out has to be there. Raises InputRefused."""
    known = {name for name, _, _ in OF_RESULT} | {
        *("custom_id", "job", "prompt", "metadata", "error", "logprobs", "tool_calls", "embedding", "timing")
    }
    for name in less:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputRefused(
                [Problem(0, "without", "unknown_column", f"--without {name}: no such column{hint}")]
            )
    left_out = frozenset(less) - frozenset(more)
    if left_out & {"job", "job_id"}:  # of lines, and of tables
        left_out |= {"job", "job_id"}
    if "timing" in left_out:
        left_out |= TIMING
    return Fields(tuple(dict.fromkeys(more)), left_out)


def error_of(row: ResultRow) -> dict[str, str] | None:
    """Code and message of what went wrong with a job; None where nothing did."""
    if row.error_code is not None:
        return {"code": row.error_code, "message": row.error_message or ""}
    match row.state:
        case JobState.CANCELLED:
            return {"code": Code.CANCELLED, "message": CODES[Code.CANCELLED].meaning}
        case JobState.EXPIRED:
            return {"code": Code.EXPIRED, "message": CODES[Code.EXPIRED].meaning}
        case _:
            return None


@record
class ResultColumn:
    """A column of a table of results, and where its values come from: texts, numbers, times; of an input, any JSON."""

    column: Column
    value: Callable[[ResultRow], Any]


def table_columns(
    database: Database,
    batch_id: int | None,
    *,
    columns: Sequence[str] | None = None,
    metadata: bool = False,
    fields: Fields = Fields(),
    lean: bool = False,
    reserved: Collection[str] | None = None,
    say: Say | None = None,
) -> list[ResultColumn]:
    """``custom_id``, then the input's own columns, then its result.

    The input's are the column that was the id, the prompt (unless a template made it) and the keys of all metadata:
    those that ``columns`` names in its order, the others as they come first. They keep their names: a column of Caravan's
    that has the name of one of them is called ``caravan_<name>``, and ``say`` gets a sentence about it. With
    ``reserved``, names of further columns, Caravan's keep theirs and the input's are called ``input_<name>``: for a table
    that takes several batches.

    ``lean``: a table that people read. It has the id once, under the name that it has in the input, and no ``TIMING``.
    ``metadata`` adds all of it as JSON in a last column; it is there in any case where an input has more than
    ``MOST_INPUT_COLUMNS`` keys. What ``fields`` asks for beyond comes before that.
    """
    recipe: Mapping[str, Any] = {}
    plain = untyped_ids = False
    if batch_id is not None:
        with database.read() as conn:
            recipe = recipe_of(conn, batch_id) or {}
            source = get_batch(conn, batch_id).source
        plain = is_csv(source, recipe)
        untyped_ids = (
            lean and "columns" in recipe and (plain or recipe.get("id_column", "custom_id") == "custom_id")
        )
    fields, size = _with_what_is_there(database, batch_id, fields)
    kinds, whole = kinds_of_metadata(database, batch_id, recipe.get("id_column"))
    numeral_ids = batch_id is not None and untyped_ids and ids_are_numerals(database, batch_id)
    inputs = _input_columns(recipe, kinds, columns, fields, plain=plain, numeral_ids=numeral_ids)
    id_again = lean and recipe.get("id_column") in [shown.column.name for shown in inputs]
    ours = [] if id_again or "custom_id" in fields.less else [_as_numerals(ID) if numeral_ids else ID]
    ours += _columns_of_caravan(inputs, fields, size=size, lean=lean)
    if (metadata or not whole) and "metadata" not in fields.less:
        ours.append(METADATA)
    names = {field.column.name for field in ours}
    if reserved is not None:
        inputs = [*_renamed(inputs, {*names, *reserved}, "input_")]
    else:
        own = {shown.column.name for shown in inputs}
        inputs = [*_renamed(inputs, (), "input_")]  # a name that is empty
        ours = [*_renamed(ours, own, "caravan_")]
        _say_renamed(sorted(names & own), say)
    first = 0 if id_again or not ours or ours[0].value is not ID.value else 1
    return [*ours[:first], *inputs, *ours[first:]]


def _with_what_is_there(
    database: Database, batch_id: int | None, fields: Fields
) -> tuple[Fields, int | None]:
    """The fields, and those that a batch has because somebody requested them: log probabilities, calls of tools, vectors;
    and how many numbers each vector has, where all have as many."""
    if batch_id is None:
        return fields, None
    with database.read() as conn:
        sizes = vector_sizes(conn, batch_id)
        there: list[tuple[More, Callable[[], bool]]] = [
            ("logprobs", lambda: has_logprobs(conn, batch_id)),
            ("tool_calls", lambda: has_tool_calls(conn, batch_id)),
            ("embedding", lambda: bool(sizes)),
        ]
        for name, is_there in there:
            if name not in {*fields.less, *fields.more} and is_there():
                fields = replace(fields, more=(*fields.more, name))
    return fields, sizes[0] if len(sizes) == 1 else None


def _input_columns(
    recipe: Mapping[str, Any],
    kinds: Mapping[str, int],
    columns: Sequence[str] | None,
    fields: Fields,
    *,
    plain: bool = False,
    numeral_ids: bool = False,
) -> list[ResultColumn]:
    """``plain``: the input has no types, so that a column of texts may be one of numbers; ``numeral_ids``: all ids are."""
    by_name: dict[str, ResultColumn] = {}
    id_column = recipe.get("id_column")
    if isinstance(id_column, str) and id_column != "custom_id":
        by_name[id_column] = column(id_column, "text", ID.value)
        if numeral_ids:
            by_name[id_column] = _as_numerals(by_name[id_column])
    if "prompt" not in recipe and "documents" not in recipe and "prompt" not in kinds:
        by_name["prompt"] = column("prompt", "text", PROMPT)
    for key, kind in kinds.items():
        value = partial(_id_of if key == id_column else _of_metadata, key)
        by_name[key] = column(key, column_kind(kind), value)
        if plain and kind in NUMERALS:
            by_name[key] = _as_numerals(by_name[key])
    place = {name: at for at, name in enumerate(columns or recipe.get("columns") or ())}
    inputs = sorted(by_name.values(), key=lambda field: place.get(field.column.name, len(place)))
    if "prompt" in fields.less:
        inputs = [field for field in inputs if field.value is not PROMPT]
    return [replace(field, column=replace(field.column, own=True)) for field in inputs]


def _columns_of_caravan(
    inputs: Sequence[ResultColumn], fields: Fields, *, size: int | None, lean: bool
) -> list[ResultColumn]:
    made = [column(name, kind, value) for name, kind, value in OF_RESULT]
    if lean and "timing" not in fields.more:
        made = [field for field in made if field.column.name not in TIMING]
    has_prompt = any(field.value is PROMPT for field in inputs)
    beyond = [
        column(name, *MORE[name], size=size if name == "embedding" else None)
        for name in fields.more
        if name in MORE and name != "reasoning" and not (name == "prompt" and has_prompt)
    ]
    less = {*fields.less, *(("error_code", "error_message") if "error" in fields.less else ())}
    return [field for field in (*made, *beyond) if field.column.name not in less]


def _say_renamed(names: Sequence[str], say: Say | None) -> None:
    if names and say is not None:
        renamed = ", ".join(f"caravan_{name}" for name in names)
        say(f"The input has columns named {', '.join(names)}; those of Caravan are called {renamed}.")


def common_columns(fields: Fields) -> list[ResultColumn]:
    """The columns that results of all batches have, ``metadata`` as JSON among them."""
    made = [column(name, kind, value) for name, kind, value in OF_RESULT]
    every = [ID, *made]
    every.append(METADATA)
    less = {*fields.less, *(("error_code", "error_message") if "error" in fields.less else ())}
    return [field for field in every if field.column.name not in less]


def column(
    name: str, kind: Kind, value: Callable[[ResultRow], Any], *, size: int | None = None
) -> ResultColumn:
    return ResultColumn(Column(name, kind, size), value)


def _renamed(
    columns: Sequence[ResultColumn], reserved: Collection[str], prefix: str
) -> Iterator[ResultColumn]:
    """The columns, those with a name that is ``reserved``, or with none, under another one."""
    names = {*reserved, *(field.column.name for field in columns if field.column.name not in reserved)}
    for field in columns:
        name = field.column.name
        if name in reserved or not name:
            while name in names or not name:
                name = f"{prefix}{name}"
            names.add(name)
        yield replace(field, column=replace(field.column, name=name))


def _of_metadata(key: str, row: ResultRow) -> Any:
    return None if row.metadata is None else row.metadata.get(key)


def _id_of(key: str, row: ResultRow) -> Any:
    """An id, which metadata has only where it is no text."""
    return row.custom_id if row.metadata is None else row.metadata.get(key, row.custom_id)


def _metadata_json(row: ResultRow) -> str | None:
    return None if row.metadata is None else json.dumps(row.metadata, ensure_ascii=False)


def _error_code(row: ResultRow) -> str | None:
    return (error_of(row) or {}).get("code")


def _error_message(row: ResultRow) -> str | None:
    return (error_of(row) or {}).get("message")


PROMPT = attrgetter("prompt")
ID = column("custom_id", "text", attrgetter("custom_id"))
METADATA = column("metadata", "text", _metadata_json)
OF_RESULT: Sequence[tuple[str, Kind, Callable[[ResultRow], Any]]] = (
    ("state", "text", lambda row: str(row.state)),
    ("model", "text", attrgetter("model")),
    ("answer", "text", lambda row: row.answer if row.embedding is None else None),
    ("reasoning", "text", attrgetter("reasoning")),
    ("done_reason", "text", attrgetter("done_reason")),
    ("cut", "truth", attrgetter("cut")),
    ("empty", "truth", attrgetter("empty")),
    ("prompt_fit", "text", attrgetter("prompt_fit")),
    ("error_code", "text", _error_code),
    ("error_message", "text", _error_message),
    ("host", "text", attrgetter("host")),
    ("prompt_tokens", "integer", attrgetter("prompt_tokens")),
    ("output_tokens", "integer", attrgetter("output_tokens")),
    ("tokens_per_second", "number", attrgetter("tokens_per_second")),
    ("total_seconds", "number", attrgetter("total_seconds")),
    ("load_seconds", "number", attrgetter("load_seconds")),
    ("prompt_eval_seconds", "number", attrgetter("prompt_eval_seconds")),
    ("eval_seconds", "number", attrgetter("eval_seconds")),
    ("queued_seconds", "number", attrgetter("queued_seconds")),
    ("attempts", "integer", attrgetter("attempts")),
    ("submitted_at", "time", attrgetter("submitted_at")),
    ("started_at", "time", attrgetter("started_at")),
    ("finished_at", "time", attrgetter("finished_at")),
    ("job_id", "integer", attrgetter("job_id")),
    ("batch", "integer", attrgetter("batch")),
    ("reused_from", "integer", attrgetter("reused_from")),
    (
        "parsed",
        "text",
        lambda row: None if row.parsed is None else json.dumps(row.parsed, ensure_ascii=False),
    ),
)


LOGPROBS: Callable[[ResultRow], Any] = lambda row: None if row.logprobs is None else list(row.logprobs)  # noqa: E731
MORE: Mapping[str, tuple[Kind, Callable[[ResultRow], Any]]] = {
    "reasoning": ("text", attrgetter("reasoning")),
    "prompt": ("text", PROMPT),
    "request": ("text", attrgetter("request")),
    "context": ("text", lambda row: None if row.context is None else list(row.context)),
    "digest": ("text", attrgetter("digest")),
    "logprobs": ("text", LOGPROBS),
    "tool_calls": ("text", lambda row: None if row.tool_calls is None else list(row.tool_calls)),
    "embedding": ("vector", attrgetter("embedding")),
}
"""Of a table ``request``, ``context``, ``logprobs`` and ``tool_calls`` are JSON."""


def _as_numerals(field: ResultColumn) -> ResultColumn:
    return replace(field, column=replace(field.column, numerals=True))
