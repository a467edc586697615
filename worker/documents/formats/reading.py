"""The text of these bytes: the right reader for them, and what all readers have in common."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from worker.documents.formats import kinds
from worker.documents.formats.limits import MOST_METADATA, MOST_TEXT, Content, Refused
from worker.extras import advice

_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"<\x00", b"\x00<")


def read_bytes(data: bytes, name: str, encoding: str | None = None) -> Content:
    """What a document says; ``name`` tells its kind. Raises Refused."""
    if not data:
        raise Refused("empty", "the file is empty")
    kinds.check_kind(name, data)
    media_type = kinds.media_type_of(name)
    if media_type in (kinds.HTML, kinds.XHTML) and encoding is None:
        _check_page(data)
    try:
        content = _reader(media_type)(data, encoding)
    except ModuleNotFoundError as error:
        message = (
            f"reading {kinds.ending_of(name)} files needs the package {error.name}. {advice('documents')}"
        )
        raise Refused("unreadable", message) from error
    if len(content["text"]) > MOST_TEXT:
        raise Refused("too_large", f"{len(content['text']):,} characters, at most {MOST_TEXT:,} are read")
    if not content["text"].strip() and not (content.get("attachments") or content.get("refused")):
        raise Refused("no_text", "holds no text")
    content["metadata"] = bounded_metadata(content["metadata"])
    return content


def _reader(media_type: str) -> Callable[[bytes, str | None], Content]:
    """Each is imported where it is needed: their libraries take time to load."""
    if media_type == kinds.MARKDOWN:
        from worker.documents.formats.text import read_markdown

        return read_markdown
    if media_type == kinds.HTML:
        from worker.documents.formats.html import read_html

        return read_html
    if media_type == kinds.XHTML:
        from worker.documents.formats.html import read_xhtml

        return read_xhtml
    if media_type == kinds.PDF:
        from worker.documents.formats.pdf import read_pdf

        return read_pdf
    if media_type == kinds.DOCX:
        from worker.documents.formats.docx import read_docx

        return read_docx
    if media_type == kinds.MAIL:
        from worker.documents.formats.mail import read_mail

        return read_mail
    if media_type == kinds.ZIP:
        from worker.documents.formats.archive import read_archive

        return lambda data, encoding: read_archive(data)
    if media_type == kinds.OFFICE[".epub"]:
        from worker.documents.formats.epub import read_epub

        return read_epub
    if media_type == kinds.OFFICE[".pptx"]:
        from worker.documents.formats.pptx import read_pptx

        return lambda data, encoding: read_pptx(data)
    if media_type == kinds.OFFICE[".odt"]:
        from worker.documents.formats.odt import read_odt

        return lambda data, encoding: read_odt(data)
    if media_type == kinds.OFFICE[".odp"]:
        from worker.documents.formats.odp import read_odp

        return lambda data, encoding: read_odp(data)
    if media_type in kinds.WORKBOOKS:
        from worker.documents.formats.workbook import read_workbook

        return lambda data, encoding: read_workbook(data)
    if media_type == kinds.OFFICE[".rtf"]:
        from worker.documents.formats.rtf import read_rtf

        return read_rtf
    if media_type in kinds.OFFICE.values():
        from worker.documents.formats.office import read_office

        return lambda data, encoding: read_office(data, media_type)
    from worker.documents.formats.text import read_text

    return read_text


def _check_page(data: bytes) -> None:
    if b"\x00" in data[:65536] and not data.startswith(_WIDE):
        raise Refused("unreadable", "not a page of HTML: it holds zero bytes")


def bounded_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata; of what would weigh more than the document the large values are left out, which is noted."""
    if len(json.dumps(metadata, ensure_ascii=False)) <= MOST_METADATA:
        return dict(metadata)
    small = {
        name: value for name, value in metadata.items() if len(json.dumps(value, ensure_ascii=False)) <= 2000
    }
    if len(json.dumps(small, ensure_ascii=False)) > MOST_METADATA:
        small = {}
    return {**small, "metadata_left_out": f"more than {MOST_METADATA:,} characters"}
