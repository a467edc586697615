"""Which encoding does a page name? The rules of browsers (WHATWG: HTML, and the Encoding Standard).

A byte order mark wins, then ``--encoding``, then the first ``meta`` that is no comment, then the XML declaration. Labels mean
what they mean in browsers: ``iso-8859-1`` and ``ascii`` are windows-1252, ``shift_jis`` is code page 932, ``euc-kr`` is 949.
"""

import codecs
import re

from worker.documents.encodings import decoded
from worker.documents.formats.limits import Refused, clean

SCANNED = 64 * 1024
"""Bytes in which a page names its encoding. Browsers look at 1,024 first, and at the others once they meet a ``meta`` there."""
_CODECS = {
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "iso-8859-8-i": "iso-8859-8",
    "windows-874": "cp874",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-user-defined": "cp1252",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
"""Python's codec of an encoding of the standard, where it has another name or is larger."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_XML = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']\s*([!-~]{1,40}?)\s*[\"']")
_CHARSET = re.compile(r"charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s;\"']+))", re.IGNORECASE)
_ENDS_ITSELF = re.compile(r"<(title|script|style|noscript|template)((?:\s[^<>]*)?)/>", re.IGNORECASE)
"""What ends itself in XHTML, and in HTML would take the ``meta`` behind it in."""


def codec_of(label: str) -> str | None:
    """Python's codec for a label, as browsers read it; of a label they do not know, Python's own. None where there is none.

    >>> [codec_of(label) for label in ("ISO-8859-1", "x-sjis", "ks_c_5601-1987", "gb2312", "latin-1", "nope")]
    ['cp1252', 'cp932', 'cp949', 'gb18030', 'cp1252', None]
    """
    import webencodings

    encoding = webencodings.lookup(label)
    name = None if encoding is None else encoding.name
    if name is None:
        try:
            name = codecs.lookup(label.strip()).name
            "".encode(name)  # a codec of bytes, such as hex, refuses to be one of text
        except (LookupError, ValueError):
            return None
        encoding = webencodings.lookup(name)
        name = name if encoding is None else encoding.name
    return _CODECS.get(name, name.replace("windows-", "cp"))


def decode_named(data: bytes, codec: str) -> str:
    """Raises UnicodeDecodeError. Bytes that windows-125x leaves free are the control characters that browsers make of them."""
    if codec.startswith("cp125"):
        return data.decode(codec, "caravan-c1")
    return data.decode(codec)


def _as_c1(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and 0x80 <= error.object[error.start] < 0xA0:
        return chr(error.object[error.start]), error.start + 1
    raise error


codecs.register_error("caravan-c1", _as_c1)


def decode_page(data: bytes, encoding: str | None, *, xml: bool = False) -> tuple[str, str]:
    """The page's text, and Python's name of its encoding.

    Raises Refused: a page that names an encoding and is not in it is never guessed as another.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name, f"begins with the mark of {name}")
    if encoding is not None:
        return _guessed(data, encoding)
    label = declared_label(data, xml=xml)
    if label is None:
        return _guessed(data, "utf-8" if xml and data.lstrip()[:5] == b"<?xml" and _is_utf8(data) else None)
    codec = codec_of(label)
    if codec is None:
        if _is_utf8(data):
            return clean(data.decode()), "utf-8"
        raise Refused("unreadable", f"names the unknown encoding {label[:40]!r}; give --encoding NAME")
    return _strictly(data, codec, f"says that it is {label[:40]}")


def declared_label(data: bytes, *, xml: bool) -> str | None:
    """The encoding that a page names: in its ``meta``, or in the declaration of XML, which comes first in XML.

    A page that says UTF-16 or UTF-7 and could be read so far is neither, and is meant as UTF-8.
    """
    if data.startswith(b"<\x00?\x00x\x00"):
        return "utf-16le"
    if data.startswith(b"\x00<\x00?\x00x"):
        return "utf-16be"
    written = xml_label(data)
    label = (written or _meta_label(data)) if xml else (_meta_label(data) or written)
    codec = None if label is None else codec_of(label)
    return "utf-8" if codec is not None and codec.startswith(("utf-16", "utf-32", "utf-7")) else label


def xml_label(data: bytes) -> str | None:
    """The encoding that the declaration of XML names, at the beginning of the bytes.

    >>> xml_label(b'<?xml version="1.0" encoding="iso-8859-1"?><a/>'), xml_label(b"<a/>")
    ('iso-8859-1', None)
    """
    declaration = _XML.match(data[:1024])
    return None if declaration is None else declaration[1].decode("ascii")


def _meta_label(data: bytes) -> str | None:
    """The encoding that the first ``meta`` names which a parser meets: not one in a comment, a script or an attribute."""
    from selectolax.lexbor import LexborHTMLParser

    head = data[:SCANNED]
    if b"charset" not in head.lower():
        return None
    text = _ENDS_ITSELF.sub(r"<\1\2></\1>", head.decode("latin-1"))
    for node in LexborHTMLParser(text).css("meta"):
        label = label_of({name: value or "" for name, value in node.attributes.items()})
        if label is not None:
            return label
    return None


def label_of(attributes: dict[str, str]) -> str | None:
    """The encoding that the attributes of a ``meta`` name.

    >>> label_of({"charset": " utf-8 "}), label_of({"http-equiv": "Content-Type", "content": "text/html; charset=gbk"})
    ('utf-8', 'gbk')
    """
    if (charset := attributes.get("charset", "").strip()) != "":
        return charset
    if attributes.get("http-equiv", "").strip().lower() != "content-type":
        return None
    match = _CHARSET.search(attributes.get("content", ""))
    label = "" if match is None else (match[1] or match[2] or match[3] or "").strip()
    return label or None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guessed(data: bytes, encoding: str | None) -> tuple[str, str]:
    try:
        text, name = decoded(data, encoding)
    except ValueError as error:
        raise Refused("unreadable", str(error)) from error
    return clean(text), name


def _strictly(data: bytes, codec: str, why: str) -> tuple[str, str]:
    try:
        return clean(decode_named(data, codec).removeprefix("\ufeff")), codec
    except UnicodeDecodeError as error:
        raise Refused(
            "unreadable",
            f"{why}, but byte 0x{data[error.start]:02x} at {error.start + 1:,} is not; "
            "say --encoding NAME, or save it as UTF-8",
        ) from error
