"""The text of a document, its pages where it has some, and what it tells of itself.

A document without text is refused by name, so that no model is asked about nothing and invents it.
"""

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from api_schemas.json_text import NotJson, Repair, load_json
from worker.documents.bounded import Reader
from worker.documents.formats.kinds import HTML, MAIL, PDF, XHTML, media_type_of
from worker.documents.names import document_name
from worker.documents.sources import Found, is_remote, open_inside
from worker.errors import DocumentRefused, InputRefused
from worker.extras import require

MOST_BYTES = 128 * 1024 * 1024
"""Of one document."""
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
"""Endings of files whose rows are documents."""
IMAGES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
DPI = 150
MODULES: Mapping[str, tuple[str, ...]] = {
    HTML: ("selectolax", "webencodings"),
    XHTML: ("selectolax", "webencodings"),
    MAIL: ("selectolax", "webencodings"),
    PDF: ("pypdfium2",),
}
"""What reading a kind of document needs beyond the base install; pages as images need ``IMAGE_MODULES``."""
IMAGE_MODULES = ("PIL", "pypdfium2")
DEEPEST_MAIL = 5
"""Messages attached to messages."""
MOST_ATTACHED = 2_000
"""Documents attached to one message, those within its attachments included."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read."""

    name: str
    """Relative to its root; of a row ``table.csv#LINE``."""
    path: str
    text: str
    pages: tuple[str, ...] | None
    metadata: Mapping[str, Any]
    """What it tells of itself (title, author, front matter …); of a row its columns."""
    media_type: str
    sha256: str
    """Of its bytes; of a row, of its values."""
    encoding: str | None
    row: bool = False
    images: tuple[str, ...] = ()
    """Base64 of its pages, where they were asked for."""
    notes: tuple[str, ...] = ()
    """What was odd about it and changed."""

    @property
    def blank_pages(self) -> tuple[int, ...]:
        """Pages without text, such as scans, of a document of which other pages have some."""
        return () if self.pages is None else tuple(self.metadata.get("pages_without_text", ()))


def is_table(name: str) -> bool:
    """Whether each row of this file is a document."""
    return name.lower().removesuffix(".gz").endswith(TABLES)


def read_document(found: Found, *, reader: Reader | None = None, encoding: str | None = None) -> Document:
    """The document, of a message without its attachments. ``reader`` is kept over many of them; without one a child process is
    started for this one.

    Raises DocumentRefused: unreadable, unknown_format, encrypted, no_text, empty, too_large, outside_root. Raises ExtraMissing.
    """
    with nullcontext(reader) if reader is not None else Reader() as using:
        return _read(found, _bytes_of(found), using, encoding)[0]


def _read(
    found: Found, data: bytes, reader: Reader, encoding: str | None
) -> tuple[Document, list[tuple[str, bytes]]]:
    """The document, and the names and bytes of what is attached to it. Raises DocumentRefused."""
    if needed := MODULES.get(media_type_of(found.name)):
        require("documents", f"{found.path}: reading this kind of document", *needed)
    content = reader.read(found.path, data, found.name, encoding)
    pages = content["pages"]
    document = Document(
        found.name,
        found.path,
        content["text"],
        None if pages is None else tuple(pages),
        content["metadata"],
        media_type_of(found.name),
        hashlib.sha256(data).hexdigest(),
        content["encoding"],
    )
    attached = [(name, base64.b64decode(written)) for name, written in content.get("attachments", ())]
    return document, attached


def _with_attachments(
    found: Found, data: bytes, reader: Reader, encoding: str | None
) -> Iterator[Document | DocumentRefused]:
    """The document and, of a message, what is attached to it (``mail.eml/report.pdf``), also to messages within it.

    Raises DocumentRefused for the document itself; of an attachment that cannot be read it is handed out.
    """
    document, attached = _read(found, data, reader, encoding)
    yield document
    todo = [(found, name, part, 1) for name, part in reversed(attached)]
    count = 0
    while todo:
        outer, name, part, depth = todo.pop()
        spelled = document_name(name)
        here = replace(outer, name=f"{outer.name}/{spelled}", path=f"{outer.path}/{spelled}", size=len(part))
        count += 1
        if depth > DEEPEST_MAIL or count > MOST_ATTACHED:
            limit = f"at most {DEEPEST_MAIL} messages within each other and {MOST_ATTACHED:,} attachments are read"
            yield DocumentRefused(here.path, "too_large", limit)
            return
        try:
            if is_table(name):
                yield from rows_of(here, part, encoding=encoding)
                continue
            document, attached = _read(here, part, reader, encoding)
        except DocumentRefused as refused:
            yield refused
            continue
        yield document
        todo += [(here, inner, data, depth + 1) for inner, data in reversed(attached)]


