"""Inputs that are no files yet, written to one: standard input, and the rows of a batch that are asked again."""

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from worker.domain.answers import ANY_ANSWER, AnswerFilter
from worker.domain.batches import Batch
from worker.domain.jobs import FINAL, JobState
from worker.domain.selection import Selection
from worker.errors import InputRefused, Problem
from worker.kinds.registry import kind_of
from worker.records import record
from worker.storage.engine import Database
from worker.storage.linked import Question, iter_questions


@record
class BatchRows:
    """Rows of a batch, to be asked again."""

    batch: str
    """As ``find_batch`` takes it."""
    states: tuple[JobState, ...] = ()
    """None: all that have ended."""
    codes: tuple[str, ...] = ()
    answers: AnswerFilter = ANY_ANSWER


_PRIORITIES = ("interactive", "high", "normal", "bulk")


def write_rows(
    database: Database, batch: Batch, rows: BatchRows, folder: Path, *, models: Collection[str]
) -> tuple[Path, int]:
    """Write what these rows asked to a file in ``folder``, and how many they are. With ``models`` the lines name none,
    and an input that was asked of several is there once.

    Deadlines of then are left out. Raises InputRefused where there is no such row; DatabaseUnavailable, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    count = 0
    chosen = Selection(
        batch.id,
        states=frozenset(rows.states or FINAL),
        codes=frozenset(rows.codes) or None,
        parts=True,
        answers=rows.answers,
    )
    with tempfile.NamedTemporaryFile(
        "wb", dir=folder, prefix=f"from-{batch.id}-", suffix=".jsonl", delete=False
    ) as file:
        path = Path(file.name)  # of its own: two may be asked at once
        try:
            for question in _each(iter_questions(database, chosen), once=bool(models)):
                line = (
                    json.dumps(_line(question, chosen, named=not models), ensure_ascii=False).encode() + b"\n"
                )
                file.write(line)
                count += 1
            if not count:
                message = f"--from: batch {batch.id} has no row {_described(rows)}"
                raise InputRefused([Problem(0, "from", "empty", message)])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path, count


def _each(questions: Iterator[Question], *, once: bool) -> Iterator[Question]:
    seen: set[str] = set()
    for question in questions:
        if once:
            if question.custom_id in seen:
                continue
            seen.add(question.custom_id)
        yield question


def _line(question: Question, chosen: Selection, *, named: bool) -> dict[str, object]:
    line: dict[str, object] = {"custom_id": question.custom_id}
    if named:
        line["model"] = question.model
    line |= {
        **kind_of(question.kind).shape.line_fields(question.prompt, question.request),
        "priority": _PRIORITIES[question.priority],
    }
    if question.metadata is not None:
        line["metadata"] = question.metadata
    if question.after:
        # what is asked again too goes by its name there; of what is not, the answer of then holds
        line["after"] = [
            parent.custom_id
            if parent.batch_id == chosen.batch_id
            and (chosen.states is None or parent.state in chosen.states)
            and not (chosen.codes or chosen.answers)
            else parent.id
            for parent in question.after
        ]
        line["carry"] = "context" if question.carries else "none"
        line["after_failed"] = "release" if question.release else "fail"
    return line


def _described(rows: BatchRows) -> str:
    states = ", ".join(sorted(rows.states)) if rows.states else "that has ended"
    codes = f" with code {', '.join(sorted(rows.codes))}" if rows.codes else ""
    answers = "".join(
        f", {what}"
        for what, condition in (
            ("cut", rows.answers.cut),
            ("empty", rows.answers.empty),
            (f"with prompt_fit {' or '.join(sorted(rows.answers.fits))}", rows.answers.fits),
        )
        if condition
    )
    return f"{'in state ' if rows.states else ''}{states}{codes}{answers}"


_BEGINNINGS = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".xlsx"), (b"\xd0\xcf\x11\xe0", ".xls"))
"""Of tables that are no text."""


def keep_standard_input(stream: BinaryIO, folder: Path, *, rows: bool = False) -> Path:
    """Copy ``stream`` into ``folder`` under the name of its hash, so that a run of it can be told from another.

    ``rows``: a template is there to make jobs of them, so what does not begin as JSON lines do is a CSV.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile("wb", dir=folder, prefix="stdin-", suffix=".part", delete=False) as file:
        partial = Path(file.name)  # of its own: two may be piped in at once
        try:
            while block := stream.read(1 << 20):
                digest.update(block)
                file.write(block)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    with partial.open("rb") as file:
        kept = folder / f"stdin-{digest.hexdigest()[:16]}{_ending(file.read(1024), rows=rows)}"
    partial.rename(kept)
    return kept


def _ending(head: bytes, *, rows: bool) -> str:
    """The ending of a file that begins so."""
    for begin, ending in _BEGINNINGS:
        if head.startswith(begin):
            return ".ods" if ending == ".xlsx" and b"opendocument.spreadsheet" in head else ending
    return ".csv" if rows and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else ".jsonl"
