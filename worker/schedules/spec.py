"""The settings of a schedule, checked at ``add`` and by each firing, which reads the template again."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from api_schemas.job_line import PRIORITIES
from api_schemas.jobs import JobDefaults, check_defaults
from worker.documents.encodings import named_encoding, read_text
from worker.documents.patterns import compiled
from worker.documents.read import Rules, Scans
from worker.documents.templates import prompt_template, prompt_text
from worker.domain.keeping import parse_keep
from worker.domain.runners import normalise_model
from worker.domain.schedules import AnswerForm, Misfire, OnModelChange, Overlap, ScheduleSpec
from worker.door.document_lines import Long, Templates, combine_template
from worker.errors import InputRefused, Problem
from worker.policy.schedules import check_cron
from worker.policy.windows import parse_windows
from worker.records import record

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAGIC = re.compile(r"[*?\[]")
_LISTS = ("documents", "roots", "exclude", "models", "window", "blackout", "mail_to", "webhook")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "misfire": get_args(Misfire),
    "overlap": get_args(Overlap),
    "on_model_change": get_args(OnModelChange),
    "form": get_args(AnswerForm),
    "long": get_args(Long),
    "scans": get_args(Scans),
    "notify": ("always", "failure", "new-failures"),
    "priority": tuple(PRIORITIES),
}


@record
class Asking:
    """What every document of a firing is asked."""

    templates: Templates
    defaults: JobDefaults
    plain: Mapping[str, Any]
    """All that decides the answer but the document and the model."""


def check_name(name: str) -> str:
    """Raise InputRefused for what cannot be a schedule's name."""
    if not _NAME.fullmatch(name):
        raise _refused("name", f"{name[:60]!r}: expected letters, digits, . _ and -, 100 at most")
    return name


def spec_of(values: Mapping[str, Any], *, base: Path) -> ScheduleSpec:
    """The spec of what a command line or a YAML file says; relative paths lie under ``base``. Raises InputRefused."""
    known = {field.name for field in fields(ScheduleSpec)}
    unknown = [name for name in values if name not in known]
    if unknown:
        from difflib import get_close_matches

        near = get_close_matches(str(unknown[0]), sorted(known), n=1)
        message = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
        raise _refused(str(unknown[0]), f"unknown field {unknown[0]!r}{message}")
    plain = {name: value for name, value in values.items() if value is not None}
    for name in _LISTS:
        value = plain.get(name, [])
        plain[name] = [value] if isinstance(value, str) else [str(one) for one in value]
    for name, choices in _CHOICES.items():
        if plain.get(name) is not None and plain[name] not in choices:
            raise _refused(name, f"{name} {plain[name]!r}: expected {', '.join(choices)}")
    for name in ("cron", "documents", "models"):
        if not plain.get(name):
            raise _refused(name, f"{name}: missing")
    plain["tz"] = str(plain.get("tz", "UTC"))
    check_cron(str(plain["cron"]), plain["tz"])
    parse_windows(plain["window"], plain["tz"], plain["blackout"])
    plain["models"] = list(dict.fromkeys(normalise_model(model) for model in plain["models"]))
    plain["documents"] = [_absolute(one, base) for one in plain["documents"]]
    plain["roots"] = [_absolute(one, base) for one in plain["roots"]] or _roots(plain["documents"])
    for pattern in plain["documents"]:
        if not any(_inside(pattern, root) for root in plain["roots"]):
            raise _refused("documents", f"{pattern}: outside the roots ({', '.join(plain['roots'])})")
    for name in ("template", "output", "combine"):
        if plain.get(name):
            plain[name] = _absolute(str(plain[name]), base)
    if str(plain.get("system", "")).startswith("@"):
        plain["system"] = "@" + _absolute(str(plain["system"])[1:], base)
    if isinstance(plain.get("format"), str) and plain["format"] != "json":
        plain["format"] = _schema(Path(_absolute(plain["format"].removeprefix("@"), base)))
    if plain.get("keep") is not None:
        try:
            parse_keep(str(plain["keep"]))
        except ValueError as error:
            raise _refused("keep", f"keep {error}") from error
    if plain.get("min_age") is not None:
        min_age_of(str(plain["min_age"]))
    if bool(plain.get("template")) == bool(plain.get("prompt")):
        raise _refused("template", "give a template or a prompt, one of them")
    if (plain.get("long") == "split") != bool(plain.get("combine")):
        message = (
            "long documents are split and their answers combined: give --long split and --combine T.j2, both"
        )
        raise _refused("combine", message)
    if plain.get("pages_as_images") and (
        plain.get("extract") or plain.get("rows") or plain.get("scans", "skip") != "skip"
    ):
        raise _refused(
            "pages_as_images",
            "pages_as_images shows all pages and reads none; leave out scans, extract and rows",
        )
    if plain.get("encoding") is not None:
        plain["encoding"] = named_encoding(str(plain["encoding"]))
    for pattern in plain["exclude"]:
        compiled(pattern)
    spec = ScheduleSpec.parse(plain)
    asking_of(spec)
    return spec


