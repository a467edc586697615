"""What text do these bytes hold? One reader per kind of document: text, Markdown, HTML, PDF, DOCX.

Runs in the child process of ``worker.documents.bounded``, which has a bound on memory and is ended when it takes too long:
what it is given may be hostile. Each reader imports its library itself.
"""

import codecs
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from worker.documents.encodings import decoded
from worker.errors import DocumentCode

MOST_PAGES = 10_000
MOST_TEXT = 16 * 1024 * 1024
"""Characters of one document."""
MOST_UNPACKED = 256 * 1024 * 1024
MOST_METADATA = 64 * 1024
MOST_IMAGES = 64
"""Pages rendered of one document: a request takes no more images."""
IMAGE_SIDE = 4096
"""Pixels."""

KINDS: Mapping[str, str] = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".rst": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
"""Endings and what they mean; any other is read as text, and refused where its bytes are none."""


class Refused(Exception):
    """Of a child: becomes ``DocumentRefused``, which knows the path."""

    def __init__(self, code: DocumentCode, message: str, pages: tuple[int, ...] = ()) -> None:
        self.code: DocumentCode = code
        self.message = message
        self.pages = pages
        super().__init__(message)


def media_type_of(name: str) -> str:
    """
    >>> media_type_of("a/B.PDF"), media_type_of("README")
    ('application/pdf', 'text/plain')
    """
    ending = f".{name.rpartition('.')[2].lower()}" if "." in name.rpartition("/")[2] else ""
    return KINDS.get(ending, "text/plain")


def read_bytes(data: bytes, media_type: str, encoding: str | None = None) -> dict[str, Any]:
    """``text``, ``pages`` (or None), ``metadata`` and ``encoding`` of a document. Raises Refused."""
    if not data:
        raise Refused("empty", "the file is empty")
    readers: dict[str, Callable[[bytes, str | None], dict[str, Any]]] = {
        "text/plain": _text,
        "text/markdown": _markdown,
        "text/html": _html,
        "application/pdf": _pdf,
        KINDS[".docx"]: _docx,
    }
    said = readers[media_type](data, encoding)
    if len(said["text"]) > MOST_TEXT:
        raise Refused("too_large", f"{len(said['text']):,} characters, at most {MOST_TEXT:,} are read")
    if not said["text"].strip():
        raise Refused("no_text", "holds no text", tuple(said.get("blank", ())))
    said.pop("blank", None)
    return said


def render_pages(data: bytes, dpi: int) -> list[str]:
    """Each page of a PDF as the base64 of a PNG. Raises Refused."""
    import base64

    pdf = _opened_pdf(data)
    if len(pdf) > MOST_IMAGES:
        raise Refused(
            "too_large", f"{len(pdf):,} pages, at most {MOST_IMAGES} can be sent as images of one request"
        )
    images = []
    for page in pdf:
        scale = min(dpi / 72, IMAGE_SIDE / max(1.0, *page.get_size()))
        file = io.BytesIO()
        page.render(scale=scale).to_pil().convert("RGB").save(file, "PNG")
        images.append(base64.b64encode(file.getvalue()).decode())
        page.close()
    return images


def _clean(text: str) -> str:
    """Without what no database holds alike: NUL, lone surrogates; line ends as ``\\n``."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _decoded(data: bytes, encoding: str | None) -> tuple[str, str]:
    head = data[:65536]
    if (
        encoding is None
        and b"\x00" in head
        and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    ):
        raise Refused("unreadable", "not a text: it holds zero bytes (binary, or UTF-16 without a mark)")
    try:
        text, found = decoded(data, encoding)
    except ValueError as error:
        raise Refused("unreadable", str(error)) from error
    return _clean(text), found


def _text(data: bytes, encoding: str | None) -> dict[str, Any]:
    text, found = _decoded(data, encoding)
    return {"text": text, "pages": None, "metadata": {}, "encoding": found}


_FRONT = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def _markdown(data: bytes, encoding: str | None) -> dict[str, Any]:
    """Front matter (YAML between two lines of dashes) becomes metadata; what is none stays text."""
    said = _text(data, encoding)
    front = _FRONT.match(said["text"][: MOST_METADATA + 16])
    if front is None:
        return said
    import yaml

    try:
        values = yaml.safe_load(front[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return said
    if not isinstance(values, dict):
        return said
    said["metadata"] = {str(name): _plain(value, [10_000]) for name, value in values.items()}
    said["text"] = said["text"][front.end() :].lstrip("\n")
    return said


def _plain(value: Any, budget: list[int], depth: int = 0) -> Any:
    """As JSON holds it. YAML's aliases may make much of little: so many values are taken, and no more."""
    budget[0] -= 1
    if budget[0] < 0 or depth > 20:
        raise Refused("too_large", "its front matter holds too many values")
    match value:
        case None | bool() | int() | str():
            return _clean(value) if isinstance(value, str) else value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date():
            return value.isoformat()
        case dict():
            return {str(name): _plain(one, budget, depth + 1) for name, one in value.items()}
        case list() | tuple() | set():
            return [_plain(one, budget, depth + 1) for one in value]
        case _:
            return str(value)


