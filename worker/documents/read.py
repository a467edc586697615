"""The text of a document, its pages where it has some, and its metadata.

A document without text is refused by name, so that no model is asked about nothing and invents it.
"""

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

from worker.documents.bounded import Reader
from worker.documents.extract import is_extracted
from worker.documents.formats.kinds import (
    HTML,
    MAIL,
    OFFICE,
    PDF,
    WORKBOOKS,
    XHTML,
    ending_of,
    media_type_of,
)
from worker.documents.names import document_name
from worker.documents.sources import DocumentFile, is_remote, open_inside
from worker.domain.pages import PAGE_BREAK, without_text
from worker.errors import DocumentRefused
from worker.extras import require
from worker.records import record

MOST_BYTES = 128 * 1024 * 1024
"""Of one document."""
PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", *PARQUET)
"""Endings of files whose rows are documents."""
IMAGES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
DPI = 150
MODULES: Mapping[str, tuple[str, ...]] = {
    OFFICE[".msg"]: ("kreuzberg",),
    **dict.fromkeys(WORKBOOKS, ("python_calamine",)),
    **dict.fromkeys((HTML, XHTML, MAIL, OFFICE[".epub"]), ("selectolax", "webencodings")),
    PDF: ("pypdfium2",),
}
"""What reading a kind of document needs beyond the base install; pages as images need ``IMAGE_MODULES``."""
IMAGE_MODULES = ("PIL", "pypdfium2")
DEEPEST_MAIL = 5
"""Messages attached to messages."""
MOST_ATTACHED = 2_000
"""Documents attached to one message or packed in one archive, those within them included."""


Scans = Literal["refuse", "skip", "images"]
"""What is done with pages without text: their document is refused, they are left out by name, or a model sees them."""


@record
class Rules:
    """How documents are read."""

    encoding: str | None = None
    """Of texts that do not say it themselves."""
    as_images: bool = False
    """Pages are shown to a model that sees, and their text is not sent."""
    scans: Scans = "skip"
    extract: str | None = None
    """A command of the user's own that makes Markdown of a file (``worker.documents.extract``)."""
    rows: bool = False
    """Each row of a workbook is a document; else each sheet."""


Render = Callable[[Sequence[int]], tuple[str, ...]]
"""Pages, from 1, as the base64 of pictures. Raises DocumentRefused."""


@record
class Document:
    """A document as it was read."""

    name: str
    """Relative to its root; of a row ``table.csv#LINE``."""
    path: str
    text: str
    pages: tuple[str, ...] | None
    metadata: Mapping[str, Any]
    """Its metadata (title, author, front matter …); of a row its columns."""
    media_type: str
    sha256: str
    """Of its bytes; of a row, of its values."""
    encoding: str | None
    row: bool = False
    image_pages: tuple[int, ...] = ()
    """Pages that are sent as pictures, from 1; they are rendered when the document is asked."""
    render: Render | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()
    """What was odd about it and changed."""

    @property
    def blank_pages(self) -> tuple[int, ...]:
        """Pages without text, such as scans, of a document of which other pages have some."""
        return () if self.pages is None else tuple(self.metadata.get("pages_without_text", ()))


def is_table(name: str) -> bool:
    """Whether each row of this file is a document."""
    return name.lower().removesuffix(".gz").endswith(TABLES)


def _read(
    source: DocumentFile, data: bytes, reader: Reader, rules: Rules
) -> tuple[list[Document | DocumentRefused], list[tuple[str, bytes]]]:
    """The document, of a workbook each sheet, of an archive what cannot be unpacked; and the names and bytes of what it holds
    besides. Raises DocumentRefused."""
    content = _extracted(source, data, reader, rules)
    if content is None and rules.scans == "images" and ending_of(source.name) in IMAGES:
        return [_numbered(_picture(source, data))], []
    content = content or _content(source, data, reader, rules)
    pages = content["pages"]
    document = Document(
        source.name,
        source.path,
        content["text"],
        None if pages is None else tuple(pages),
        content["metadata"],
        media_type_of(source.name),
        hashlib.sha256(data).hexdigest(),
        content["encoding"],
    )
    attached = [(name, base64.b64decode(written)) for name, written in content.get("attachments", ())]
    if content.get("sheets"):
        return [_sheet(document, *sheet) for sheet in content["sheets"]], attached
    if document.blank_pages and rules.scans == "refuse":
        message = f"can be read only {without_text(document.blank_pages, len(pages))}"
        raise DocumentRefused(source.path, "no_text", message, pages=document.blank_pages)
    if document.blank_pages and rules.scans == "images":
        document = _numbered(
            replace(document, image_pages=document.blank_pages, render=_renders(source, data, reader))
        )
    if document.text.strip():
        return [document], attached
    inside = ((document_name(name), *why) for name, *why in content.get("refused", ()))
    return [DocumentRefused(f"{source.path}/{name}", *why) for name, *why in inside], attached


