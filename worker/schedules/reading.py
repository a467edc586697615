"""The documents of a schedule, each read, or with what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from worker.documents.bounded import Reader
from worker.documents.leave_out import LeftOut
from worker.documents.read import Document, read_all
from worker.documents.sources import Found, find_documents
from worker.domain.schedules import ScheduleSpec
from worker.door.documents import custom_id_of
from worker.errors import DocumentRefused, ExtraMissing

WRITTEN = (".answer.md", ".answer.json")
"""How files end that we wrote ourselves: they are no documents."""


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document, or why it has no text."""

    custom_id: str
    path: str
    document: Document | None = None
    code: str | None = None
    message: str | None = None


class Reading(Protocol):
    """Reads the documents of a schedule, in the order of their names."""

    def __call__(self, spec: ScheduleSpec, *, left_out: LeftOut | None = None) -> Iterator[ReadDocument]: ...


def read_documents(spec: ScheduleSpec, *, left_out: LeftOut | None = None) -> Iterator[ReadDocument]:
    """Every document; one that cannot be read with its code. Raises InputRefused where a root is not there.

    ``left_out`` counts the files that match and are no documents, before the first document is yielded.
    """
    with Reader() as reader:
        for found in find_documents(spec.documents, spec.roots, exclude=spec.exclude, left_out=left_out):
            if found.name.endswith(WRITTEN):
                continue
            for one in _read(found, reader, spec):
                if isinstance(one, DocumentRefused):
                    name = found.name + one.path.removeprefix(found.path)  # of a row, or an attachment
                    yield ReadDocument(custom_id_of(name), one.path, code=one.code, message=one.message)
                else:
                    yield ReadDocument(custom_id_of(one.name), one.path, one)


def _read(found: Found, reader: Reader, spec: ScheduleSpec) -> Iterator[Document | DocumentRefused]:
    """A kind of document that this installation cannot read does not stop the others of the night."""
    try:
        yield from read_all(found, reader=reader, as_images=spec.pages_as_images, encoding=spec.encoding)
    except ExtraMissing as error:
        yield DocumentRefused(found.path, "unreadable", str(error))
