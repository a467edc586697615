"""The documents of a schedule, each read, or with what is wrong with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.documents.bounded import Reader
from worker.documents.read import read_all
from worker.documents.sources import find_documents
from worker.errors import DocumentRefused
from worker.services.documents import custom_id_of, metadata_of, values_of

WRITTEN = (".answer.md", ".answer.json")
"""How files end that we wrote ourselves: they are no documents."""


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document, or why it has no text."""

    custom_id: str
    path: str
    sha256: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    """What a template may say of it."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of its job."""
    code: str | None = None
    message: str | None = None


class Reading(Protocol):
    """Reads the documents that match patterns under roots, in the order of their names."""

    def __call__(self, patterns: Sequence[str], roots: Sequence[str]) -> Iterator[ReadDocument]: ...


def read_documents(patterns: Sequence[str], roots: Sequence[str]) -> Iterator[ReadDocument]:
    """Every document; one that cannot be read with its code. Raises InputRefused where a root is not there."""
    with Reader() as reader:
        for found in find_documents(patterns, roots):
            if found.name.endswith(WRITTEN):
                continue
            for one in read_all(found, reader=reader):
                if isinstance(one, DocumentRefused):
                    row = one.path.partition("#")[2]
                    name = f"{found.name}#{row}" if row else found.name
                    yield ReadDocument(custom_id_of(name), one.path, code=one.code, message=one.message)
                else:
                    yield ReadDocument(
                        custom_id_of(one.name),
                        one.path,
                        one.sha256,
                        values_of(one, one.text),
                        metadata_of(one),
                    )
