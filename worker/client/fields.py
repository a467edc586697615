"""What a producer says in Python beside the jobs themselves: how they are asked, and which batch they are."""

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, Unpack

from api_schemas.jobs import JobDefaults, check_defaults
from api_schemas.python_values import plain_value, schema_of
from api_schemas.submissions import Submission, SubmissionFields, read_submission
from worker.documents.encodings import read_text
from worker.domain.keeping import FOREVER, parse_keep
from worker.errors import InputRefused, Problem
from worker.serving.brake import parse_max_failures


class Fields(SubmissionFields, total=False):
    """What a producer says in Python: the fields of a submission, and what has a shorter name or another form here."""

    model: str | Iterable[str] | None
    template: str | Path | None
    """File of the prompt, or its text."""
    new: bool
    extend: bool


Callback = TypeVar("Callback", bound=Callable[..., Any])
_NAMES = Fields.__annotations__.keys()
_DEFAULTS = tuple(field.name for field in dataclasses.fields(JobDefaults) if field.name in _NAMES)


def shows_fields(function: Callback) -> Callback:
    """Have ``help`` and editors show each field of ``**fields`` as the argument that it is."""
    shown = inspect.signature(function)
    own = [
        parameter
        for parameter in shown.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    fields = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in Fields.__annotations__.items()
    ]
    function.__signature__ = shown.replace(parameters=[*own, *fields])  # type: ignore[attr-defined]
    return function


def submission_of(**values: Unpack[Fields]) -> Submission:
    """Raises TypeError for an unknown name, InputRefused for what contradicts itself, cannot be read or JSON does not
    know."""
    for name in values.keys() - _NAMES:
        near = get_close_matches(name, _NAMES, n=1)
        raise TypeError(f"unexpected argument {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
    fields: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    new, extend = fields.pop("new", False), fields.pop("extend", False)
    if fields.get("drop_missing") and not extend:
        raise refused("drop_missing", "drop_missing has no effect without extend", code="cannot_apply")
    beside = {"extend": extend, "retry_failed": fields.get("retry_failed")}
    keyed = ["extend"] if "key" in fields and extend else []
    if idle := [name for name, value in beside.items() if value] if new else keyed:
        message = f"{idle[0]} has no effect beside {'new' if new else 'key'}; leave one of them out"
        raise refused(idle[0], message, code="cannot_apply")
    if fields.get("limit", 1) < 1:
        raise refused("limit", f"limit: expected a whole number from 1, got {fields['limit']}")
    source, text = _prompt(fields.pop("prompt", None), fields.pop("template", None))
    model = fields.pop("model", ())
    models = (model,) if isinstance(model, str) else tuple(dict.fromkeys(model))
    for name in models:
        _check(JobDefaults(model=name))
    _check(_defaults(fields))
    if "max_failures" in fields:
        fields["max_failures"] = str(fields["max_failures"])
        parse_max_failures(fields["max_failures"])
    fields |= {
        "prompt": text,
        "prompt_source": source,
        "encoding": "utf-8",
        "models": models,
        "on_change": "new" if new else "extend" if extend else "refuse",
        "keep": _keep(fields.get("keep")),
    }
    submission = read_submission(fields)
    if isinstance(submission, list):
        raise InputRefused([Problem(p.line, p.field, p.code, p.message) for p in submission])
    return submission


def _defaults(fields: dict[str, Any]) -> JobDefaults:
    """What holds for jobs that say nothing else; ``fields`` has it as JSON knows it afterwards."""
    if "format" in fields:
        fields["format"] = schema_of(fields["format"])
    if "options" in fields:
        fields["options"] = _plain(fields["options"])
    return JobDefaults(**{name: fields[name] for name in _DEFAULTS if name in fields})


def _keep(keep: timedelta | str | None) -> str | None:
    if isinstance(keep, timedelta):
        if keep < timedelta(0):
            raise refused("keep", f"keep: expected a time to come, got {keep}")
        return f"{int(keep.total_seconds())}s" if keep else FOREVER
    try:
        if keep is not None:
            parse_keep(keep)
    except ValueError as error:
        raise refused("keep", f"keep: {error}") from error
    return keep


def _prompt(prompt: str | None, template: str | Path | None) -> tuple[str, str | None]:
    """Where the template stands, and its text."""
    if template is None:
        return "prompt", prompt
    if prompt is not None:
        raise refused("template", "prompt and template both set the prompt; give one", code="conflict")
    if isinstance(template, str) and ("{{" in template or "{%" in template):
        return "template", template
    return str(template), read_text(Path(template))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options), default=plain_value))
    except (TypeError, ValueError) as error:
        raise refused("options", f"options: {error}") from error
    return plain


def _check(defaults: JobDefaults) -> None:
    wrong = [Problem(p.line, p.field, p.code, p.message) for p in check_defaults(defaults)]
    if wrong:
        raise InputRefused(wrong)


def refused(field: str, message: str, *, code: str = "invalid_value") -> InputRefused:
    """Something that was given by name cannot be taken."""
    return InputRefused([Problem(0, field, code, message)])
