"""From a producer's line to a job, or to what is wrong with it.

A line that is right takes one pass through pydantic-core (4 to 12 µs). Anything unusual, be it wrong or
merely odd (a NUL, a lone surrogate, a whole number written as 4096.0), is read a second time by slower code
that can name it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from api_schemas.job_line import (
    IGNORED_FIELDS,
    PRIORITIES,
    PriorityName,
    model_problem,
    without_null,
)
from api_schemas.job_problems import (
    LineProblem,
    problems_of,
    unsupported_format,
)
from api_schemas.json_text import NotJson, Repair, load_json, most_names, repeated_name
from api_schemas.line_bounds import MOST_VALUES, crowded, values_of
from api_schemas.line_checks import CHAIN_FIELDS, chain_problems, parents_of, too_large, too_much_metadata
from api_schemas.options import explicit_options, ignored, with_whole_numbers
from api_schemas.shapes import GENERATE, LineShape, shape_of


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What holds for every line that says nothing else. ``options`` fill gaps one by one; ``system`` does not reach a line with
    ``raw``, which excludes it."""

    model: str | None = None
    system: str | None = None
    format: str | Mapping[str, Any] | None = None
    repairs: int | None = None
    """Of a line that has a ``format``."""
    allow_empty: bool | None = None
    options: Mapping[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: int | float | str | None = None
    truncate: bool | None = None
    priority: PriorityName | None = None
    """A line that says nothing either is normal."""
    deadline: datetime | None = None
    expires: bool | None = None
    """Of a line that has a deadline."""
    reuse: bool | Literal["any"] | None = None
    """Take the stored answer to the same request; any: also where asking again would say something else."""


class ParsedLine(NamedTuple):
    """A job ready to be stored: plain values, nothing of pydantic."""

    line: int
    custom_id: str
    prompt: str
    """The readable text of what is asked."""
    metadata: dict[str, Any] | None
    model: str
    """As written, without white space around it."""
    priority: int
    """0 interactive, 1 high, 2 normal, 3 bulk."""
    deadline: datetime | None
    """UTC."""
    request: dict[str, Any]
    """All other fields of the request, defaults filled in; what was null is not in it."""
    notes: tuple[str, ...] = ()
    """What was odd and taken all the same."""
    expires: bool = False
    """It ends unasked at its deadline."""
    reuse: bool | Literal["any"] = False
    after: tuple[str | int, ...] = ()
    """The jobs that it waits for."""
    carry: bool = False
    """It goes on from the context of that one."""
    release: bool = False
    """It is asked although one of them has no answer."""
    ignored: tuple[str, ...] = ()
    """Fields that were taken and have no effect (``IGNORED_FIELDS``)."""
    kind: str = "generate"


NO_DEFAULTS = JobDefaults()
"""Lines say all themselves; this very value is recognised at once."""
MAX_PROMPT_BYTES = 4 * 1024 * 1024
"""Of each of prompt, system, template and suffix, in UTF-8."""
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Of the whole line, images included."""
MAX_METADATA_BYTES = 8 * 1024 * 1024
_FEW_VALUES = 10_000
_SMALL = 64 * 1024
_KIND = re.compile(rb'"kind"\s*:\s*"([a-z_]{1,40})"')


def read_job_line(
    raw: bytes | str,
    *,
    line: int,
    defaults: JobDefaults = NO_DEFAULTS,
    shapes: Sequence[LineShape] = (GENERATE,),
) -> ParsedLine | list[LineProblem]:
    """The job on line ``line`` (from 1), or everything that is wrong with it.

    ``shapes``: the kinds of lines that there may be; one that does not say of which it is is of the first.

    Never raises for what a line contains. NUL characters and lone surrogates become U+FFFD, so that every
    database holds the same text; ``notes`` says so. Whether ``custom_id`` is unique is not known here.
    """
    if isinstance(raw, str):
        try:
            data = raw.encode()
        except UnicodeEncodeError:
            return _read_carefully(raw, line, defaults, shapes)
    else:
        data = raw
    if len(data) > MAX_LINE_BYTES:
        message = f"{len(data):,} bytes, a line may have at most {MAX_LINE_BYTES:,}"
        return [LineProblem(line, "", "too_large", message)]
    if len(data) > _SMALL and (many := values_of(data)) > _FEW_VALUES:
        if many > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} values, which is the most that a line may have"
            return [LineProblem(line, "", "too_large", message)]
        return _read_carefully(data, line, defaults, shapes)
    if b"\\u0000" in data or b"NaN" in data or b"Infinity" in data:
        return _read_carefully(data, line, defaults, shapes)
    shape = _probable(data, shapes)
    try:
        job = shape.read(data)
    except ValidationError:
        return _read_carefully(data, line, defaults, shapes)
    if most_names(data) > _names_of(job) and repeated_name(data) is not None:
        return _read_carefully(data, line, defaults, shapes)
    return _finish(shape, job, line, defaults, len(data), ())


def _probable(data: bytes, shapes: Sequence[LineShape]) -> LineShape:
    """What a line is as far as can be seen without reading it. Its own fields decide whether that holds."""
    if len(shapes) > 1:
        named = _KIND.search(data) if b'"kind"' in data else None
        for shape in shapes:
            if named is not None and named[1] == shape.kind.encode():
                return shape
            for mark in shape.mark_bytes:
                if mark in data:
                    return shape
    return shapes[0]


class _Names(NamedTuple):
    """What the names of a line's fields tell without its values."""

    request: tuple[str, ...]
    """Fields of the request, in the order of the table."""
    models: tuple[str, ...]
    """Those of them that are lists of models of pydantic."""
    ignored: tuple[str, ...]
    follows: bool
    """Whether it may say anything about other jobs."""


@lru_cache(maxsize=256)
def _sorted_out(shape: LineShape, names: frozenset[str]) -> _Names:
    """Few sets of fields make up an input."""
    return _Names(
        tuple(name for name in shape.request if name in names),
        tuple(name for name in shape.models if name in names),
        tuple(name for name in IGNORED_FIELDS if name in names),
        not CHAIN_FIELDS.isdisjoint(names),
    )


def _names_of(job: BaseModel) -> int:
    """How many names the objects of a job hold, where only its options and its metadata hold any; else fewer.

    A line with as many names has none of them twice, so it need not be read a second time.
    """
    fields = job.__dict__
    names = len(job.__pydantic_fields_set__)
    if fields.get("options") is not None:
        names += len(fields["options"].__pydantic_fields_set__)
    if fields["metadata"] is not None:
        names += len(fields["metadata"])
    return names


def check_defaults(defaults: JobDefaults) -> list[LineProblem]:
    """What is wrong with ``defaults`` themselves, found before any line is read."""
    fields = {
        name: getattr(defaults, name)
        for name in (*GENERATE.defaults, "model", "options", "priority", "reuse")
    }
    if defaults.deadline is not None:
        fields["deadline"] = defaults.deadline.isoformat()
    parsed = read_job_line(
        json.dumps({"model": "any", "prompt": "any"} | {k: v for k, v in fields.items() if v is not None}),
        line=0,
    )
    return parsed if isinstance(parsed, list) else []


def _finish(
    shape: LineShape,
    job: BaseModel,
    line: int,
    defaults: JobDefaults,
    size: int,
    notes: tuple[str, ...],
) -> ParsedLine | list[LineProblem]:
    fields = job.__dict__
    problems: list[LineProblem] = []
    model = fields["model"]
    model = defaults.model if model is None else model.strip()
    if model is None:
        message = "model: missing; name one on the line or give a default for all"
        problems.append(LineProblem(line, "model", "missing", message))
    elif wrong := model_problem(model):
        problems.append(LineProblem(line, "model", *wrong))
    names = _sorted_out(shape, frozenset(job.__pydantic_fields_set__))
    request = without_null(fields, names.request)
    for name in names.models:
        if name in request:
            request[name] = [entry.model_dump(exclude_none=True) for entry in request[name]]
    if "options" in request:
        options = explicit_options(request["options"])
        if options:
            request["options"] = options
            if unread := ignored(options):
                notes += (f"options.{', options.'.join(unread)}: no longer read by any server",)
        else:
            del request["options"]
    if defaults is not NO_DEFAULTS:
        _fill(shape, request, defaults)
    problems += shape.conflicts(request, line)
    deadline, expires = fields["deadline"] or defaults.deadline, fields["expires"]
    if expires and deadline is None:
        message = "deadline: missing; say when the job expires"
        problems.append(LineProblem(line, "deadline", "missing", message))
    after = parents_of(fields["after"])
    if after or (names.follows and any(fields.get(name) is not None for name in CHAIN_FIELDS)):
        problems += chain_problems(shape, fields, request, after, line)
    if size > MAX_PROMPT_BYTES:
        problems += too_large(shape, fields, MAX_PROMPT_BYTES, line)
    if size > MAX_METADATA_BYTES and fields["metadata"] is not None:
        problems += too_much_metadata(fields["metadata"], MAX_METADATA_BYTES, line)
    if problems or model is None:
        return problems
    return ParsedLine(
        line,
        fields["custom_id"] or f"line-{line}",
        shape.text(fields, request),
        fields["metadata"],
        model,
        PRIORITIES[fields["priority"] or defaults.priority or "normal"],
        deadline,
        request,
        notes,
        deadline is not None and bool(defaults.expires if expires is None else expires),
        (defaults.reuse if fields["reuse"] is None else fields["reuse"]) or False,
        after,
        shape.carries is not None
        and len(after) == 1
        and fields["carry"] != "none"
        and "combine" not in request,
        fields["after_failed"] == "release",
        tuple(name for name in names.ignored if fields[name] is not None) if names.ignored else (),
        shape.kind,
    )


def overridden(
    parsed: ParsedLine, by: JobDefaults, *, shapes: Sequence[LineShape] = (GENERATE,)
) -> ParsedLine:
    """``parsed`` with everything that ``by`` says in place of what the line said; options one by one."""
    request = dict(parsed.request)
    shape = next(candidate for candidate in shapes if candidate.kind == parsed.kind)
    for name in shape.defaults:
        value = getattr(by, name)
        if value is not None and _takes(request, name):
            request[name] = value
    if shape.system is not None and by.system is not None:
        shape.system(request, by.system, True)
    if by.options:
        request["options"] = {**request.get("options", {}), **by.options}
    deadline = by.deadline or parsed.deadline
    return parsed._replace(
        prompt=shape.text(dict.fromkeys(shape.apart, parsed.prompt), request),
        model=by.model or parsed.model,
        priority=parsed.priority if by.priority is None else PRIORITIES[by.priority],
        deadline=deadline,
        expires=parsed.expires if by.expires is None else by.expires and deadline is not None,
        reuse=parsed.reuse if by.reuse is None else by.reuse,
        request=request,
    )


def _fill(shape: LineShape, request: dict[str, Any], defaults: JobDefaults) -> None:
    for name in shape.defaults:
        if name not in request:
            value = getattr(defaults, name)
            if value is not None and _takes(request, name):
                request[name] = value
    if shape.system is not None and defaults.system is not None:
        shape.system(request, defaults.system, False)
    if defaults.options:
        request["options"] = {**defaults.options, **request.get("options", {})}


def _takes(request: Mapping[str, Any], name: str) -> bool:
    """Whether a default reaches a line: ``raw`` excludes some, and some mean nothing without a ``format``."""
    if name == "repairs":
        return "format" in request
    return not (request.get("raw") and name == "system")


def _read_carefully(
    raw: bytes | str, line: int, defaults: JobDefaults, shapes: Sequence[LineShape]
) -> ParsedLine | list[LineProblem]:
    """Read a line that is wrong or odd: repair what may be repaired, name what may not."""
    value = _load(raw, line)
    if isinstance(value, LineProblem):
        return [value]
    shape = shape_of(value, shapes)
    if shape is None:
        kinds = ", ".join(candidate.kind for candidate in shapes)
        return [LineProblem(line, "kind", "invalid_value", f"kind: expected one of {kinds}")]
    foreign = unsupported_format(value, line) if shape is shapes[0] else None
    if foreign:
        return [foreign]
    too_many = crowded(value, line)
    if too_many:
        return [too_many]
    repair = Repair()
    try:
        text = json.dumps(with_whole_numbers(repair.object(value)), ensure_ascii=False, allow_nan=False)
        job = shape.read(text)
    except NotJson as error:
        return [LineProblem(line, error.field, "invalid_json", f"{error.field}: {error}")]
    except ValidationError as error:
        return problems_of(error, line, shape.fields)
    return _finish(shape, job, line, defaults, len(text) * 4, repair.notes())


def _load(raw: bytes | str, line: int) -> dict[str, Any] | LineProblem:
    if isinstance(raw, bytes):
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[1:2] == b"\0":
                message = "looks like UTF-16; save the file as UTF-8"
            else:
                byte = raw[error.start]
                message = f"not UTF-8: byte 0x{byte:02x} at {error.start + 1}; save the file as UTF-8"
            return LineProblem(line, "", "invalid_encoding", message)
    else:
        text = raw.removeprefix("\ufeff")
    try:
        value = load_json(text)
    except NotJson as error:
        return LineProblem(line, error.field, error.code, str(error))
    if not isinstance(value, dict):
        kind = {
            list: "a list",
            str: "a text",
            bool: "true or false",
            type(None): "null",
        }.get(type(value), "a number")
        remedy = (
            "; write each of its objects on a line, as jq -c '.[]' does" if isinstance(value, list) else ""
        )
        return LineProblem(line, "", "invalid_json", f"expected one JSON object a line, got {kind}{remedy}")
    return value