_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_HIDDEN = "script,style,noscript,template,svg,head,iframe,object,[hidden],[aria-hidden=true]"
_BLOCKS = frozenset(
    {
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "dd",
            "details",
            "div",
            "dl",
            "dt",
            "fieldset",
        ),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li"),
        *("main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "td", "th", "tr", "ul"),
    }
)
_CELLS = frozenset({"td", "th"})


def _html(data: bytes, encoding: str | None) -> dict[str, Any]:
    """What a reader sees, a block a paragraph; headings as in Markdown, so that a split finds them."""
    from selectolax.lexbor import LexborHTMLParser

    named = _CHARSET.search(data[:4096])
    text, found = "", ""
    if encoding is None and named is not None and not data.startswith((codecs.BOM_UTF8,)):
        try:
            text, found = _decoded(data, named[1].decode("ascii"))
        except Refused:
            found = ""
    if not found:
        text, found = _decoded(data, encoding)
    tree = LexborHTMLParser(text)
    metadata: dict[str, Any] = {}
    title = tree.css_first("title")
    if title is not None and title.text(strip=True):
        metadata["title"] = " ".join(title.text().split())[:1000]
    for node in tree.css("meta[name][content]"):
        name = (node.attributes.get("name") or "").lower()
        if name in {"author", "description", "keywords", "date"}:
            metadata[name] = (node.attributes.get("content") or "")[:2000]
    root = tree.root
    language = root.attributes.get("lang") if root is not None else None
    if language:
        metadata["language"] = language[:40]
    for node in tree.css(_HIDDEN):
        node.decompose()
    body = tree.body
    return {
        "text": _visible(body) if body is not None else "",
        "pages": None,
        "metadata": metadata,
        "encoding": found,
    }


def _visible(body: Any) -> str:
    parts: list[str] = []
    kept = 0
    for node in body.traverse(include_text=True):
        tag = node.tag
        if tag == "-text":
            said = node.text_content or ""
            inside = node.parent
            while inside is not None and inside.tag not in _BLOCKS:
                inside = inside.parent
            if inside is not None and inside.tag == "pre":
                parts.append(said.replace("\n", "\x01"))
            else:
                parts.append(re.sub(r"\s+", " ", said))
            kept += len(said)
            if kept > MOST_TEXT:
                raise Refused("too_large", f"more than {MOST_TEXT:,} characters")
        elif tag in _CELLS:
            parts.append("\t")
        elif tag == "br":
            parts.append("\n")
        elif re.fullmatch(r"h[1-6]", tag or ""):
            parts.append("\n\n" + "#" * int(tag[1]) + " ")
        elif tag in _BLOCKS:
            parts.append({"li": "\n- ", "tr": "\n"}.get(tag, "\n\n"))
        after = _after(node)
        if after:
            parts.append(after)
    lines = [line.strip(" ") for line in "".join(parts).split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip("\t") for line in lines))
    return re.sub(r"^- ?\n+(?=\S)", "- ", text, flags=re.MULTILINE).replace("\x01", "\n").strip() + "\n"


def _after(node: Any) -> str:
    """A blank line behind a block whose last text this is."""
    if node.tag != "-text" or node.next is not None:
        return ""
    parent = node.parent
    while parent is not None and parent.tag not in _BLOCKS and parent.next is None:
        parent = parent.parent
    return "\n" if parent is not None and parent.tag in _BLOCKS - _CELLS else ""


