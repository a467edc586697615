"""Which reader is for a file, by its ending and by its first bytes; and what to do with formats that no reader knows."""

import io
import re
import zipfile
from collections.abc import Mapping

from worker.documents.formats.limits import Refused

TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
XHTML = "application/xhtml+xml"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MAIL = "message/rfc822"
ZIP = "application/zip"
_SHEETS = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_DECK = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
OFFICE: Mapping[str, str] = {
    ".rtf": "application/rtf",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    **dict.fromkeys((".xlsx", ".xlsm"), _SHEETS),
    ".xls": "application/vnd.ms-excel",
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), _DECK),
    ".epub": "application/epub+zip",
    ".msg": "application/vnd.ms-outlook",
}
"""Endings of office documents. kreuzberg reads some, calamine workbooks, of the extra ``documents``; presentations and e-books
have readers here."""
WORKBOOKS = frozenset({_SHEETS, OFFICE[".ods"], OFFICE[".xls"]})

KINDS: Mapping[str, str] = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": XHTML,
    ".xht": XHTML,
    ".pdf": PDF,
    ".docx": DOCX,
    ".docm": DOCX,
    ".dotx": DOCX,
    ".dotm": DOCX,
    ".eml": MAIL,
    ".zip": ZIP,
    **OFFICE,
}
"""Endings of documents; a file with any other is read as text, unless it is listed below or its bytes are not text."""

