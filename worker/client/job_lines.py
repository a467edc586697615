"""What a producer gives in Python, as lines: jobs as they stand, or the rows that a template makes jobs of."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, cast

from api_schemas.job_line import FIELDS
from api_schemas.python_values import job_fields, json_text, plain_value
from api_schemas.shapes import shape_of
from worker.documents.job_lines import job_values
from worker.door.problems import MOST_PROBLEMS
from worker.errors import InputRefused, Problem
from worker.kinds.registry import shapes
from worker.records import record

Jobs = Iterable[Any]
"""Dictionaries with the fields of a job line, pydantic models of them, bare prompts, or a DataFrame. Where a template
says what is asked they are its rows, with whatever fields."""


MOST_COLUMNS = 1000
"""Names of columns that are kept of rows which each have others."""


@record
class Written:
    """Jobs that were written as lines."""

    count: int
    problems: dict[int, Problem]
    """What is wrong with those that cannot be lines, by their place: their lines hold nothing."""
    columns: tuple[str, ...]
    """All names that any of the first rows has; of jobs that are no rows none."""


def write_lines(jobs: Jobs, out: IO[bytes], *, rows: bool) -> Written:
    """Write each job as a line; ``rows``: each row as it stands, for a template. After 20 that cannot be lines no more is
    read.

    Raises InputRefused for what holds no jobs at all.
    """
    number = 0
    problems: dict[int, Problem] = {}
    columns: dict[str, None] = {}
    for number, job in enumerate(_one_by_one(jobs, rows=rows), start=1):
        try:
            fields = job_fields(job, with_null=rows)
            line = _line(fields)
        except (TypeError, ValueError, RecursionError) as error:
            line = b"{}"
            problems[number] = Problem(number, "", "invalid_value", str(error))
        else:
            if rows and not columns.keys() >= fields.keys() and len(columns) < MOST_COLUMNS:
                columns |= dict.fromkeys(map(str, fields))
        out.write(line + b"\n")
        if len(problems) == MOST_PROBLEMS:
            break
    return Written(number, problems, tuple(columns))


def _one_by_one(jobs: Jobs, *, rows: bool) -> Iterator[Any]:
    """What a producer gives, one job after another; a DataFrame row by row."""
    if isinstance(jobs, str | bytes | Mapping) or hasattr(jobs, "model_dump"):
        message = f"expected a list of jobs, or anything else to iterate over; got one {type(jobs).__name__}"
        raise InputRefused([Problem(0, "", "invalid_value", message)])
    if not hasattr(jobs, "itertuples"):
        yield from jobs
        return
    names = [str(column) for column in cast("Any", jobs).columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        message = f"several columns are named {sorted(twice)[0]!r}"
        raise InputRefused([Problem(0, "", "invalid_value", message)])
    for row in jobs.itertuples(index=False, name=None):
        values = {name: _cell(value) for name, value in zip(names, row, strict=True)}
        if rows:
            yield values
            continue
        values = {name: value for name, value in values.items() if value is not None}
        shape = shape_of(values, shapes())
        reserved = FIELDS if shape is None else shape.fields
        yield job_values(values, prompt=None, system=None, id_column=None, reserved=reserved)


def _cell(value: Any) -> Any:
    """A cell of a DataFrame as JSON takes it; NaN, NaT and NA are None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(fields: dict[str, Any]) -> bytes:
    """A job, or a row, as a line. Raises TypeError, ValueError, RecursionError that say what cannot be one."""
    line = json_text(fields)
    try:
        return line.encode()
    except UnicodeEncodeError:  # a lone surrogate: escaped it can be read, and is replaced
        return json.dumps(fields, default=plain_value).encode()
