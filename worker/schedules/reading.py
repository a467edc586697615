"""The documents of a schedule, each read, or with what is wrong with it."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from worker.documents.bounded import Reader
from worker.documents.cache import CachedReader, TextCache
from worker.documents.leave_out import OmissionCounts
from worker.documents.read import Document, read_all
from worker.documents.sources import DocumentFile, find_documents
from worker.domain.schedules import ScheduleSpec
from worker.door.document_lines import custom_id_of
from worker.errors import DocumentRefused, ExtraMissing, InputRefused, Problem
from worker.records import record
from worker.schedules.rows import identified
from worker.schedules.spec import rules_of

WRITTEN = (".answer.md", ".answer.json")
"""How files end that we wrote ourselves: they are no documents."""


@record
class ReadDocument:
    """A document, or why it has no text."""

    custom_id: str
    path: str
    document: Document | None = None
    code: str | None = None
    message: str | None = None
    unsettled: bool = False
    """Somebody may still be writing the file: it, and all that is in it, waits for the next firing."""


class Reading(Protocol):
    """Reads the documents of a schedule, in the order of their names."""

    def __call__(
        self, spec: ScheduleSpec, *, left_out: OmissionCounts | None = None, settled: "Settled | None" = None
    ) -> Iterator[ReadDocument]: ...


@record
class Settled:
    """Which files somebody may still be writing: those that changed between ``since`` and ``now``."""

    since: datetime
    now: datetime

    def is_fresh(self, file: DocumentFile) -> bool:
        """A file that will change in the future bears the time of another clock, which says nothing."""
        return self.since < file.mtime <= self.now


def read_documents(
    spec: ScheduleSpec,
    *,
    left_out: OmissionCounts | None = None,
    settled: Settled | None = None,
    texts: TextCache | None = None,
    commands: bool = True,
) -> Iterator[ReadDocument]:
    """Every document; one that cannot be read with its code. Raises InputRefused where a root is not there, and for an extractor
    where no ``commands`` are run.

    ``left_out`` counts the files that match and are no documents. With ``settled``, a file that was changed just now is
    handed out as not settled. ``texts`` holds what was read before.
    """
    if spec.extract is not None and not commands:
        message = "--extract: nobody runs commands on this fleet; CARAVAN_NOTIFY_COMMANDS=true allows it"
        raise InputRefused([Problem(0, "extract", "cannot_apply", message)])
    with Reader() if texts is None else CachedReader(texts) as reader:
        for file in find_documents(spec.documents, spec.roots, exclude=spec.exclude, left_out=left_out):
            if file.name.endswith(WRITTEN):
                continue
            if settled is not None and settled.is_fresh(file):
                yield ReadDocument(custom_id_of(file.name), file.path, unsettled=True)
                if left_out is not None:
                    left_out["unsettled"] += 1
                continue
            for document in identified(_read(file, reader, spec), spec.id):
                if isinstance(document, DocumentRefused):
                    name = file.name + document.path.removeprefix(file.path)  # of a row, or an attachment
                    yield ReadDocument(
                        custom_id_of(name), document.path, code=document.code, message=document.message
                    )
                else:
                    yield ReadDocument(custom_id_of(document.name), document.path, document)


def _read(file: DocumentFile, reader: Reader, spec: ScheduleSpec) -> Iterator[Document | DocumentRefused]:
    """A kind of document that this installation cannot read does not stop the others of the night."""
    try:
        yield from read_all(file, rules_of(spec), reader=reader)
    except ExtraMissing as error:
        yield DocumentRefused(file.path, "unreadable", str(error))


def reading_of(home: Path, *, commands: bool) -> Reading:
    """The reading of schedules on this machine: texts are kept under its home; whether it runs ``commands`` of schedules."""
    return partial(read_documents, texts=texts_of(home), commands=commands)


def texts_of(home: Path) -> TextCache:
    """Where this machine keeps the texts of documents that it has read."""
    return TextCache(home / "texts")