_SHEET = "save the sheet as CSV (UTF-8)"
_SLIDES = "save it as PDF"
_WORDS = "save it as .docx, .pdf or .txt"
_UNPACK = "unpack it"
_PICTURE = "--scans images shows PNG, JPEG and WebP pictures to a vision model"
_MEDIA = "only documents are read"
UNREAD: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys((".doc", ".dot"), ("the older Word format", "save it as .docx")),
    **dict.fromkeys((".ott", ".fodt", ".sxw"), ("OpenDocument text", "save it as .docx or .pdf")),
    **dict.fromkeys((".ots", ".fods", ".sxc"), ("an OpenDocument spreadsheet", _SHEET)),
    **dict.fromkeys((".otp", ".fodp", ".sxi"), ("an OpenDocument presentation", _SLIDES)),
    **dict.fromkeys((".odg", ".odf", ".odb"), ("an OpenDocument file", "save it as PDF")),
    **dict.fromkeys((".xltx", ".xlsb", ".xlt"), ("an Excel workbook", _SHEET)),
    **dict.fromkeys((".potx", ".ppt", ".pps"), ("a PowerPoint presentation", _SLIDES)),
    **dict.fromkeys((".pages", ".wpd", ".wps", ".hwp", ".hwpx", ".abw", ".pub", ".vsd", ".vsdx", ".one", ".xps", ".oxps"),
                    ("a format of another office program", _WORDS)),
    **dict.fromkeys((".numbers",), ("a Numbers spreadsheet", _SHEET)),
    **dict.fromkeys((".key",), ("a Keynote presentation", _SLIDES)),
    **dict.fromkeys((".mobi", ".azw", ".azw3", ".fb2", ".djvu", ".chm"), ("an e-book", "save it as PDF or .txt")),
    **dict.fromkeys((".oft",), ("an Outlook template", "save it as .eml")),
    **dict.fromkeys((".pst", ".ost", ".mbox", ".dbx"), ("a mailbox", "save each message as .eml")),
    **dict.fromkeys((".mht", ".mhtml"), ("a web archive", "save the page as .html")),
    **dict.fromkeys((".ps", ".eps"), ("PostScript", "save it as PDF")),
    **dict.fromkeys((".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".jar", ".cab", ".iso"),
                    ("an archive, or packed", _UNPACK)),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp"), ("a picture", _PICTURE)),
    **dict.fromkeys((".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ico", ".psd"),
                    ("a picture", "save it as PNG; " + _PICTURE)),
    **dict.fromkeys((".mp3", ".wav", ".m4a", ".ogg", ".flac", ".mp4", ".mov", ".avi", ".mkv", ".webm"),
                    ("sound or film", _MEDIA)),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db", ".mdb", ".accdb"), ("a database", "save its rows as CSV or JSON Lines")),
    **dict.fromkeys((".exe", ".dll", ".so", ".bin", ".class", ".pyc", ".woff", ".ttf", ".otf"), ("a program or font", _MEDIA)),
}  # fmt: skip
"""Endings that no reader knows: what they are, and what to do instead."""
_WHAT: Mapping[str, str] = {
    PDF: "a PDF",
    DOCX: "a Word document",
    ZIP: "an archive",
    OFFICE[".rtf"]: "RTF",
    OFFICE[".odt"]: "OpenDocument text",
    OFFICE[".ods"]: "an OpenDocument spreadsheet",
    OFFICE[".odp"]: "an OpenDocument presentation",
    _SHEETS: "an Excel workbook",
    OFFICE[".xls"]: "an Excel workbook of the older format",
    _DECK: "a PowerPoint presentation",
    OFFICE[".epub"]: "an e-book",
    OFFICE[".msg"]: "an Outlook message",
}
_PACKAGES = frozenset(
    {DOCX, _SHEETS, _DECK, *(OFFICE[ending] for ending in (".odt", ".ods", ".odp", ".epub"))}
)
"""Kinds that are archives within."""
_MAYBE_TEXT = frozenset(
    {".doc", ".dot", ".key", ".db", ".bin", ".one", ".pages", ".numbers", ".ps", ".pub", ".class", ".wps"}
)
"""Endings that text files have too: such a file is refused for its bytes, not for its name."""

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"{\\rtf", ".rtf"),
    (b"%!PS", ".eps"),
    (b"SQLite format 3\x00", ".sqlite"),
    (b"\x1f\x8b", ".gz"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ\x00", ".xz"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!\x1a", ".rar"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
    (b"\x89PNG\r\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"!BDN", ".pst"),
    (b"ITSF", ".chm"),
    (b"AT&TFORM", ".djvu"),
    (b"\x7fELF", ".so"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (("WordDocument", ".doc"), ("Workbook", ".xls"), ("Book", ".xls"), ("PowerPoint Document", ".ppt"),
                ("__properties_version1.0", ".msg"), ("EncryptedPackage", "encrypted"))  # fmt: skip
_XML_OFFICE = re.compile(rb"<(?:office:document|w:wordDocument|pkg:package|FictionBook)[\s/>]")


def ending_of(name: str) -> str:
    """The ending of a name, in lower case with its dot; empty where it has none.

    >>> ending_of("a.b/C.PDF"), ending_of("a.b/README"), ending_of(".profile")
    ('.pdf', '', '')
    """
    base = name.rpartition("/")[2].lstrip(".")
    return f".{base.rpartition('.')[2].lower()}" if "." in base else ""


def media_type_of(name: str) -> str:
    """
    >>> media_type_of("a/B.PDF"), media_type_of("README")
    ('application/pdf', 'text/plain')
    """
    return KINDS.get(ending_of(name), TEXT)


def check_kind(name: str, data: bytes) -> None:
    """Raises Refused where no reader knows what this is, or where its ending says another thing than its bytes."""
    ending = ending_of(name)
    actual = actual_ending(data)
    if actual == "encrypted":
        raise Refused("encrypted", "it opens with a password only; save it without one")
    expected = KINDS.get(ending, TEXT)
    if actual == ".zip" and expected in _PACKAGES:
        return  # damaged, which its reader says better
    if actual in KINDS:
        if KINDS[actual] != expected:
            what = _WHAT[KINDS[actual]]
            ends = f"though its name ends in {ending}" if ending else "though its name has no ending"
            raise Refused("unknown_format", f"is {what}, {ends}; rename it to end in {actual}")
        return
    named = ending in UNREAD and ending not in _MAYBE_TEXT
    known = actual or (ending if named or (ending in UNREAD and b"\x00" in data[:65536]) else "")
    if known:
        what, remedy = UNREAD[known]
        shown = f"is {what}"
        if actual and UNREAD.get(ending) != UNREAD[actual] and ending:
            shown += f", though its name ends in {ending}"
        raise Refused("unknown_format", f"{shown}, which is not read; {remedy}")


def actual_ending(data: bytes) -> str:
    """The ending that fits the bytes, where they begin as no text does; else empty."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if data.startswith(_OLE):
        names = (name for stream, name in _OLE_STREAMS if stream.encode("utf-16-le") in data)
        return next(names, ".doc")
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_archive(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[257:262] == b"ustar":
        return ".tar"
    if data[4:12] in (b"ftypheic", b"ftypavif"):
        return ".heic"
    office = _XML_OFFICE.search(data[:4096]) if head.startswith(b"<") else None
    if office is not None:
        return ".fodt" if b"office:" in office[0] else ".fb2" if b"Fiction" in office[0] else ".doc"
    return next((name for begin, name in _BEGINNINGS if head.startswith(begin) or data.startswith(begin)), "")


def _of_archive(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            entry = archive.infolist()[0] if names else None
            kind = b""
            if entry is not None and entry.filename == "mimetype" and entry.file_size < 200:
                kind = archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError):
        return ".zip"
    if kind.startswith(b"application/epub"):
        return ".epub"
    for word, ending in ((b"text", ".odt"), (b"spreadsheet", ".ods"), (b"presentation", ".odp")):
        if kind.startswith(b"application/vnd.oasis.opendocument." + word):
            return ending
    folders = {name.partition("/")[0].lower() for name in names}
    if "[content_types].xml" in folders:
        for folder, ending in (("word", ".docx"), ("xl", ".xlsx"), ("ppt", ".pptx"), ("visio", ".vsdx")):
            if folder in folders:
                return ending
    return ".zip"
