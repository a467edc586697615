"""Small office documents, e-books and Outlook messages, written by hand."""

import io
import struct
import zipfile

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml"


def packed(**files: str | bytes) -> bytes:
    """An archive of these files, in their order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def _relations(**targets: tuple[str, str]) -> str:
    lines = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for name, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{lines}</Relationships>'


def pptx(*slides: tuple[str, str]) -> bytes:
    """A presentation with these slides: a title and a text each."""
    names = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{}" xmlns:p="{}"'.format(
            _OFFICE, "http://schemas.openxmlformats.org/presentationml/2006/main"
        )
    )
    kinds = "".join(
        f'<Override PartName="/ppt/slides/slide{n}.xml" ContentType="{_SLIDES}.slide+xml"/>'
        for n in range(1, len(slides) + 1)
    )
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/ppt/presentation.xml" ContentType="{_SLIDES}.presentation.main+xml"/>{kinds}</Types>',
        "_rels/.rels": _relations(r1=("officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>"
        + "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
        + "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": _relations(
            **{f"r{n}": ("slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)}
        ),
    }
    for n, (title, text) in enumerate(slides, start=1):
        shapes = "".join(
            f'<p:sp><p:nvSpPr><p:cNvPr id="{at}" name="{kind}"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
            f"<p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{words}</a:t></a:r></a:p></p:txBody></p:sp>"
            for at, (kind, words) in enumerate((("title", title), ("body", text)), start=2)
        )
        parts[f"ppt/slides/slide{n}.xml"] = (
            f'<p:sld {names}><p:cSld><p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr>'
            f"<p:grpSpPr/>{shapes}</p:spTree></p:cSld></p:sld>"
        )
    return packed(**parts)


def open_document(kind: str, body: str) -> bytes:
    """An OpenDocument file: ``kind`` is ``text``, ``spreadsheet`` or ``presentation``."""
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table", "presentation")
    )
    return packed(
        **{
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f'<office:document-content {names} xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0">'
            f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>",
            "META-INF/manifest.xml": '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" '
            'manifest:version="1.2"><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="application/vnd.oasis.opendocument.{kind}"/></manifest:manifest>',
        }
    )


def epub(title: str, *chapters: str) -> bytes:
    """An e-book with these chapters of XHTML, read in this order."""
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return packed(
        **{
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
            '<rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{
                f"c{n}.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>c</title></head><body>{one}</body></html>'
                for n, one in enumerate(chapters)
            },
        }
    )


def outlook(subject: str, sender: str, body: str) -> bytes:
    """An Outlook message of plain text, as a compound file of version 3."""
    texts = {0x001A: "IPM.Note", 0x0037: subject, 0x0C1A: sender, 0x1000: body}
    streams = {f"__substg1.0_{tag:04X}001F": text.encode("utf-16-le") for tag, text in texts.items()}
    entries = [
        struct.pack("<IIII", tag << 16 | 0x001F, 6, 2 * len(text) + 2, 0) for tag, text in texts.items()
    ]
    streams["__properties_version1.0"] = bytes(32) + b"".join(entries)
    return _compound(streams)


_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def _compound(streams: dict[str, bytes]) -> bytes:
    """A compound file ([MS-CFB]) whose root holds these streams, all of them short."""
    mini = bytearray()
    table: list[int] = []
    places: dict[str, int] = {}
    for name, data in streams.items():
        sectors = -(-len(data) // 64)
        places[name] = len(table)
        table += [len(table) + n + 1 for n in range(sectors - 1)] + [_END]
        mini += data.ljust(64 * sectors, b"\0")
    names = sorted(streams, key=lambda name: (len(name), name.upper()))
    entries = [_entry("Root Entry", 5, 1, 3, len(mini))]
    for at, name in enumerate(
        names, start=1
    ):  # a list, which is a tree as well: each has the next at its right
        following = at + 1 if at < len(names) else _FREE
        entries.append(_entry(name, 2, _FREE, places[name], len(streams[name]), right=following))
    directory = b"".join(entries)
    directory += _entry("", 0, _FREE, 0, 0) * (-len(entries) % 4)
    tables = struct.pack(f"<{len(table)}I", *table)
    parts = [directory, tables, bytes(mini)]
    sizes = [-(-len(part) // 512) for part in parts]
    fat, starts = [_FAT], []
    for size in sizes:
        starts.append(len(fat))
        fat += [len(fat) + n + 1 for n in range(size - 1)] + [_END]
    fat += [_FREE] * (128 - len(fat))
    entries[0] = _entry("Root Entry", 5, 1, starts[2], len(mini))
    parts[0] = b"".join(entries) + directory[128 * len(entries) :]
    filled = [
        part.ljust(512 * size, b"\xff" if part is tables else b"\0")
        for part, size in zip(parts, sizes, strict=True)
    ]
    head = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(6)
    )
    head += struct.pack("<IIIIIIIII", 0, 1, starts[0], 0, 4096, starts[1], sizes[1], _END, 0)
    head += struct.pack("<109I", 0, *[_FREE] * 108)
    return head + struct.pack("<128I", *fat) + b"".join(filled)


def _entry(name: str, kind: int, child: int, start: int, size: int, *, right: int = _FREE) -> bytes:
    encoded = name.encode("utf-16-le")
    head = encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded) + 2 if name else 0, kind, 1)
    return head + struct.pack("<III", _FREE, right, child) + bytes(36) + struct.pack("<IQ", start, size)
