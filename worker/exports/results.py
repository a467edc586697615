"""Answers on their way out: one line or row per job, in the order of the input, in constant memory."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, assert_never

from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import CODES, Code, InputRefused, Problem
from worker.exports.prompts import sent_prompts
from worker.exports.writers import (
    Column,
    Kind,
    output_kind,
    replacing,
    text_of,
    write_csv,
    write_parquet,
)
from worker.maintenance.number import number_all
from worker.replies.vectors import shown_vector
from worker.storage.arrivals import PAGE, read_arrivals
from worker.storage.batches import recipe_of
from worker.storage.engine import Database
from worker.storage.results import (
    LONG,
    Long,
    ResultRow,
    has_logprobs,
    has_tool_calls,
    iter_metadata,
    iter_results,
    vector_sizes,
    with_logprobs,
)

T = TypeVar("T")
Progress = Callable[[int], None]
"""Told now and then how many rows there are so far, and at the end."""
TELL_EVERY = 500

MOST_INPUT_COLUMNS = 500
"""JSON lines may name each key once; what is beyond stands in ``metadata`` alone."""


More = Literal["reasoning", "prompt", "request", "context", "digest", "logprobs", "tool_calls", "embedding"]
"""What may be asked for beyond the columns that are always there."""


@dataclass(frozen=True, slots=True)
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


def fields_of(more: Collection[More], less: Collection[str]) -> Fields:
    """Checked: what is left out has to be there. Raises InputRefused."""
    known = {name for name, _, _ in OF_RESULT} | {
        *("custom_id", "job", "prompt", "metadata", "error", "logprobs", "tool_calls", "embedding")
    }
    for name in less:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputRefused(
                [Problem(0, "without", "unknown_column", f"--without {name}: no such column{hint}")]
            )
    names = {"job", "job_id"}  # of lines, and of tables
    left_out = names.union(less) if names.intersection(less) else less
    return Fields(tuple(dict.fromkeys(more)), frozenset(left_out) - frozenset(more))


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
        "error": _error(row),
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
        line["embedding"] = shown_vector(row.embedding)
    return line


def _error(row: ResultRow) -> dict[str, str] | None:
    if row.error_code is not None:
        return {"code": row.error_code, "message": row.error_message or ""}
    match row.state:
        case JobState.CANCELLED:
            return {"code": Code.CANCELLED, "message": CODES[Code.CANCELLED].meaning}
        case JobState.EXPIRED:
            return {"code": Code.EXPIRED, "message": CODES[Code.EXPIRED].meaning}
        case _:
            return None


def _iso(at: Any) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def line_with(row: ResultRow, fields: Fields) -> dict[str, Any]:
    """A result line with what is asked for beyond it, and without what is not wanted."""
    line = result_line(row)
    for name in fields.more:
        if name not in line and name != "embedding":
            line[name] = _MORE[name][1](row)
    for gone in fields.less:
        line.pop(gone, None)
    return line


def result_lines(
    database: Database,
    batch_id: int | None,
    *,
    states: Collection[JobState] | None = None,
    chosen: Selection | None = None,
    fields: Fields = Fields(),
) -> Iterator[dict[str, Any]]:
    """Every job of the batch (or those in ``states``, or ``chosen``) as a result line, in input order, open ones too.
    Without a batch: of all, batch by batch."""
    rows = iter_results(
        database, batch_id, states=states, chosen=chosen, long=fields.long, logprobs=fields.logprobs
    )
    for row in sent_prompts(database, rows) if "prompt" in fields.long else rows:
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
    fields: Fields = Fields(),
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
    delimiter: str = ",",
    bom: bool = False,
    safe: bool = True,
    chosen: Selection | None = None,
    fields: Fields = Fields(),
) -> int:
    """Write CSV to ``out``, which must leave line ends as they are; returns how many rows. See ``table_columns``."""
    table = table_columns(database, batch_id, columns=columns, fields=fields)
    names = [one.column.name for one in table]
    rows = _rows(database, batch_id, table, states, chosen, fields)
    return write_csv(out, names, rows, delimiter=delimiter, bom=bom, safe=safe)


def write_results_file(
    database: Database,
    batch_id: int | None,
    path: Path,
    *,
    states: Collection[JobState] | None = None,
    columns: Sequence[str] | None = None,
    bom: bool = False,
    safe: bool = True,
    chosen: Selection | None = None,
    fields: Fields = Fields(),
    progress: Progress | None = None,
) -> int:
    """Write what the ending of ``path`` says; the file is replaced only when all is there. Returns how many jobs.

    ``columns`` is the order of the input's, where it is known; ``bom`` and ``safe`` are for CSV (``write_csv``).
    What is no ordinary file (a pipe, ``/dev/stdout``) is written to as it is. Raises InputRefused, OSError.
    """

    def lines() -> Iterator[dict[str, Any]]:
        return counted(
            result_lines(database, batch_id, states=states, chosen=chosen, fields=fields), progress
        )

    def table(*, metadata: bool) -> tuple[list[Column], Iterator[list[Any]]]:
        found, rows = result_table(
            database,
            batch_id,
            states=states,
            columns=columns,
            metadata=metadata,
            chosen=chosen,
            fields=fields,
        )
        return found, counted(rows, progress)

    return write_as(path, lines, table, bom=bom, safe=safe)


def write_as(
    path: Path,
    lines: Callable[[], Iterable[dict[str, Any]]],
    table: Callable[..., tuple[Sequence[Column], Iterable[Sequence[Any]]]],
    *,
    bom: bool,
    safe: bool,
) -> int:
    """Write ``lines()``, or the columns and rows of ``table(metadata=…)``, as the ending of ``path`` says."""
    kind = output_kind(path)
    with replacing(path) as out:
        match kind.form:
            case "jsonl":
                with text_of(out, compressed=kind.compressed) as text:
                    return write_lines(text, lines())
            case "csv" | "tsv":
                with text_of(out, compressed=kind.compressed) as text:
                    columns, rows = table(metadata=False)
                    names = [column.name for column in columns]
                    delimiter = "\t" if kind.form == "tsv" else ","
                    return write_csv(text, names, rows, delimiter=delimiter, bom=bom, safe=safe)
            case "parquet":
                columns, rows = table(metadata=True)
                return write_parquet(out, columns, rows)
            case _:
                assert_never(kind.form)


# -- as a table -------------------------------------------------------------------------------------------------------


def result_table(
    database: Database,
    batch_id: int | None,
    *,
    states: Collection[JobState] | None = None,
    columns: Sequence[str] | None = None,
    metadata: bool = False,
    chosen: Selection | None = None,
    fields: Fields = Fields(),
) -> tuple[list[Column], Iterator[list[Any]]]:
    """Results as the columns and the rows of a table. See ``table_columns``."""
    found = table_columns(database, batch_id, columns=columns, metadata=metadata, fields=fields)
    return [one.column for one in found], _rows(database, batch_id, found, states, chosen, fields)


@dataclass(frozen=True, slots=True)
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
    reserved: Collection[str] = (),
) -> list[ResultColumn]:
    """``custom_id``, then the input's own columns, then what came of it.

    The input's are the column that was the id, the prompt (unless a template made it) and the keys of all metadata:
    those that ``columns`` names in its order, the others as they come first. One that has the name of a column of
    Caravan's, or a ``reserved`` one, is called ``input_<name>``. ``metadata`` adds all of it as JSON in a last column;
    it is there in any case where an input has more than ``MOST_INPUT_COLUMNS`` keys. What ``fields`` asks for beyond
    comes before that.
    """
    recipe: Mapping[str, Any] = {}
    sizes: Sequence[int] = ()
    if batch_id is not None:
        with database.read() as conn:
            recipe = recipe_of(conn, batch_id) or {}
            if fields.logprobs and "logprobs" not in fields.more and has_logprobs(conn, batch_id):
                fields = replace(fields, more=(*fields.more, "logprobs"))
            calls = "tool_calls" not in fields.less and "tool_calls" not in fields.more
            if calls and has_tool_calls(conn, batch_id):
                fields = replace(fields, more=(*fields.more, "tool_calls"))
            sizes = vector_sizes(conn, batch_id)
            if sizes and not {"embedding"} & {*fields.less, *fields.more}:
                fields = replace(fields, more=(*fields.more, "embedding"))
    seen, whole = _kinds_of_metadata(database, batch_id)
    given: dict[str, ResultColumn] = {}
    id_column = recipe.get("id_column")
    if isinstance(id_column, str) and id_column != "custom_id":
        given[id_column] = column(id_column, "text", attrgetter("custom_id"))
    if "prompt" not in recipe and "documents" not in recipe and "prompt" not in seen:
        given["prompt"] = column("prompt", "text", PROMPT)
    for key, kind in seen.items():
        given[key] = column(key, _kind(kind), partial(_of_metadata, key))
    place = {name: at for at, name in enumerate(columns or recipe.get("columns") or ())}
    inputs = sorted(given.values(), key=lambda one: place.get(one.column.name, len(place)))
    made = [column(name, kind, value) for name, kind, value in OF_RESULT]
    last = [column("metadata", "text", _metadata_json)] if metadata or not whole else []
    if "prompt" in fields.less:
        inputs = [one for one in inputs if one.value is not PROMPT]
    has_prompt = any(one.value is PROMPT for one in inputs)
    size = sizes[0] if len(sizes) == 1 else None
    beyond = [
        column(name, *_MORE[name], size=size if name == "embedding" else None)
        for name in fields.more
        if name != "reasoning" and not (name == "prompt" and has_prompt)
    ]
    ours = {"custom_id", "metadata", *reserved, *(one.column.name for one in (*made, *beyond))}
    less = {*fields.less, *(("error_code", "error_message") if "error" in fields.less else ())}
    kept = [one for one in (*made, *beyond, *last) if one.column.name not in less]
    return [column("custom_id", "text", attrgetter("custom_id")), *_renamed(inputs, ours), *kept]


def common_columns(fields: Fields) -> list[ResultColumn]:
    """The columns that results of all batches have, ``metadata`` as JSON among them."""
    made = [column(name, kind, value) for name, kind, value in OF_RESULT]
    every = [column("custom_id", "text", attrgetter("custom_id")), *made]
    every.append(column("metadata", "text", _metadata_json))
    less = {*fields.less, *(("error_code", "error_message") if "error" in fields.less else ())}
    return [one for one in every if one.column.name not in less]


def column(
    name: str, kind: Kind, value: Callable[[ResultRow], Any], *, size: int | None = None
) -> ResultColumn:
    return ResultColumn(Column(name, kind, size), value)


def _renamed(inputs: Sequence[ResultColumn], ours: Collection[str]) -> Iterator[ResultColumn]:
    taken = {*ours, *(one.column.name for one in inputs if one.column.name not in ours)}
    for one in inputs:
        name = one.column.name
        if name in ours or not name:
            while name in taken or not name:
                name = f"input_{name}"
            taken.add(name)
        yield column(name, one.column.kind, one.value)


def _of_metadata(key: str, row: ResultRow) -> Any:
    return None if row.metadata is None else row.metadata.get(key)


def _metadata_json(row: ResultRow) -> str | None:
    return None if row.metadata is None else json.dumps(row.metadata, ensure_ascii=False)


def _error_code(row: ResultRow) -> str | None:
    return (_error(row) or {}).get("code")


def _error_message(row: ResultRow) -> str | None:
    return (_error(row) or {}).get("message")


PROMPT = attrgetter("prompt")
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


_MORE: Mapping[More, tuple[Kind, Callable[[ResultRow], Any]]] = {
    "reasoning": ("text", attrgetter("reasoning")),
    "prompt": ("text", PROMPT),
    "request": ("text", attrgetter("request")),
    "context": ("text", lambda row: None if row.context is None else list(row.context)),
    "digest": ("text", attrgetter("digest")),
    "logprobs": ("text", lambda row: None if row.logprobs is None else list(row.logprobs)),
    "tool_calls": ("text", lambda row: None if row.tool_calls is None else list(row.tool_calls)),
    "embedding": ("vector", attrgetter("embedding")),
}
"""Of a table ``request``, ``context``, ``logprobs`` and ``tool_calls`` are JSON."""


# What values a key of the metadata has, null aside. Big: beyond what a double holds exactly. Text: also what is nested,
# and whole numbers that no column of integers takes.
_TRUTH, _INTEGER, _BIG, _NUMBER, _TEXT = 1, 2, 4, 8, 16


def _kinds_of_metadata(database: Database, batch_id: int | None) -> tuple[dict[str, int], bool]:
    """The keys of a batch's metadata with what they hold, and whether these are all keys."""
    seen: dict[str, int] = {}
    whole = True
    for own in iter_metadata(database, batch_id):
        for key, value in own.items():
            if key in seen:
                seen[key] |= _found(value)
            elif len(seen) < MOST_INPUT_COLUMNS:
                seen[key] = _found(value)
            else:
                whole = False
    return seen, whole


def _found(value: Any) -> int:
    match value:
        case None:
            return 0
        case bool():
            return _TRUTH
        case int():
            if abs(value) <= 2**53:
                return _INTEGER
            return _BIG if -(2**63) <= value < 2**63 else _TEXT
        case float():
            return _NUMBER
        case _:
            return _TEXT


def _kind(found: int) -> Kind:
    if found == _TRUTH:
        return "truth"
    if found in (_INTEGER, _BIG, _INTEGER | _BIG):
        return "integer"
    if found in (_NUMBER, _NUMBER | _INTEGER):
        return "number"
    return "text"


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
    logprobs = any(one.column.name == "logprobs" for one in table)
    rows = iter_results(
        database,
        batch_id,
        states=states,
        prompts=prompts,
        chosen=chosen,
        long=fields.long,
        logprobs=logprobs,
    )
    for row in sent_prompts(database, rows) if prompts or "prompt" in fields.long else rows:
        yield [value(row) for value in values]
