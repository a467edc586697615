"""Plain text, and Markdown with its front matter."""

import codecs

from worker.documents.encodings import decoded
from worker.documents.formats.charsets import xml_label
from worker.documents.formats.front_matter import split_front_matter
from worker.documents.formats.limits import Content, Refused, clean, content

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x1b\x1a\x08")


def decode_text(data: bytes, encoding: str | None) -> tuple[str, str]:
    """The text, and the encoding it was read in. Raises Refused where the bytes are no text."""
    head = data[:65536]
    if encoding is None and not head.startswith(_WIDE_MARKS):
        if b"\x00" in head:
            raise Refused(
                "unreadable",
                "not a text: it holds zero bytes. Save it as a text, a PDF or a .docx; "
                "a text in UTF-16 without a byte order mark needs --encoding utf-16-le or utf-16-be",
            )
        controls = len(head) - len(head.translate(None, _CONTROLS))
        if controls * 20 > len(head):
            raise Refused("unreadable", "not a text: it is full of control characters")
    if encoding is None and (label := xml_label(data.lstrip())) is not None and _is_smaller(label):
        encoding = label
    try:
        text, name = decoded(data, encoding)
    except ValueError as error:
        raise Refused("unreadable", str(error)) from error
    return clean(text), name


def _is_smaller(label: str) -> bool:
    """Whether XML names an encoding that is none of Unicode's, which are recognised."""
    try:
        return not codecs.lookup(label).name.startswith("utf")
    except LookupError:
        return False


def read_text(data: bytes, encoding: str | None) -> Content:
    """The text as it stands. Raises Refused."""
    text, name = decode_text(data, encoding)
    return content(text, encoding=name)


def read_markdown(data: bytes, encoding: str | None) -> Content:
    """The text, its front matter as metadata. Raises Refused."""
    text, name = decode_text(data, encoding)
    metadata, rest = split_front_matter(text)
    return content(rest, metadata=metadata, encoding=name)
