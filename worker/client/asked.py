"""What a producer says in Python beside the jobs themselves: how they are asked, and which batch they are."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from api_schemas.jobs import JobDefaults, check_defaults
from api_schemas.python_values import plain_value, schema_of
from api_schemas.submissions import Submission
from worker.documents.encodings import read_text
from worker.domain.keeping import FOREVER, parse_keep
from worker.errors import InputRefused, Problem
from worker.serving.brake import parse_max_failures

if TYPE_CHECKING:
    from api_schemas.jobs import PriorityName


def submission_of(
    *,
    model: str | Iterable[str] | None = None,
    prompt: str | None = None,
    template: str | Path | None = None,
    id_column: str | None = None,
    system: str | None = None,
    format: Any = None,
    repairs: int | None = None,
    allow_empty: bool | None = None,
    options: Mapping[str, Any] | None = None,
    think: bool | str | None = None,
    priority: "PriorityName | None" = None,
    deadline: datetime | None = None,
    expires: bool | None = None,
    limit: int | None = None,
    name: str | None = None,
    key: str | None = None,
    new: bool = False,
    extend: bool = False,
    retry_failed: bool = False,
    max_failures: int | str | None = None,
    reuse: "bool | Literal['any'] | None" = None,
    keep: timedelta | str | None = None,
) -> Submission:
    """Raises InputRefused for what contradicts itself, cannot be read or JSON does not know."""
    if max_failures is not None:
        parse_max_failures(str(max_failures))
    if limit is not None and limit < 1:
        raise refused("limit", f"limit: expected a whole number from 1, got {limit}")
    beside = {"extend": extend, "retry_failed": retry_failed}
    idle = [name for name, value in beside.items() if value] if new else ["extend"] if key and extend else []
    if idle:
        told = f"{idle[0]} has no effect beside {'new' if new else 'key'}; leave one of them out"
        raise refused(idle[0], told, code="cannot_apply")
    source, text = _prompt(prompt, template)
    models = (model,) if isinstance(model, str) else tuple(dict.fromkeys(model or ()))
    for name_ in models:
        _check(JobDefaults(model=name_))
    defaults = JobDefaults(
        system=system,
        format=schema_of(format),
        repairs=repairs,
        allow_empty=allow_empty,
        options=None if options is None else _plain(options),
        think=think,
        priority=priority,
        deadline=deadline,
        expires=expires,
        reuse=reuse,
    )
    _check(defaults)
    return Submission.of_defaults(
        defaults,
        prompt=text,
        prompt_source=source,
        id_column=id_column,
        encoding="utf-8",
        models=models,
        limit=limit,
        name=name,
        key=key,
        on_change="new" if new else "extend" if extend else "refuse",
        retry_failed=retry_failed,
        max_failures=None if max_failures is None else str(max_failures),
        keep=_keep(keep),
    )


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
        raise refused("template", "prompt and template both say what is asked; give one", code="conflict")
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
