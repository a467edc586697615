"""Where the documents of a schedule come from: the one place that knows which readers there are."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.documents.plain import Unreadable, find_documents, read_all

LONGEST_ID = 200
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
    code: str | None = None
    message: str | None = None


class Reading(Protocol):
    """Reads the documents that match patterns under roots, in the order of their names."""

    def __call__(self, patterns: Sequence[str], roots: Sequence[str]) -> Iterator[ReadDocument]: ...


def read_documents(patterns: Sequence[str], roots: Sequence[str]) -> Iterator[ReadDocument]:
    """Every document; one that cannot be read with its code. Raises InputRefused where a root is not there."""
    for found in find_documents(patterns, roots):
        if found.name.endswith(WRITTEN):
            continue
        for document in read_all(found):
            if isinstance(document, Unreadable):
                yield ReadDocument(
                    custom_id_of(found.name), found.path, code=document.code, message=document.message
                )
                continue
            about = {
                "text": document.text,
                "name": document.name,
                "path": document.path,
                "metadata": dict(document.metadata),
            }
            columns = dict(document.metadata) if document.row else {}
            yield ReadDocument(
                custom_id_of(document.name), document.path, document.sha256, {**columns, "document": about}
            )


def custom_id_of(name: str) -> str:
    """The name, or its end and a hash where it is too long for an id.

    >>> custom_id_of("a/b.pdf"), len(custom_id_of("x" * 300))
    ('a/b.pdf', 200)
    """
    if len(name) <= LONGEST_ID:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return f"{digest}~{name[-(LONGEST_ID - 25) :]}"
