"""Which encoding does a page name? The rules of browsers (WHATWG: HTML, and the Encoding Standard).

A byte order mark wins, then ``--encoding``, then the first ``meta`` that is no comment, then the XML declaration. Labels mean
what they mean in browsers: ``iso-8859-1`` and ``ascii`` are windows-1252, ``shift_jis`` is code page 932, ``euc-kr`` is 949.
"""

import codecs
import re

from worker.documents.encodings import decoded
from worker.documents.formats.limits import Refused, clean

PRESCAN = 1024
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
_SPACE = b"\t\n\f\r "
_XML = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']\s*([!-~]{1,40}?)\s*[\"']")
_CHARSET = re.compile(r"charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s;\"']+))", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*([^\t\n\f\r />=][^\t\n\f\r />=]*)"
    rb"(?:[\t\n\f\r ]*=[\t\n\f\r ]*(?:\"([^\"]*)\"|'([^']*)'|([^\t\n\f\r >]*)))?"
)


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


def decode_page(
    data: bytes, encoding: str | None, *, xml: bool = False, parsed: str | None = None
) -> tuple[str, str]:
    """The page's text, and Python's name of its encoding. ``parsed``: the label of the first ``meta`` that a parser meets, which
    wins over the prescan, as in browsers.

    Raises Refused: a page that names an encoding and is not in it is never guessed as another.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name, f"begins with the mark of {name}")
    if encoding is not None:
        return _guessed(data, encoding)
    label = parsed or declared_label(data, xml=xml)
    if label is None:
        return _guessed(data, "utf-8" if xml and data.lstrip()[:5] == b"<?xml" and _is_utf8(data) else None)
    codec = codec_of(label)
    if codec is None:
        if _is_utf8(data):
            return clean(data.decode()), "utf-8"
        raise Refused(
            "unreadable", f"names its encoding {label[:40]!r}, which nobody knows; say --encoding NAME"
        )
    return _strictly(data, codec, f"says that it is {label[:40]}")


def declared_label(data: bytes, *, xml: bool = False) -> str | None:
    """The encoding that the first 1,024 bytes name; in XML its declaration first. UTF-16 is meant as UTF-8, since it was read."""
    head = data[:PRESCAN]
    if head.startswith(b"<\x00?\x00x\x00"):
        return "utf-16le"
    if head.startswith(b"\x00<\x00?\x00x"):
        return "utf-16be"
    declaration = _XML.match(head)
    written = None if declaration is None else declaration[1].decode("ascii")
    label = (written or meta_label(head)) if xml else (meta_label(head) or written)
    return _readable(label)


def _readable(label: str | None) -> str | None:
    if label is None:
        return None
    codec = codec_of(label)
    return "utf-8" if codec is not None and codec.startswith(("utf-16", "utf-32")) else label


def meta_label(head: bytes) -> str | None:
    """The encoding that a ``meta`` names: the prescan of the HTML standard, which passes comments over."""
    at = 0
    while at < len(head):
        if head.startswith(b"<!--", at):
            end = head.find(b"-->", at + 2)
            if end < 0:
                return None
            at = end + 3
            continue
        if re.match(rb"<meta[\t\n\f\r /]", head[at : at + 6], re.IGNORECASE):
            label, at = _meta(head, at + 5)
            if label is not None:
                return label
        elif re.match(rb"</?[A-Za-z]", head[at : at + 3]):
            at += 2
            while at < len(head) and head[at] not in _SPACE + b">":
                at += 1
            at = _attributes(head, at)[1]
        elif head[at : at + 2] in (b"<!", b"</", b"<?"):
            end = head.find(b">", at)
            if end < 0:
                return None
            at = end + 1
            continue
        at += 1
    return None


def _attributes(head: bytes, at: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag by their lower-case names, and where the tag ends."""
    values: dict[str, str] = {}
    while match := _ATTRIBUTE.match(head, at):
        name = match[1].decode("latin-1").lower()
        values.setdefault(name, (match[2] or match[3] or match[4] or b"").decode("latin-1"))
        at = match.end()
    while at < len(head) and head[at] in _SPACE + b"/":
        at += 1
    return values, at


def _meta(head: bytes, at: int) -> tuple[str | None, int]:
    values, at = _attributes(head, at)
    label = label_of(values)
    if label is not None and (codec_of(label) or "").startswith(("utf-16", "utf-32")):
        label = "utf-8"
    return label, at


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
