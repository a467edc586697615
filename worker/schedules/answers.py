"""Answers as files: beside the documents or in a folder, as Markdown or JSON; whole or not at all."""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path, PurePosixPath

from worker.documents.names import spelled, unspelled
from worker.domain.schedules import Schedule
from worker.records import mutable_record
from worker.storage.engine import Database
from worker.storage.schedule_answers import Answered, list_answers

_UNSAFE = re.compile(r"[^\w.\-]+")


@mutable_record
class Written:
    """What was done to the files of a schedule, and what could not be."""

    files: int = 0
    """Written, since they were missing or said something else."""
    unchanged: int = 0
    removed: int = 0
    """Of earlier names: another form, or another number of models."""
    problems: list[str] = field(default_factory=list)


def write_answers(database: Database, schedule: Schedule) -> Written:
    """Make the files what the database says: the latest answer of each document that is there. Idempotent.

    Files of documents that are gone, and of models that are asked no more, stay as they are.
    """
    spec, written = schedule.spec, Written()
    if spec.output is None and not spec.beside:
        return written
    after: tuple[str, str] | None = None
    while True:
        with database.read() as conn:
            page = list(list_answers(conn, schedule.id, after=after))
        if not page:
            return written
        after = page[-1].custom_id, page[-1].model
        for answer in page:
            if answer.model in spec.models:
                _bring_in_step(schedule, answer, written)


def _bring_in_step(schedule: Schedule, answer: Answered, written: Written) -> None:
    text = _text(answer, schedule.spec.form)
    try:
        for folder, name in _places(schedule, answer):
            if _says(folder / _short(name), text):
                written.unchanged += 1
            else:
                write_ours(schedule, folder, name, text)
                written.files += 1
            written.removed += _remove_others(schedule, folder, name, answer)
    except OSError as error:
        if len(written.problems) < _MOST_PROBLEMS:
            written.problems.append(f"{answer.custom_id}: {spelled(str(error.strerror or error))}")


_MOST_PROBLEMS = 20


def _says(path: Path, text: str) -> bool:
    """Whether an ordinary file is there and says just this."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        return path.read_bytes() == text.encode("utf-8", "replace")
    except OSError:
        return False


def _remove_others(schedule: Schedule, folder: Path, name: str, answer: Answered) -> int:
    """Remove the files of the same document and model that bear the names of another form or number of models."""
    spec, removed = schedule.spec, 0
    base = name.removesuffix(_ending(schedule, answer.model))
    endings = [
        f"{model}.answer.{form}" for model in ("", f".{_slug(answer.model, spec.models)}") for form in _BEGINS
    ]
    for ending in endings:
        path = folder / _short(f"{base}{ending}")
        if path.name == _short(name) or not path.is_file() or path.is_symlink():
            continue
        with path.open("rb") as file:
            head = file.read(4000).decode("utf-8", "replace")
        marks = (json.dumps(value, ensure_ascii=False) for value in (answer.custom_id, answer.model))
        begins = head.encode().startswith(_BEGINS[ending.rpartition(".")[2]])
        if begins and all(mark in head for mark in marks):
            path.unlink()
            removed += 1
    return removed


def _ending(schedule: Schedule, model: str) -> str:
    """Of a file's name: with the model where the schedule asks several."""
    spec = schedule.spec
    return f"{f'.{_slug(model, spec.models)}' if len(spec.models) > 1 else ''}.answer.{spec.form}"


def _places(schedule: Schedule, answered: Answered) -> list[tuple[Path, str]]:
    """Folder and name: ``report.pdf.answer.md``, of several models ``report.pdf.qwen3-8b.answer.md``."""
    spec = schedule.spec
    ending = _ending(schedule, answered.model)
    places = []
    if spec.output is not None:
        inside = [part for part in PurePosixPath(answered.custom_id).parts if part not in ("..", "/", ".")]
        places.append((Path(spec.output).joinpath(*inside[:-1]), f"{inside[-1]}{ending}"))
    if spec.beside and "://" not in answered.path:
        folder, name = _beside(answered.path, answered.custom_id)
        places.append((folder, f"{name}{ending}"))
    return places


def _beside(path: str, custom_id: str) -> tuple[Path, str]:
    """The folder of a document, and the name that its answer begins with there: of a row ``table.csv.ID``, of an attachment
    ``mail.eml.report.pdf``."""
    row = re.search(r"#([0-9]+)\Z", path)
    document = Path(unspelled(path if row is None else path[: row.start()]))
    folder = document.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    name = ".".join(document.relative_to(folder).parts)
    return folder, name if row is None else f"{name}.{custom_id.rpartition('#')[2]}"


def _slug(model: str, among: Sequence[str]) -> str:
    """A model's name for a file; of two that differ in punctuation alone, each with a hash of its own.

    >>> _slug("qwen3:8b", ["qwen3:8b", "llama3.2:3b"]), _slug("a:b", ["a:b", "a-b"])
    ('qwen3-8b', 'a-b~6783a31e')
    """
    plain = _UNSAFE.sub("-", model)
    if sum(_UNSAFE.sub("-", name) == plain for name in among) < 2:
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
    if not any(real.is_relative_to(Path(root).resolve()) for root in allowed):
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


def _text(answered: Answered, form: str) -> str:
    if form == "json":
        plain = {
            "document": answered.custom_id,
            "path": answered.path,
            "sha256": answered.sha256,
            "model": answered.model,
            "answered_at": answered.finished_at.isoformat(),
            "answer": answered.answer,
            "parsed": answered.parsed,
            "reasoning": answered.reasoning,
            "metadata": dict(answered.metadata),
            "prompt_tokens": answered.prompt_tokens,
            "output_tokens": answered.output_tokens,
            "cut": answered.cut,
            "empty": answered.empty,
            "prompt_fit": answered.prompt_fit,
        }
        return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
    head = {
        "document": answered.custom_id,
        "model": answered.model,
        "sha256": answered.sha256,
        "answered_at": answered.finished_at.isoformat(),
        **({"cut": True} if answered.cut else {}),
        **({"empty": True} if answered.empty else {}),
        **({"prompt_fit": "no"} if answered.prompt_fit == "no" else {}),
    }
    front = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in head.items())
    return f"---\n{front}---\n\n{answered.answer.rstrip()}\n"


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