def read_images(found: Found, *, reader: Reader | None = None, dpi: int = DPI) -> Document:
    """The pages of a PDF, or an image, for a model that sees; its text is empty. Raises DocumentRefused, ExtraMissing."""
    data = _bytes_of(found)
    ending = PurePosixPath(found.name).suffix.lower()
    digest = hashlib.sha256(data).hexdigest()
    if ending in IMAGES:
        if not data:
            raise DocumentRefused(found.path, "empty", "the file is empty")
        image = base64.b64encode(data).decode()
        return Document(found.name, found.path, "", None, {}, IMAGES[ending], digest, None, images=(image,))
    if media_type_of(found.name) != PDF:
        message = "--pages-as-images shows PDF, PNG, JPEG and WebP files; leave it out, and the text is sent"
        raise DocumentRefused(found.path, "unknown_format", message)
    require("documents", f"{found.path}: rendering its pages", *IMAGE_MODULES)
    with nullcontext(reader) if reader is not None else Reader() as using:
        images = tuple(using.render(found.path, data, dpi))
    metadata = {"pages": len(images)}
    return Document(
        found.name, found.path, "", None, metadata, "application/pdf", digest, None, images=images
    )


def read_rows(found: Found, *, encoding: str | None = None) -> Iterator[Document | DocumentRefused]:
    """Each row of a table as a document, its columns in ``metadata``; a row that is none as what is wrong with it.

    The text is the column ``text`` where there is one, else the row as lines ``column: value``. Raises DocumentRefused for
    what is wrong with the whole file.
    """
    yield from rows_of(found, _bytes_of(found), encoding=encoding)


def rows_of(
    found: Found, data: bytes, *, encoding: str | None = None
) -> Iterator[Document | DocumentRefused]:
    """The same of bytes at hand."""
    from worker.documents.tables import open_rows  # reads CSV, JSONL and, with pyarrow, Parquet

    with tempfile.NamedTemporaryFile(prefix="caravan-", suffix=_endings(found.name)) as copy:
        copy.write(data)  # a copy cannot be exchanged for a link while its rows are read
        copy.flush()
        try:
            rows = open_rows(Path(copy.name), encoding=encoding)
            for row in rows:
                if row.problem is None and row.values is None and not (row.raw or b"").strip():
                    continue
                yield _row(found, row, rows.encoding)
        except InputRefused as error:
            problem = error.problems[0]
            code = problem.code if problem.code in {"empty", "too_large"} else "unreadable"
            told = problem.message.replace(copy.name, found.name)
            raise DocumentRefused(found.path, code, told) from error  # type: ignore[arg-type]


def read_all(
    found: Found, *, reader: Reader | None = None, encoding: str | None = None, as_images: bool = False
) -> Iterator[Document | DocumentRefused]:
    """What this file holds: one document, or one a row. What cannot be read is handed out, so that the others go on."""
    try:
        if is_table(found.name):
            yield from read_rows(found, encoding=encoding)
        elif as_images:
            yield read_images(found, reader=reader)
        else:
            with nullcontext(reader) if reader is not None else Reader() as using:
                yield from _with_attachments(found, _bytes_of(found), using, encoding)
    except DocumentRefused as refused:
        yield refused


def _row(found: Found, row: Any, encoding: str) -> Document | DocumentRefused:
    import json

    place = f"{found.path}#{row.line}"
    if row.problem is not None:
        return DocumentRefused(place, "unreadable", row.problem.message)
    values = row.values
    notes: tuple[str, ...] = ()
    if values is None:
        repair = Repair()
        try:
            values = load_json(row.raw)
            if not isinstance(values, dict):
                return DocumentRefused(place, "unreadable", "not a JSON object")
            values = repair.object(values)
        except NotJson as error:
            return DocumentRefused(place, "unreadable", str(error))
        notes = repair.notes()
    written = values.get("text")
    text = (
        written
        if isinstance(written, str)
        else "\n".join(
            f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
            for name, value in values.items()
            if value not in (None, "")
        )
    )
    if not text.strip():
        return DocumentRefused(place, "no_text", "every column is empty")
    digest = hashlib.sha256(
        json.dumps(values, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")
    )
    return Document(
        f"{found.name}#{row.line}",
        place,
        text,
        None,
        values,
        "application/x-row",
        digest.hexdigest(),
        encoding,
        row=True,
        notes=notes,
    )


def _endings(name: str) -> str:
    base = name.rpartition("/")[2].lower()
    return "." + ".".join(base.split(".")[1:][-2:])


def _bytes_of(found: Found) -> bytes:
    """Raises DocumentRefused."""
    if is_remote(found.path):
        from worker.documents.buckets import fetched  # fsspec is an extra

        return fetched(found, MOST_BYTES)
    with os.fdopen(open_inside(found), "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise DocumentRefused(
                    found.path, "too_large", f"{size:,} bytes, at most {MOST_BYTES:,} are read"
                )
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise DocumentRefused(found.path, "unreadable", error.strerror or str(error)) from error
    if len(data) > MOST_BYTES:
        raise DocumentRefused(found.path, "too_large", f"more than {MOST_BYTES:,} bytes")
    return data