def min_age_of(text: str) -> timedelta:
    """How long a file has not been changed when it is read: ``5m``; ``0``: no matter. Raises InputRefused."""
    if text.strip() == "0":
        return timedelta(0)
    try:
        return parse_keep(text)
    except ValueError as error:
        raise _refused(
            "min_age", f"min-age {text[:40]!r}: expected a time such as 30s, 5m or 1h, or 0"
        ) from error


def check_roots(spec: ScheduleSpec) -> None:
    """Raise InputRefused where a root cannot be read from here."""
    for root in spec.roots:
        if "://" not in root and not (Path(root).is_dir() and os.access(root, os.R_OK | os.X_OK)):
            raise _refused("documents", f"{root}: no folder that can be read from here")


def asking_of(spec: ScheduleSpec) -> Asking:
    """What documents are asked, with the template as it is now. Raises InputRefused."""
    if spec.template is not None:
        text, source = read_text(Path(spec.template)), spec.template
    else:
        text, source = spec.prompt or "", "--prompt"
    system = spec.system
    if system is not None and system.startswith("@"):
        system = read_text(Path(system[1:]))
    defaults = JobDefaults(
        options=dict(spec.options) or None,
        think=spec.think,
        format=spec.format,
        allow_empty=spec.allow_empty or None,
        priority=spec.priority,  # type: ignore[arg-type]
        reuse="any",  # a template that was changed back, a part that was answered, a document with another name
    )
    problems = [
        Problem(0, problem.field, problem.code, problem.message) for problem in check_defaults(defaults)
    ]
    if problems:
        raise InputRefused(problems)
    combine = None
    if spec.combine is not None:
        combine = combine_template(read_text(Path(spec.combine)), source=spec.combine)
    plain = {
        "prompt": text,
        "system": system,
        "options": dict(spec.options),
        "think": spec.think,
        "format": spec.format,
        # only where they are said: what was answered before there were these stays answered
        **({} if combine is None else {"combine": combine}),
        **({"pages_as_images": True} if spec.pages_as_images else {}),
        **({} if spec.encoding is None else {"encoding": spec.encoding}),
        **({"scans": "images"} if spec.scans == "images" else {}),
        **({} if spec.extract is None else {"extract": spec.extract}),
    }
    templates = Templates(
        prompt_template(text, source=source) if spec.pages_as_images else prompt_text(text, source=source),
        None if system is None else prompt_template(system, source="--system"),
        combine,
    )
    return Asking(templates, defaults, plain)


def rules_of(spec: ScheduleSpec) -> Rules:
    """How its documents are read."""
    return Rules(
        spec.encoding, as_images=spec.pages_as_images, scans=spec.scans, extract=spec.extract, rows=spec.rows
    )


def request_of(spec: ScheduleSpec) -> dict[str, Any]:
    """What decides how much room an answer needs."""
    return {"options": dict(spec.options), "think": spec.think, "format": spec.format}


def differences(before: ScheduleSpec | None, after: ScheduleSpec) -> list[str]:
    """What of a spec changes, one line a field: ``- cron: 0 2 * * *``, ``+ cron: 0 3 * * *``."""
    old = {} if before is None else before.plain
    new = after.plain
    lines = []
    for name in dict.fromkeys((*new, *old)):
        if old.get(name) != new.get(name):
            lines += [f"- {name}: {_value(old[name])}"] if name in old else []
            lines += [f"+ {name}: {_value(new[name])}"] if name in new else []
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path else os.path.normpath(base / Path(path).expanduser())


def _roots(patterns: list[str]) -> list[str]:
    """The folders at which patterns begin to vary."""
    roots = []
    for pattern in patterns:
        match = _MAGIC.search(pattern)
        fixed = pattern if match is None else pattern[: match.start()].rpartition("/")[0]
        roots.append(fixed if match is not None or Path(fixed).is_dir() else str(Path(fixed).parent))
    kept = [
        root
        for root in dict.fromkeys(roots)
        if not any(root != other and _inside(root, other) for other in roots)
    ]
    return [folder or "/" for folder in kept]


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _schema(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise _refused("format", f"{path}: not valid JSON: {error}") from error


def _refused(field: str, message: str) -> InputRefused:
    return InputRefused([Problem(0, field, "invalid_value", message)])
