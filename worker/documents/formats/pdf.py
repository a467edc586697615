"""PDF: the text of each page, by columns and with its headings, with what its forms and annotations show, and pages as images."""

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

from worker.documents.formats.limits import (
    IMAGE_SIDE,
    MOST_IMAGES,
    MOST_PAGES,
    Content,
    Refused,
    check_size,
    clean,
    content,
)
from worker.documents.formats.pdf_forms import flattened, topmost
from worker.documents.formats.pdf_layout import (
    SizedLine,
    column_text,
    heading_sizes,
    sized_lines,
    with_headings,
)
from worker.documents.formats.pdf_lines import Line, page_lines
from worker.documents.formats.pdf_repeats import without_repeats

_HYPHEN = re.compile("[\x02\ufffe]")
"""pdfium's sign for a hyphen at the end of a line."""
_XFA_FULL = 2


def read_pdf(data: bytes, _encoding: str | None) -> Content:
    """The text of each page; pages without text are listed in ``pages_without_text``. Raises Refused."""
    import pypdfium2

    pdf = _opened(data)
    pages: list[str] = []
    lines: list[list[SizedLine]] = []
    size = 0
    for number in range(len(pdf)):
        try:
            text, sized = _page_text(pdf, number)
        except pypdfium2.PdfiumError:
            text, sized = "", []
        pages.append(text)
        lines.append(sized)
        size += len(text)
        check_size(size)
    blank = [number for number, text in enumerate(pages, start=1) if not text]
    if len(blank) == len(pages):
        shown = "1" if len(pages) == 1 else f"1 to {len(pages):,}"
        raise Refused(
            "no_text",
            f"no text on any page ({shown}): a scan? --scans images shows it to a vision model",
            tuple(blank),
        )
    sizes = heading_sizes([line for page in lines for line in page])
    if sizes:
        pages = [with_headings(text, page, sizes) for text, page in zip(pages, lines, strict=True)]
    pages = without_repeats(pages)
    metadata: dict[str, Any] = {}
    for name, value in pdf.get_metadata_dict(skip_empty=True).items():
        metadata[_snake(name)] = clean(str(value))[:2000]
    if blank:
        metadata["pages_without_text"] = blank
    return content("\n\n".join(pages), metadata=metadata, pages=pages)


def count_pages(data: bytes) -> int:
    """Raises Refused."""
    return len(_opened(data))


def render_pages(data: bytes, dpi: int, pages: Sequence[int]) -> list[str]:
    """Each of these pages, from 1, as a reader shows it, forms filled in, as the base64 of a PNG. Raises Refused."""
    pdf = _opened(data)
    if len(pages) > MOST_IMAGES:
        raise Refused(
            "too_large", f"{len(pages):,} pages, at most {MOST_IMAGES} can be sent as images of one request"
        )
    images = []
    for number in pages:
        page = flattened(pdf, number - 1)
        scale = min(dpi / 72, IMAGE_SIDE / max(1.0, *page.get_size()))
        file = io.BytesIO()
        page.render(scale=scale).to_pil().convert("RGB").save(file, "PNG")
        images.append(base64.b64encode(file.getvalue()).decode())
        page.close()
    return images


def _opened(data: bytes) -> Any:
    import pypdfium2

    if b"%PDF-" not in data[:1024]:
        raise Refused("unreadable", "not a PDF: it does not begin as one")
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise Refused("encrypted", "it opens with a password only; save it without one") from error
        raise Refused("unreadable", f"not a PDF that can be read: {error}") from error
    if len(pdf) > MOST_PAGES:
        raise Refused("too_large", f"{len(pdf):,} pages, at most {MOST_PAGES:,} are read")
    if not len(pdf):
        raise Refused("empty", "has no page")
    if pdf.get_formtype() == _XFA_FULL:
        raise Refused("unreadable", "a dynamic XFA form, which only Adobe Reader shows; print it to a PDF")
    pdf.init_forms()  # before a page is loaded, or its fields have no values
    return pdf


def _page_text(pdf: Any, number: int) -> tuple[str, list[SizedLine]]:
    page = pdf[number]
    words = page.get_textpage()
    lines = page_lines(words)
    own = _own_text(lines)
    sized = [SizedLine(_tidy(line.text), line.size) for line in sized_lines(words, lines)]
    columns = column_text(words)
    top = topmost(pdf, page, words)
    words.close()
    page.close()
    parts = [own]
    if top.flatten:  # what is left of the annotations shows its text once it is part of the page
        again = flattened(pdf, number, without=top.read)
        words = again.get_textpage()
        whole = _own_text(page_lines(words))
        words.close()
        again.close()
        if whole.startswith(own):
            parts.append(whole[len(own) :].strip())
        else:
            parts = [whole]
    if columns is not None and parts[0] == own:
        parts[0] = _tidy(columns)
    there = "\n".join(parts)
    parts += [text for text in map(_tidy, top.notes) if text not in there]
    if top.filled or any(parts):
        parts += [_tidy(line) for line in top.lines]
    return "\n".join(part for part in parts if part), sized


def _own_text(lines: Sequence[Line]) -> str:
    return _tidy("\n".join(line.text for line in lines))


def _tidy(text: str) -> str:
    return _HYPHEN.sub("", clean(text)).strip()


def _snake(name: str) -> str:
    """
    >>> _snake("CreationDate"), _snake("Title")
    ('creation_date', 'title')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
