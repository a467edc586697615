"""A file that holds one document."""

from worker.documents.bounded import Reader
from worker.documents.read import Document, read_all
from worker.documents.sources import DocumentFile
from worker.errors import DocumentRefused


def read_document(source: DocumentFile, reader: Reader | None = None) -> Document:
    """The first document of a file. Raises DocumentRefused."""
    document = next(read_all(source, reader=reader))
    if isinstance(document, DocumentRefused):
        raise document
    return document
