"""Answers as files: beside the documents or in a folder, as Markdown or JSON; whole or not at all."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from worker.documents.names import spelled, unspelled
from worker.domain.schedules import Firing, Schedule
from worker.storage.engine import Database
from worker.storage.schedule_documents import Answered, firing_answers

_UNSAFE = re.compile(r"[^\w.\-]+")


@dataclass(slots=True)
class Written:
    """What was written, and what could not be."""

    files: int = 0
    problems: list[str] = field(default_factory=list)


def write_answers(database: Database, schedule: Schedule, firing: Firing) -> Written:
    """Write what a firing brought, where its schedule asks for that; again if it did so before."""
    spec, written = schedule.spec, Written()
    if firing.batch_id is None or (spec.output is None and not spec.beside):
        return written
    after = 0
    while True:
        with database.read() as conn:
            page = list(firing_answers(conn, schedule.id, firing.batch_id, after=after))
        if not page:
            return written
        after = page[-1].job_id
        for one in page:
            try:
                for folder, name in _places(schedule, one):
                    write_ours(schedule, folder, name, _text(one, spec.form))
                    written.files += 1
            except OSError as error:
                if len(written.problems) < 20:
                    written.problems.append(f"{one.custom_id}: {spelled(str(error.strerror or error))}")


def _places(schedule: Schedule, one: Answered) -> list[tuple[Path, str]]:
    """Folder and name: ``report.pdf.answer.md``, of several models ``report.pdf.qwen3-8b.answer.md``."""
    spec = schedule.spec
    model = f".{_slug(one.model, spec.models)}" if len(spec.models) > 1 else ""
    ending = f"{model}.answer.{spec.form}"
    found = []
    if spec.output is not None:
        inside = [part for part in PurePosixPath(one.custom_id).parts if part not in ("..", "/", ".")]
        found.append((Path(spec.output).joinpath(*inside[:-1]), f"{inside[-1]}{ending}"))
    if spec.beside and "://" not in one.path:
        folder, name = _beside(one.path)
        found.append((folder, f"{name}{ending}"))
    return found


def _beside(path: str) -> tuple[Path, str]:
    """The folder of a document, and the name that its answer begins with there: of a row ``table.csv.2``, of an attachment
    ``mail.eml.report.pdf``."""
    row = re.search(r"#([0-9]+)\Z", path)
    document = Path(unspelled(path if row is None else path[: row.start()]))
    folder = document.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    name = ".".join(document.relative_to(folder).parts)
    return folder, name if row is None else f"{name}.{row[1]}"


def _slug(model: str, among: Sequence[str]) -> str:
    """A model's name for a file; of two that differ in punctuation alone, each with a hash of its own.

    >>> _slug("qwen3:8b", ["qwen3:8b", "llama3.2:3b"]), _slug("a:b", ["a:b", "a-b"])
    ('qwen3-8b', 'a-b~fa6b3b6f')
    """
    plain = _UNSAFE.sub("-", model)
    if sum(_UNSAFE.sub("-", one) == plain for one in among) < 2:
        return plain
    return f"{plain}~{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def write_ours(schedule: Schedule, folder: Path, name: str, text: str) -> None:
    """Write a file of a schedule, whole or not at all. Raises OSError, also where that is no place for it."""
    _safe(schedule, folder, name, schedule.spec.form)
    _write(folder, name, text)


def _safe(schedule: Schedule, folder: Path, name: str, form: str) -> None:
    """Raise OSError where the file would lie outside of where answers may be written, or is not one of ours."""
    spec = schedule.spec
    allowed = [*(() if spec.output is None else (spec.output,)), *(spec.roots if spec.beside else ())]
    real = folder.resolve()
    if not any(real.is_relative_to(Path(one).resolve()) for one in allowed):
        raise OSError(f"{folder} leads to {real}, outside of {', '.join(allowed)}")
    there = folder / _short(name)
    if there.is_symlink():
        raise OSError(f"{there} is a link, and is left alone")
    if there.exists() and not there.is_file():
        raise OSError(f"{there} is no ordinary file, and is left alone")
    if there.exists():
        with there.open("rb") as file:
            head = file.read(200).lstrip()
        if not head.startswith(_BEGINS[form]):
            raise OSError(f"{there} was not written by a schedule, and is left alone")


_BEGINS = {
    "md": (b"---\ndocument: ", b"---\nschedule: "),
    "json": (b'{\n  "document": ', b'{\n  "schedule": '),
}


def _short(name: str) -> str:
    """A name that a file may have; of a long one its end, and a hash of the whole."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{digest}~{os.fsdecode(data[-(_LONGEST - 17) :]).lstrip(_TORN)}"


_TORN = "".join(map(chr, range(0xDC80, 0xDCC0)))
"""Bytes of a character that was cut."""
_LONGEST = 240
"""Bytes, with room for what is written beside it first."""


def _text(one: Answered, form: str) -> str:
    if form == "json":
        plain = {
            "document": one.custom_id,
            "path": one.path,
            "sha256": one.sha256,
            "model": one.model,
            "answered_at": one.finished_at.isoformat(),
            "answer": one.answer,
            "parsed": one.parsed,
            "reasoning": one.reasoning,
            "metadata": dict(one.metadata),
            "prompt_tokens": one.prompt_tokens,
            "output_tokens": one.output_tokens,
            "cut": one.cut,
            "empty": one.empty,
            "prompt_fit": one.prompt_fit,
        }
        return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
    head = {
        "document": one.custom_id,
        "model": one.model,
        "sha256": one.sha256,
        "answered_at": one.finished_at.isoformat(),
        **({"cut": True} if one.cut else {}),
        **({"empty": True} if one.empty else {}),
        **({"prompt_fit": "no"} if one.prompt_fit == "no" else {}),
    }
    front = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in head.items())
    return f"---\n{front}---\n\n{one.answer.rstrip()}\n"


def _write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = _short(name)
    partial, there = folder / f".caravan-{secrets.token_hex(8)}.part", folder / name
    try:
        # a mode that follows the umask, as that of every file which a person writes
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        if there.exists():
            shutil.copymode(there, partial)
        partial.replace(there)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
