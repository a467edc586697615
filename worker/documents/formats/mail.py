"""E-mail: its headers, its best body, and its attachments, which are documents of their own."""

import base64
import codecs
import re
from email import policy
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from typing import Any

from worker.documents.encodings import decoded
from worker.documents.formats.charsets import codec_of, decode_named
from worker.documents.formats.limits import Content, Refused, clean, content, distinct

MOST_ATTACHMENTS = 500
MOST_PARTS = 5_000
DEEPEST = 20
"""Parts within parts of one message."""
_WORD = re.compile(r"\w+")
_SOME_WORDS = 12
_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_PROTOCOL = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature",
                       "message/delivery-status", "text/rfc822-headers", "message/disposition-notification",
                       "application/pgp-encrypted"})  # fmt: skip
"""Parts for programs: no reader of mail shows them as attachments."""
_ENCRYPTED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted"})
_ENDINGS = {"text/plain": ".txt", "text/html": ".html", "text/calendar": ".ics", "text/csv": ".csv", "text/markdown": ".md",
            "application/pdf": ".pdf", "message/rfc822": ".eml", "image/png": ".png", "image/jpeg": ".jpg",
            "application/json": ".json", "text/xml": ".xml", "application/xml": ".xml", "text/x-vcard": ".vcf",
            "text/vcard": ".vcf"}  # fmt: skip


