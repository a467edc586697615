"""What a producer gives in Python, as lines: jobs as they stand, or the rows that a template makes jobs of."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, cast

from api_schemas.jobs import FIELDS
from worker.documents.job_lines import job_values
from worker.door.intake import PROBLEMS_SHOWN
from worker.errors import InputRefused, Problem

Jobs = Iterable[Any]
"""Dictionaries with the fields of a job line, pydantic models of them, bare prompts, or a DataFrame. Where a template
says what is asked they are its rows, with whatever fields."""


def write_lines(jobs: Jobs, out: IO[bytes], *, rows: bool) -> tuple[int, dict[int, Problem]]:
    """Write each job as a line; ``rows``: each row as it stands, for a template. Returns how many, and what is wrong
    with those that cannot be lines, by their place: their lines hold nothing. After 20 of them no more is read.

    Raises InputRefused for what holds no jobs at all.
    """
    number = 0
    problems: dict[int, Problem] = {}
    for number, job in enumerate(_one_by_one(jobs, rows=rows), start=1):
        try:
            line = _line(job, rows=rows)
        except (TypeError, ValueError, RecursionError) as error:
            line = b"{}"
            problems[number] = Problem(number, "", "invalid_value", str(error))
        out.write(line + b"\n")
        if len(problems) == PROBLEMS_SHOWN:
            break
    return number, problems


def _one_by_one(jobs: Jobs, *, rows: bool) -> Iterator[Any]:
    """What a producer gives, one job after another; a DataFrame row by row."""
    if isinstance(jobs, str | bytes | Mapping) or hasattr(jobs, "model_dump"):
        told = f"expected a list of jobs, or anything else to iterate over; got one {type(jobs).__name__}"
        raise InputRefused([Problem(0, "", "invalid_value", told)])
    if not hasattr(jobs, "itertuples"):
        yield from jobs
        return
    names = [str(column) for column in cast("Any", jobs).columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        told = f"several columns are named {sorted(twice)[0]!r}"
        raise InputRefused([Problem(0, "", "invalid_value", told)])
    for row in jobs.itertuples(index=False, name=None):
        values = {name: _cell(value) for name, value in zip(names, row, strict=True)}
        if rows:
            yield values
            continue
        values = {name: value for name, value in values.items() if value is not None}
        yield job_values(values, prompt=None, system=None, id_column=None, reserved=FIELDS)


def _cell(value: Any) -> Any:
    """A cell of a DataFrame as JSON takes it; NaN, NaT and NA are None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(job: Any, *, rows: bool) -> bytes:
    """A job, or a row, as a line. Raises TypeError, ValueError, RecursionError that say what cannot be one."""
    if isinstance(job, str):
        job = {"prompt": job}
    elif hasattr(job, "model_dump"):
        job = job.model_dump(mode="json", exclude_none=not rows)
    if not isinstance(job, Mapping):
        raise TypeError(f"expected a dictionary, a pydantic model or a text, got {type(job).__name__}")
    fields = dict(job)
    if fields.get("format") is not None:
        fields["format"] = schema_of(fields["format"])
    try:
        line = json.dumps(fields, ensure_ascii=False, default=plain_value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"cannot be written as JSON: {error}") from error
    try:
        return line.encode()
    except UnicodeEncodeError:  # a lone surrogate: escaped it can be read, and is replaced
        return json.dumps(fields, default=plain_value).encode()


def plain_value(value: Any) -> Any:
    """What JSON does not know: numpy's values, dates, pydantic models, other mappings and sequences."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def schema_of(format: Any) -> Any:
    """``json`` or a schema as it is; of a pydantic class its JSON Schema."""
    return format.model_json_schema() if hasattr(format, "model_json_schema") else format
