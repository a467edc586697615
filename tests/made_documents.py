"""Small documents of every kind, made on the spot."""

import io
import zipfile
from collections.abc import Mapping, Sequence


def pdf_of(pages: Sequence[str], *, title: str = "") -> bytes:
    """A PDF with these pages, a line of text a line; an empty page has no text at all."""
    drawn = []
    for text in pages:
        lines = [_literal(line) for line in text.splitlines()]
        shown = "BT /F1 12 Tf 14 TL 72 760 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        drawn.append(shown.encode("latin-1") if lines else b"")
    return _pdf(drawn, title)


def pdf_drawn(texts: Sequence[tuple[float, float, str, float]]) -> bytes:
    """A PDF of one page with texts that are drawn apart: where, what and how large."""
    drawn = " ".join(f"BT /F1 {size} Tf {x} {y} Td ({_literal(text)}) Tj ET" for x, y, text, size in texts)
    return _pdf([drawn.encode("latin-1")], "")


def _literal(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _pdf(pages: Sequence[bytes], title: str) -> bytes:
    """A PDF of pages that are drawn so."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for stream in pages:
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        page = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects)} 0 R >>"
        )
        objects.append(page.encode())
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    objects.append(f"<< /Title ({title}) >>".encode())
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    out.write(trailer.encode())
    return out.getvalue()


def encrypted(pdf: bytes) -> bytes:
    """The same PDF, which opens with a password only."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def docx_of(title: str, paragraphs: Sequence[str]) -> bytes:
    """A DOCX with a heading, paragraphs and a table of two cells."""
    import docx

    document = docx.Document()
    document.core_properties.title = title
    document.add_heading(title, 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "left", "right"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_package(
    body: str,
    parts: Mapping[str, str],
    files: Mapping[str, bytes] | None = None,
    *,
    strict: bool = False,
    doctype: str = "",
) -> bytes:
    """A DOCX of raw XML: its body, further parts (``footnotes``, ``header1`` …) and embedded files, each its own relation."""
    transitional = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    if strict:
        transitional = "http://purl.oclc.org/ooxml/wordprocessingml/main"
        relations = "http://purl.oclc.org/ooxml/officeDocument/relationships"
    spaces = (
        f'xmlns:w="{transitional}" xmlns:r="{relations}" xmlns:v="urn:schemas-microsoft-com:vml"'
        ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
        ' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
        ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    )

    def related(targets: Mapping[str, str]) -> str:
        lines = [f'<Relationship Id="{name}" Type="{relations}/{kind}" Target="{name if "." in name else name + ".xml"}"/>'
                 for name, kind in targets.items()]  # fmt: skip
        space = "http://schemas.openxmlformats.org/package/2006/relationships"
        return f'<Relationships xmlns="{space}">{"".join(lines)}</Relationships>'

    kinds = {name: name.rstrip("0123456789") for name in parts} | dict.fromkeys(files or {}, "aFChunk")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("_rels/.rels", related({"word/document": "officeDocument"}))
        archive.writestr("word/_rels/document.xml.rels", related(kinds))
        document = f"{doctype}<w:document {spaces}><w:body>{body}</w:body></w:document>"
        archive.writestr("word/document.xml", document)
        for name, xml in parts.items():
            root, _, rest = xml.partition(">")
            archive.writestr(f"word/{name}.xml", f"{root} {spaces}>{rest}")
        for name, data in (files or {}).items():
            archive.writestr(f"word/{name}", data)
    return out.getvalue()


def pdf_with(text: str, annotations: Sequence[str], *, form: bool = True) -> bytes:
    """A PDF of one page with this text and these annotations; objects 5 and 6 are drawings that they may show."""
    drawn = f"BT /F1 12 Tf 72 715 Td ({text}) Tj ET".encode() if text else b""
    sign = b"q 0 0 12 12 re f Q"
    fields = " ".join(f"{at} 0 R" for at in range(8, 8 + len(annotations)))
    acro = (
        f"/AcroForm << /Fields [{fields}] /DR << /Font << /F1 3 0 R >> >> /DA (/F1 12 Tf 0 g) >>"
        if form
        else ""
    )
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {acro} >>".encode(),
        b"<< /Type /Pages /Kids [7 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        *[
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 12 12] /Length %d >>\nstream\n%s\nendstream"
            % (len(sign), sign)
        ]
        * 2,
        (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> /Annots [{fields}] >>"
        ).encode(),
        *(f"<< /Type /Annot {annotation} /P 7 0 R >>".encode() for annotation in annotations),
    ]
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.7\n")
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()