class _RawHeaders(policy.Compat32):
    """Headers as they are written: of bytes beyond ASCII the standard library makes U+FFFD."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


def read_mail(data: bytes, encoding: str | None) -> Content:
    """Headers and body as text; ``attachments`` has name and base64 of each. Raises Refused."""
    message = BytesParser(policy=_RawHeaders()).parsebytes(data.lstrip(b"\xef\xbb\xbf\r\n"))
    if not any(name in message for name in ("From", "To", "Subject", "Date", "Received", "MIME-Version")):
        raise Refused("unreadable", "not an e-mail: it has no headers; save the message as .eml")
    parts = _Parts(encoding)
    parts.take(message, 0)
    metadata: dict[str, Any] = {}
    lines = []
    for name in _HEADERS:
        value = _header(message, name)
        if value:
            lines.append(f"{name}: {value}")
            metadata[name.lower()] = value[:2000]
    if message_id := _header(message, "Message-ID"):
        metadata["message_id"] = message_id[:500]
    try:
        if date := message.get("Date"):
            metadata["date"] = parsedate_to_datetime(str(date)).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        pass  # an odd date stays as it is written
    names = distinct([name for name, _ in parts.attachments])
    if names:
        metadata["attachments"] = names[:200]
    if parts.pictures:
        metadata["pictures_in_text"] = parts.pictures[:200]
    text = "\n".join(lines)
    body = parts.body.strip("\n")
    if not body.strip() and not metadata.get("subject") and not names:
        raise Refused("no_text", "holds neither a subject nor a text")
    mail = content(f"{text}\n\n{body}\n" if text else f"{body}\n", metadata=metadata, encoding=parts.charset)
    mail["attachments"] = [
        [name, base64.b64encode(data).decode()]
        for name, (_, data) in zip(names, parts.attachments, strict=True)
    ]
    return mail


class _Parts:
    """The parts of a message: what is shown as its text, and what is attached."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self._texts: list[str] = []
        self._count = 0
        self.charset: str | None = None
        self.attachments: list[tuple[str, bytes]] = []
        self.pictures: list[str] = []

    @property
    def body(self) -> str:
        return "\n\n".join(text.strip("\n") for text in self._texts if text.strip())

    def take(self, part: Message, depth: int, *, related: bool = False) -> None:
        """Sort a part, and those within it, in their order. Raises Refused for one that is encrypted, or too many of them."""
        self._count += 1
        if depth > DEEPEST or self._count > MOST_PARTS:
            raise Refused("too_large", f"more than {MOST_PARTS:,} parts, or parts nested too deeply")
        kind = part.get_content_type()
        if kind in _ENCRYPTED and part.get_param("smime-type") != "signed-data":
            raise Refused("encrypted", "it is encrypted for its receiver; save it decrypted")
        if kind == "multipart/alternative" and part.is_multipart():
            self._alternative(part, depth)
        elif kind == "message/rfc822" or (kind == "message/global" and part.is_multipart()):
            inner = _inner(part)
            self._attach(part, _bytes(part) if inner is None else inner.as_bytes())
        elif part.is_multipart():
            for inner_part in part.get_payload():
                if isinstance(inner_part, Message):
                    self.take(inner_part, depth + 1, related=kind == "multipart/related")
        elif kind in _PROTOCOL:
            pass
        elif _is_shown(kind) and not _is_attached(part):
            self._texts.append(self._text(part))
        elif kind.startswith("image/") and (_is_inline(part) or (related and part.get("Content-ID"))):
            self.pictures.append(_name(part, len(self.pictures) + 1))
        else:
            self._attach(part, _bytes(part))

    def _alternative(self, part: Message, depth: int) -> None:
        """One of the alternatives: plain text where it says what the page says, else the last that can be read."""
        inner = [inner_part for inner_part in part.get_payload() if isinstance(inner_part, Message)]
        plain = [
            inner_part
            for inner_part in inner
            if inner_part.get_content_type() == "text/plain" and not _is_attached(inner_part)
        ]
        chosen = next((inner_part for inner_part in plain if self._text(inner_part).strip()), None)
        if chosen is not None and self._stands_in(self._text(chosen), part):
            chosen = None
        if chosen is not None:
            self._texts.append(self._text(chosen))
        for inner_part in reversed(inner):
            if chosen is not None and (inner_part in plain or inner_part.get_content_type() == "text/html"):
                continue
            if inner_part.get_content_type() == "text/calendar" and not _is_attached(inner_part):
                if chosen is None and not any(text.strip() for text in self._texts):
                    self._texts.append(self._text(inner_part))
                continue
            if inner_part.get_content_type().startswith("multipart/") and chosen is not None:
                self._attachments_of(inner_part, depth + 1)
                continue
            before = len(self._texts)
            self.take(inner_part, depth + 1)
            if any(text.strip() for text in self._texts[before:]):
                chosen = inner_part

    def _stands_in(self, plain: str, part: Message) -> bool:
        """Whether a plain text only stands in for the page that mail programs show: "Your program shows no HTML"."""
        page = next(
            (
                inner_part
                for inner_part in part.walk()
                if inner_part.get_content_type() == "text/html" and not _is_attached(inner_part)
            ),
            None,
        )
        words = set() if page is None else set(_WORD.findall(self._text(page).lower()))
        return len(words) >= _SOME_WORDS and 2 * len(words & set(_WORD.findall(plain.lower()))) < len(words)

    def _attachments_of(self, part: Message, depth: int) -> None:
        """What is attached within an alternative that is not shown."""
        texts, self._texts = self._texts, []
        self.take(part, depth)
        self._texts = texts

    def _attach(self, part: Message, data: bytes) -> None:
        if len(self.attachments) >= MOST_ATTACHMENTS:
            raise Refused("too_large", f"more than {MOST_ATTACHMENTS} attachments")
        self.attachments.append((_name(part, len(self.attachments) + 1), data))

    def _text(self, part: Message) -> str:
        data = _bytes(part)
        label = part.get_content_charset()
        if part.get_content_type() == "text/html":
            from worker.documents.formats.html import page_content, read_html

            codec = None if label is None else codec_of(label)
            if codec is None or not data:
                return str(read_html(data, self._encoding)["text"]) if data else ""
            return str(page_content(_lenient(data, codec), codec)["text"])
        text, name = self._plain(data, label)
        self.charset = self.charset or name
        if part.get_content_type() == "text/plain" and part.get_param("format") == "flowed":
            text = _unflowed(text, delete=part.get_param("delsp") == "yes")
        return text

    def _plain(self, data: bytes, label: str | None) -> tuple[str, str]:
        codec = None if label is None else codec_of(label)
        if (
            codec is not None
            and self._encoding is None
            and not (codec in ("ascii", "cp1252") and _is_utf8(data))
        ):
            return clean(_lenient(data, codec)).removeprefix("\ufeff"), codec
        try:
            text, name = decoded(data, self._encoding)
        except ValueError as error:
            if label is None or codec is None:
                # without a label mail is ASCII; what is not that was mostly written on Windows
                return clean(_lenient(data, "cp1252")), "cp1252"
            raise Refused("unreadable", str(error)) from error
        return clean(text), name