def _extracted(source: DocumentFile, data: bytes, reader: Reader, rules: Rules) -> dict[str, Any] | None:
    """What the user's own command makes of it; None where there is none, or it leaves the document to us."""
    if rules.extract is None or not data or not is_extracted(source.name, data):
        return None
    return reader.extract(source.path, data, source.name, rules.extract)


def _content(source: DocumentFile, data: bytes, reader: Reader, rules: Rules) -> dict[str, Any]:
    """What the reader makes of it; of a scan that a model is to see, pages without a word."""
    if needed := MODULES.get(media_type_of(source.name)):
        require("documents", f"{source.path}: reading this kind of document", *needed)
    try:
        return reader.read(source.path, data, source.name, rules.encoding)
    except DocumentRefused as refused:
        if rules.scans != "images" or refused.code != "no_text" or not refused.pages:
            raise
        metadata = {"pages_without_text": list(refused.pages)}
        return {"text": "", "pages": [""] * len(refused.pages), "metadata": metadata, "encoding": None}


def _numbered(document: Document) -> Document:
    """The document with a mark where each picture belongs: a model gets them apart from the text."""
    pages = list(document.pages or [""])
    for number, page in enumerate(document.image_pages, start=1):
        pages[page - 1] = f"[page {page}: image {number}]"
    metadata = {name: value for name, value in document.metadata.items() if name != "pages_without_text"}
    return replace(
        document,
        text=PAGE_BREAK.join(pages),
        pages=None if document.pages is None else tuple(pages),
        metadata={**metadata, "pages_as_images": list(document.image_pages)},
    )


def _sheet(workbook: Document, name: str, text: str, notes: Sequence[str]) -> Document:
    """A sheet is known by what it says: another one that changes does not touch it."""
    spelled = document_name(name.replace("/", "_"))
    return replace(
        workbook,
        name=f"{workbook.name}/{spelled}",
        path=f"{workbook.path}/{spelled}",
        text=text,
        metadata={**workbook.metadata, "sheet": name},
        sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
        notes=tuple(notes),
    )


def _with_attachments(
    source: DocumentFile, data: bytes, reader: Reader, rules: Rules
) -> Iterator[Document | DocumentRefused]:
    """The document and what is attached to it or packed in it (``mail.eml/report.pdf``), also to messages within it.

    Raises DocumentRefused for the document itself; of an attachment that cannot be read it is handed out.
    """
    if rules.rows and media_type_of(source.name) in WORKBOOKS:
        yield from _sheet_rows(source, data, reader)
        return
    documents, attached = _read(source, data, reader, rules)
    yield from documents
    todo = [(source, name, part, 1) for name, part in reversed(attached)]
    count = 0
    while todo:
        outer, name, part, depth = todo.pop()
        spelled = document_name(name)
        here = replace(outer, name=f"{outer.name}/{spelled}", path=f"{outer.path}/{spelled}", size=len(part))
        count += 1
        if count > MOST_ATTACHED:
            yield DocumentRefused(here.path, "too_large", f"at most {MOST_ATTACHED:,} attachments are read")
            return
        if depth > DEEPEST_MAIL:
            limit = f"at most {DEEPEST_MAIL} messages or archives within each other are read"
            yield DocumentRefused(here.path, "too_large", limit)
            continue
        try:
            if is_table(name):
                yield from rows_of(here, part, reader, encoding=rules.encoding)
                continue
            if rules.rows and media_type_of(name) in WORKBOOKS:
                yield from _sheet_rows(here, part, reader)
                continue
            documents, attached = _read(here, part, reader, rules)
        except DocumentRefused as refused:
            yield refused
            continue
        yield from documents
        todo += [(here, inner, data, depth + 1) for inner, data in reversed(attached)]


def read_images(source: DocumentFile, *, reader: Reader | None) -> Document:
    """The pages of a PDF, or an image, for a model that sees; its text is empty. Raises DocumentRefused, ExtraMissing."""
    data = _bytes_of(source)
    if ending_of(source.name) in IMAGES:
        return _picture(source, data)
    if media_type_of(source.name) != PDF:
        message = "--pages-as-images shows PDF, PNG, JPEG and WebP files; leave it out, and the text is sent"
        raise DocumentRefused(source.path, "unknown_format", message)
    render = _renders(source, data, reader)
    with nullcontext(reader) if reader is not None else Reader() as using:
        pages = using.pages(source.path, data)
    return Document(
        source.name,
        source.path,
        "",
        None,
        {"pages": pages},
        PDF,
        hashlib.sha256(data).hexdigest(),
        None,
        image_pages=tuple(range(1, pages + 1)),
        render=render,
    )