def _opened_pdf(data: bytes) -> Any:
    import pypdfium2

    if b"%PDF-" not in data[:1024]:
        raise Refused("unreadable", "not a PDF: it does not begin as one")
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise Refused("encrypted", "encrypted: it opens with a password only") from error
        raise Refused("unreadable", f"not a PDF that can be read: {error}") from error
    if len(pdf) > MOST_PAGES:
        raise Refused("too_large", f"{len(pdf):,} pages, at most {MOST_PAGES:,} are read")
    if not len(pdf):
        raise Refused("empty", "has no page")
    return pdf


def _pdf(data: bytes, _encoding: str | None) -> dict[str, Any]:
    import pypdfium2

    pdf = _opened_pdf(data)
    pages: list[str] = []
    size = 0
    for number in range(len(pdf)):
        try:
            page = pdf[number]
            words = page.get_textpage()
            text = _clean(words.get_text_bounded())
            words.close()
            page.close()
        except pypdfium2.PdfiumError:
            text = ""
        text = text.replace("\x02", "").replace("\ufffe", "")  # pdfium's sign for a hyphen at a line's end
        pages.append(text.strip())
        size += len(text)
        if size > MOST_TEXT:
            raise Refused("too_large", f"more than {MOST_TEXT:,} characters")
    blank = [number for number, text in enumerate(pages, start=1) if not text.strip()]
    if len(blank) == len(pages):
        shown = "1" if len(pages) == 1 else f"1 to {len(pages):,}"
        raise Refused(
            "no_text",
            f"no text on any page ({shown}): a scan? --pages-as-images shows it to a vision model",
            tuple(blank),
        )
    metadata: dict[str, Any] = {}
    for name, value in pdf.get_metadata_dict(skip_empty=True).items():
        metadata[_snake(name)] = _clean(str(value))[:2000]
    if blank:
        metadata["pages_without_text"] = blank
    return {"text": "\n\n".join(pages), "pages": pages, "metadata": metadata, "encoding": None}


def _snake(name: str) -> str:
    """
    >>> _snake("CreationDate"), _snake("Title")
    ('creation_date', 'title')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _docx(data: bytes, _encoding: str | None) -> dict[str, Any]:
    """Paragraphs and tables in their order, headings as in Markdown."""
    import docx
    from docx.opc.exceptions import PackageNotFoundError
    from docx.table import Table

    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Refused(
            "encrypted", "encrypted with a password, or the older .doc format; save it as a plain .docx"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if any(info.flag_bits & 1 for info in archive.infolist()):
                raise Refused("encrypted", "encrypted: it opens with a password only")
        if unpacked > MOST_UNPACKED:
            raise Refused("too_large", f"{unpacked:,} bytes unpacked, at most {MOST_UNPACKED:,} are read")
        document = docx.Document(io.BytesIO(data))
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError, SyntaxError) as error:
        raise Refused("unreadable", f"not a DOCX that can be read: {error}") from error
    parts: list[str] = []
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            parts.append("\n".join(" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows))
            continue
        style = (block.style.name if block.style is not None else "") or ""
        heading = re.fullmatch(r"Heading ([1-6])", style)
        mark = "#" * int(heading[1]) + " " if heading else ("# " if style == "Title" else "")
        parts.append(mark + block.text if block.text.strip() else "")
    core = document.core_properties
    metadata: dict[str, Any] = {}
    for name in ("title", "author", "subject", "keywords", "language"):
        if value := getattr(core, name, None):
            metadata[name] = _clean(str(value))[:2000]
    for name in ("created", "modified"):
        moment = getattr(core, name, None)
        if moment is not None:
            metadata[name] = moment.isoformat()
    text = re.sub(r"\n{3,}", "\n\n", _clean("\n\n".join(parts))).strip() + "\n"
    return {"text": text, "pages": None, "metadata": metadata, "encoding": None}


def bounded_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata that would weigh more than the document is left out, which is said."""
    if len(json.dumps(metadata, ensure_ascii=False)) <= MOST_METADATA:
        return metadata
    return {"metadata_left_out": f"more than {MOST_METADATA:,} characters"}