def _lenient(data: bytes, codec: str) -> str:
    """As mail programs show it: a byte that does not fit is U+FFFD, and a mark says the order of bytes better than a label."""
    if codec.startswith("utf-16") and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        codec = "utf-16"
    try:
        return decode_named(data, codec)
    except UnicodeDecodeError:
        return data.decode(codec, "replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bytes(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _inner(part: Message) -> Message | None:
    """The message that a part holds."""
    payload = part.get_payload()
    return payload[0] if isinstance(payload, list) and payload and isinstance(payload[0], Message) else None


def _is_shown(kind: str) -> bool:
    """Whether a part of this kind is text of the message: also a kind of text that nobody knows (RFC 2046, 4.1.4), and parts that
    no boundary divides."""
    if kind in ("text/plain", "text/html"):
        return True
    return kind.startswith("multipart/") or (kind.startswith("text/") and kind not in _ENDINGS)


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or (part.get_filename() is not None)


def _is_inline(part: Message) -> bool:
    return part.get_content_disposition() != "attachment" and (
        part.get("Content-ID") is not None or part.get_content_disposition() == "inline"
    )


def _name(part: Message, number: int) -> str:
    """The name of an attachment, without folders; one without a name gets a number."""
    written = part.get_filename()
    name = clean(_words(written)) if isinstance(written, str) else ""
    name = re.split(r"[/\\]", name)[-1].strip().strip(".")
    kind = part.get_content_type()
    if not name:
        if kind == "message/rfc822":
            inner = _inner(part)
            subject = "" if inner is None else _header(inner, "Subject")
            name = re.sub(r"[/\\\x00-\x1f]+", " ", subject)[:80].strip(" .")
        name = name or f"attachment-{number}"
    ending = _ENDINGS.get(kind, "")
    if ending and (kind == "message/rfc822" or "." not in name) and not name.lower().endswith(ending):
        name += ending
    return name[:150] if len(name) <= 150 else name[:100] + name[-50:]


def _header(message: Message, name: str) -> str:
    """A header in one line, its encoded words decoded."""
    values = message.get_all(name) or []
    return ", ".join(" ".join(clean(_words(str(value))).split()) for value in values)


def _words(written: str) -> str:
    """Text with encoded words (``=?utf-8?q?…?=``), whatever their charsets; raw bytes as UTF-8 or Windows wrote them."""
    if re.search(r"[\udc80-\udcff]", written):
        data = written.encode("utf-8", "surrogateescape")
        written = data.decode() if _is_utf8(data) else decode_named(data, "cp1252")
    if "=?" not in written:
        return written
    try:
        pieces = decode_header(written)
    except (ValueError, LookupError, TypeError):
        return written
    text = ""
    for piece, label in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        codec = codec_of(label or "ascii") or "cp1252"
        text += _lenient(piece, codec)
    return text


def _unflowed(text: str, *, delete: bool) -> str:
    """Text of format=flowed: a line that ends in a space goes on (RFC 3676)."""
    lines: list[str] = []
    goes_on = False
    for line in text.split("\n"):
        line = line.removeprefix(" ")
        flows = line.endswith(" ") and line != "-- "
        line_text = line[:-1] if flows and delete else line
        if goes_on and lines and not line.startswith(">"):
            lines[-1] += line_text
        else:
            lines.append(line_text)
        goes_on = flows and not line.startswith(">")
    return "\n".join(lines)