def _picture(source: DocumentFile, data: bytes) -> Document:
    """A picture is a document of one page. Raises DocumentRefused."""
    if not data:
        raise DocumentRefused(source.path, "empty", "the file is empty")
    media_type, digest = IMAGES[ending_of(source.name)], hashlib.sha256(data).hexdigest()
    return Document(
        source.name,
        source.path,
        "",
        None,
        {},
        media_type,
        digest,
        None,
        image_pages=(1,),
        render=lambda pages: (base64.b64encode(data).decode(),),
    )


def _renders(source: DocumentFile, data: bytes, reader: Reader | None) -> Render:
    """Renders pages of these bytes, which are held until the document is let go. Raises ExtraMissing."""
    require("documents", f"{source.path}: rendering its pages", *IMAGE_MODULES)

    def render(pages: Sequence[int]) -> tuple[str, ...]:
        with nullcontext(reader) if reader is not None else Reader() as using:
            return tuple(using.render(source.path, data, DPI, pages))

    return render


def read_rows(
    source: DocumentFile, *, reader: Reader | None = None, encoding: str | None = None
) -> Iterator[Document | DocumentRefused]:
    """Each row of a table as a document, its columns in ``metadata``; a bad row as its problem.

    The text is the column ``text`` where there is one, else the row as lines ``column: value``. Raises DocumentRefused for
    what is wrong with the whole file, and ExtraMissing.
    """
    with nullcontext(reader) if reader is not None else Reader() as using:
        yield from rows_of(source, _bytes_of(source), using, encoding=encoding)


def rows_of(
    source: DocumentFile, data: bytes, reader: Reader, *, encoding: str | None = None
) -> Iterator[Document | DocumentRefused]:
    """The same of bytes at hand."""
    if source.name.lower().removesuffix(".gz").endswith(PARQUET):
        require("parquet", f"{source.path}: reading Parquet")
    with tempfile.NamedTemporaryFile(prefix="caravan-", suffix=_endings(source.name)) as copy:
        copy.write(data)  # a copy cannot be exchanged for a link while its rows are read
        copy.flush()
        for row in reader.rows(source.path, Path(copy.name), source.name, encoding):
            yield _row(source, row)


def read_all(
    source: DocumentFile,
    rules: Rules = Rules(),
    *,
    reader: Reader | None = None,
) -> Iterator[Document | DocumentRefused]:
    """What this file holds: one document, or one a row. What cannot be read is handed out, so that the others go on."""
    try:
        if is_table(source.name):
            yield from read_rows(source, reader=reader, encoding=rules.encoding)
        elif rules.as_images:
            yield read_images(source, reader=reader)
        else:
            with nullcontext(reader) if reader is not None else Reader() as using:
                yield from _with_attachments(source, _bytes_of(source), using, rules)
    except DocumentRefused as refused:
        yield refused


def _sheet_rows(source: DocumentFile, data: bytes, reader: Reader) -> Iterator[Document | DocumentRefused]:
    """Each row of each sheet, ``book.xlsx/Prices#2``. Raises DocumentRefused, ExtraMissing."""
    require(
        "documents", f"{source.path}: reading this kind of document", *MODULES[media_type_of(source.name)]
    )
    if not data:
        raise DocumentRefused(source.path, "empty", "the file is empty")
    for row in reader.sheet_rows(source.path, data, source.name):
        spelled = document_name(row["sheet"].replace("/", "_"))
        sheet = replace(source, name=f"{source.name}/{spelled}", path=f"{source.path}/{spelled}")
        yield _row(sheet, row)


def _row(source: DocumentFile, row: Mapping[str, Any]) -> Document | DocumentRefused:
    """A row as ``formats.rows.read_rows`` hands it out."""
    place = f"{source.path}#{row['line']}" if row["line"] else source.path
    if "refused" in row:
        code, message = row["refused"]
        return DocumentRefused(place, code, message)
    metadata = row["metadata"]
    return Document(
        f"{source.name}#{row['line']}",
        place,
        metadata["text"] if row["text"] is None else row["text"],
        None,
        metadata,
        "application/x-row",
        row["sha256"],
        row["encoding"],
        row=True,
        notes=tuple(row["notes"]),
    )


def _endings(name: str) -> str:
    base = name.rpartition("/")[2].lower()
    return "." + ".".join(base.split(".")[1:][-2:])


def _bytes_of(source: DocumentFile) -> bytes:
    """Raises DocumentRefused."""
    if is_remote(source.path):
        from worker.documents.buckets import fetched  # fsspec is an extra

        return fetched(source, MOST_BYTES)
    with os.fdopen(open_inside(source), "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise DocumentRefused(
                    source.path, "too_large", f"{size:,} bytes, at most {MOST_BYTES:,} are read"
                )
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise DocumentRefused(source.path, "unreadable", error.strerror or str(error)) from error
    if len(data) > MOST_BYTES:
        raise DocumentRefused(source.path, "too_large", f"more than {MOST_BYTES:,} bytes")
    return data
