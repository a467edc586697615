"""Checks a schedule when it is added: its models, its templates, its folders."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from worker.documents.templates import prompt_template
from worker.domain.schedules import ScheduleSpec
from worker.door.document_lines import job_lines
from worker.errors import DocumentRefused, InputRefused, Problem
from worker.hosts.registry import OpenHost, look_at_all, missing_models
from worker.policy.schedules import next_fire
from worker.policy.windows import is_open, opens_at, parse_windows
from worker.policy.zones import zone_of
from worker.schedules.reading import read_documents
from worker.schedules.spec import Asking, asking_of
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts

RENDERED = 3
"""Documents whose prompts are made when a schedule is said."""
MOST_TRIED = 50
"""Documents that are read to find so many that can be read."""


def check_models(database: Database, spec: ScheduleSpec, *, open_host: OpenHost) -> list[str]:
    """What cannot be known about the models. Raises InputRefused for one that no host has.

    Hosts are taken to have what they were seen to have. They are asked only where a model is missing, and what they
    answer is not stored: this machine may reach fewer of them than those that serve them.
    """
    with database.read() as conn:
        reports = [report for report in read_hosts(conn, database.clock().now()) if report.kept]
    names = ", ".join(spec.models)
    if not reports:
        return [f"no host was added yet, so it is not known whether one has {names}"]
    have = {model for report in reports for model in report.models}
    if set(spec.models) <= have:
        return []
    looks = look_at_all([report.host for report in reports], open_host=open_host)
    have |= {model.name for look in looks for model in look.models}
    missing = missing_models(dict.fromkeys(spec.models, 0), have)
    unseen = [
        report.host.name
        for report, look in zip(reports, looks, strict=True)
        if look.error is not None and not report.looked
    ]
    if not missing:
        return []
    if unseen or all(look.error is not None for look in looks):
        away = unseen or [look.host.name for look in looks]
        message = "; ".join(problem.message for problem in missing)
        return [f"{message}; but {', '.join(away)} cannot be reached now and may have it"]
    raise InputRefused([replace(problem, field="--model") for problem in missing])


def check_hours(spec: ScheduleSpec, *, now: datetime) -> list[str]:
    """Whether the next firing falls outside of the window in which its jobs may start."""
    windows = parse_windows(spec.window, spec.tz, spec.blackout)
    fires = next_fire(spec.cron, zone_of(spec.tz), after=now)
    if windows is None or fires is None or is_open(windows, fires):
        return []
    opens = opens_at(windows, fires)
    zone = zone_of(spec.tz)
    begins = f"{fires.astimezone(zone):%Y-%m-%d %H:%M}"
    if opens is None:
        return [f"it fires at {begins}, and no window opens after that"]
    wait = f"its jobs wait until {opens.astimezone(zone):%Y-%m-%d %H:%M}"
    return [f"it fires at {begins}, outside of its window ({windows.text}): {wait}"]


def check_prompts(spec: ScheduleSpec) -> list[str]:
    """For which of the first documents the templates fail. Raises InputRefused where they fail for all of them."""
    asking = asking_of(spec)
    failures: list[tuple[str, DocumentRefused]] = []
    rendered = tried = 0
    for document in read_documents(spec):
        tried += 1
        if tried > MOST_TRIED or rendered + len(failures) == RENDERED:
            break
        if document.document is None:
            continue
        try:
            lines = job_lines(document.document, asking.templates, None, long=spec.long)
        except DocumentRefused as error:
            failures.append((document.custom_id, error))
            continue
        rendered += 1
        if rendered == 1 and spec.format is None:
            _check_combining(asking, lines[0]["metadata"])
    if failures and not rendered:
        name, refused = failures[0]
        raise InputRefused([Problem(0, "--template", refused.code, f"{name}: {refused.message}")])
    return [f"{name}: {error.message}" for name, error in failures]


def _check_combining(asking: Asking, metadata: object) -> None:
    """Raise InputRefused where the second template fails for two answers of parts."""
    if asking.templates.combine is None:
        return
    parts = [
        {
            "number": number,
            "of": 2,
            "start": 0,
            "end": 1,
            "pages": [number],
            "headings": ["Heading"],
            "custom_id": f"document#part-{number}",
            "answer": "An answer.",
            "parsed": None,
            "metadata": metadata,
        }
        for number in (1, 2)
    ]
    document = {
        "text": "",
        "name": "document",
        "path": "document",
        "metadata": metadata,
        "pages": 2,
        "sha256": "",
        "media_type": "text/plain",
        "part": None,
    }
    template = prompt_template(asking.templates.combine, source="--combine")
    text = template.render({"document": document, "parts": parts}, line=0)
    if isinstance(text, Problem):
        raise InputRefused([replace(text, field="--combine")])


def outputs_of(spec: ScheduleSpec) -> list[str]:
    """Folders that a schedule writes answers to."""
    beside = [root for root in spec.roots if "://" not in root] if spec.beside else []
    return [*([] if spec.output is None else [spec.output]), *beside]


def unwritable(folders: Sequence[str]) -> tuple[str, ...]:
    """Those of ``folders`` that cannot be written from here, or made, each with the reason. Leaves nothing behind."""
    return tuple(
        f"{folder}: {why}" for folder in folders if (why := _why_unwritable(Path(folder))) is not None
    )


def _why_unwritable(folder: Path) -> str | None:
    there = folder
    try:
        while not there.exists() and there != there.parent:
            if there.is_symlink():
                return f"{there} is a link that leads nowhere"
            there = there.parent
        if not there.is_dir():
            return "it is a file" if there == folder else f"{there} is a file, no folder"
        with tempfile.TemporaryFile(dir=there):
            return None
    except (OSError, ValueError) as error:
        return (error.strerror if isinstance(error, OSError) else None) or str(error)


def check_outputs(spec: ScheduleSpec) -> None:
    """Raise InputRefused where answers cannot be written from here."""
    refuse_unwritable(unwritable(outputs_of(spec)))


def refuse_unwritable(folders: Sequence[str], *, who: str = "") -> None:
    """Raise InputRefused for folders that ``who`` cannot write answers to."""
    if folders:
        message = f"{who}answers cannot be written to {'; '.join(folders)}"
        raise InputRefused([Problem(0, "--output", "unwritable", message)])
