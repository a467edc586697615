# ruff: noqa: E501  lines of XML
"""Make the corpus of planted facts: documents and rows by other programs, each with words that must be read, or must not be.

    .venv/bin/uv pip install reportlab openpyxl; apt-get install libreoffice-writer-nogui libreoffice-calc-nogui pandoc
    .venv/bin/python -m tests.corpus.make

The words are written to ``planted.json`` before any reader runs: ``shown`` are on the page, ``hidden`` are in the file and not on the
page (deleted, hidden, instructions). ``exports/`` holds LibreOffice's own text of the documents that it opens.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCUMENTS, ROWS, EXPORTS = HERE / "documents", HERE / "rows", HERE / "exports"


class Plant:
    """The words of one file."""

    def __init__(self, name: str, program: str) -> None:
        self.name, self.program = name, program
        self.shown: list[str] = []
        self.hidden: list[str] = []

    def show(self, what: str = "") -> str:
        return self._word("ZQ", self.shown, what)

    def hide(self, what: str = "") -> str:
        return self._word("HX", self.hidden, what)

    def _word(self, prefix: str, words: list[str], what: str) -> str:
        digest = hashlib.sha256(f"{self.name} {prefix} {len(words)} {what}".encode()).hexdigest()
        words.append(prefix + digest[:8].upper())
        return words[-1]


PLANTS: list[Plant] = []


def plant(name: str, program: str) -> Plant:
    PLANTS.append(Plant(name, program))
    return PLANTS[-1]


# Word documents, by python-docx and XML that Word writes


def _xml(fragment: str) -> Any:
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    spaces = nsdecls("w", "r") + ' xmlns:v="urn:schemas-microsoft-com:vml"'
    spaces += ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    spaces += ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    head, _, rest = fragment.partition(">")
    slash = "/" if head.endswith("/") else ""
    return parse_xml(f"{head.rstrip('/')} {spaces}{slash}>{rest}")


def _run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text} </w:t></w:r>'


def _deleted(text: str) -> str:
    return (
        f'<w:del w:id="9" w:author="A"><w:r><w:delText xml:space="preserve">{text} </w:delText></w:r></w:del>'
    )


def _inserted(inner: str) -> str:
    return f'<w:ins w:id="8" w:author="A">{inner}</w:ins>'


def _field(instruction: str, shown: str) -> str:
    marks = [f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end")]
    return f"{marks[0]}<w:r><w:instrText>{instruction}</w:instrText></w:r>{marks[1]}{_run(shown)}{marks[2]}"


def _box(text: str) -> str:
    inner = f"<w:txbxContent><w:p>{_run(text)}</w:p></w:txbxContent>"
    fallback = f"<w:pict><v:shape><v:textbox>{inner}</v:textbox></v:shape></w:pict>"
    return f"<w:r>{fallback}</w:r>"


WORD_SHAPES: dict[str, Callable[[Plant], str]] = {
    "inserted": lambda p: _deleted(p.hide()) + _inserted(_run(p.show())) + _run(p.show()),
    "moved": lambda p: (
        f'<w:moveFrom w:id="1" w:author="A">{_run(p.hide())}</w:moveFrom>'
        f'<w:moveTo w:id="2" w:author="A">{_run(p.show())}</w:moveTo>'
    ),
    "control": lambda p: (
        f"<w:sdt><w:sdtPr><w:alias w:val='{p.hide()}'/></w:sdtPr><w:sdtContent>{_run(p.show())}</w:sdtContent></w:sdt>"
    ),
    "field": lambda p: _field(f"DOCPROPERTY {p.hide()}", p.show()) + _run(p.show()),
    "simple": lambda p: f"<w:fldSimple w:instr='MERGEFIELD {p.hide()}'>{_run(p.show())}</w:fldSimple>",
    "box": lambda p: _run(p.show()) + _box(p.show()),
    "hidden": lambda p: _run(p.hide(), "<w:vanish/>") + _run(p.show()),
    "smart": lambda p: f"<w:smartTag w:uri='u' w:element='e'>{_run(p.show())}</w:smartTag>",
    "link": lambda p: f"<w:hyperlink w:anchor='{p.hide()}'>{_run(p.show())}</w:hyperlink>",
    "mixed": lambda p: _inserted(
        f"<w:sdt><w:sdtContent>{_run(p.show())}</w:sdtContent></w:sdt>" + _field("X", p.show())
    ),
}


def word_documents() -> Iterator[None]:
    import docx

    for shape, inner in WORD_SHAPES.items():
        for place in ("text", "cell"):
            planted = plant(f"word-{shape}-{place}.docx", "python-docx")
            document = docx.Document()
            document.add_heading(planted.show("heading"), 1)
            document.add_paragraph(planted.show("body"), style="List Number")
            document.sections[0].header.paragraphs[0].text = planted.show("header")
            document.sections[0].footer.paragraphs[0].text = planted.show("footer")
            document.core_properties.comments = planted.hide("comment")
            fragment = _xml(f"<w:p>{inner(planted)}</w:p>")
            if place == "text":
                document.add_paragraph("before")._p.addnext(fragment)
            else:
                table = document.add_table(2, 3)
                table.cell(0, 0).merge(table.cell(0, 2)).text = planted.show("merged")
                table.cell(1, 0).text = planted.show("cell")
                table.cell(1, 1)._tc.append(fragment)
                nested = table.cell(1, 2).add_table(1, 1)
                nested.cell(0, 0).text = planted.show("nested")
            document.save(str(DOCUMENTS / planted.name))
            yield


# LibreOffice: a flat text document as its source, saved as .docx, .pdf, .html and .txt

FLAT = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"
 xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:dc="http://purl.org/dc/elements/1.1/" office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.text">
<office:automatic-styles>
<style:style style:name="Hid" style:family="text"><style:text-properties text:display="none"/></style:style>
<style:page-layout style:name="pm"><style:header-style/><style:footer-style/></style:page-layout>
</office:automatic-styles>
<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="pm">
<style:header><text:p>{header}</text:p></style:header><style:footer><text:p>{footer}</text:p></style:footer>
</style:master-page></office:master-styles>
<office:body><office:text>
<text:h text:outline-level="1">Report {heading}</text:h>
<text:p>Plain {body} and <text:span text:style-name="Hid">{hidden}</text:span> umlauts äöü €.</text:p>
<text:p>Note<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>{note}</text:p></text:note-body></text:note>
 and <text:a xlink:href="https://example.org/">{link}</text:a>.</text:p>
<text:list><text:list-item><text:p>{item}</text:p></text:list-item><text:list-item><text:p>second</text:p></text:list-item></text:list>
<table:table><table:table-column table:number-columns-repeated="2"/>
<table:table-row><table:table-cell><text:p>{cell}</text:p></table:table-cell><table:table-cell><text:p>{cell2}</text:p></table:table-cell></table:table-row></table:table>
<text:p>A box <draw:frame text:anchor-type="as-char" svg:width="6cm" svg:height="2cm"><draw:text-box><text:p>{box}</text:p></draw:text-box></draw:frame></text:p>
</office:text></office:body></office:document>
"""
TARGETS = (
    "docx:MS Word 2007 XML",
    "pdf:writer_pdf_Export",
    "html:HTML (StarWriter)",
    "txt:Text (encoded):UTF8",
)


HIDES = {
    "hidden": (
        "docx",
        "pdf",
        "html",
    ),  # a plain text has no hidden characters: they are written like all others
    "header": ("txt",),
    "footer": ("txt",),
    "note": ("txt",),  # LibreOffice leaves notes out of a plain text,
    "box": ("txt", "html"),  # and text boxes out of both
}
"""What the files of an ending do not show, by reading LibreOffice's files and not ours."""


def office(target: str, sources: list[Path], folder: Path, *options: str) -> None:
    """Convert with LibreOffice, its profile apart."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["soffice", f"-env:UserInstallation=file://{profile}", "--headless", *options]
        command += ["--convert-to", target, "--outdir", str(folder), *map(str, sources)]
        subprocess.run(command, check=True, capture_output=True, timeout=540)


def office_documents() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            ending = target.partition(":")[0]
            sources = []
            for number in range(5):
                planted = plant(f"office-{number}.{ending}", "LibreOffice")
                words = {
                    name: (planted.hide if ending in HIDES.get(name, ()) else planted.show)(name)
                    for name in (
                        "heading",
                        "body",
                        "note",
                        "link",
                        "item",
                        "cell",
                        "cell2",
                        "box",
                        "header",
                        "footer",
                        "hidden",
                    )
                }
                source = Path(folder) / f"office-{number}.fodt"
                source.write_text(FLAT.format(**words), encoding="utf-8")
                sources.append(source)
            office(target, sources, DOCUMENTS)
            yield


# Pandoc

MARKDOWN = """# Title {heading}

Plain *emphasis* {body}, a [link {link}](https://example.org/{address}) and a note.[^1]

[^1]: {note}

1. first
2. {item}
    - nested {nested}

Term {term}
:   Definition {definition}

| a | b |
|---|---|
| {cell} | `code {code}` |

> Quote {quote}

```
block {block}
```
"""
PANDOC = ("docx", "html", "rst", "xhtml")


def pandoc_documents() -> Iterator[None]:
    names = (
        "heading",
        "body",
        "link",
        "note",
        "item",
        "nested",
        "term",
        "definition",
        "cell",
        "code",
        "quote",
        "block",
    )
    for ending in PANDOC:
        for number in range(5):
            planted = plant(f"pandoc-{number}.{ending}", "Pandoc")
            words = {name: planted.show(name) for name in names}
            words["address"] = planted.show("address") if ending == "rst" else planted.hide("address")
            writer = {"xhtml": "html4", "html": "html5"}.get(ending, ending)
            subprocess.run(
                ["pandoc", "-f", "markdown", "-t", writer, "-s", "--metadata", "title=x", "-o", str(DOCUMENTS / planted.name)],
                input=MARKDOWN.format(**words).encode(), check=True, timeout=120,
            )  # fmt: skip
            yield


# ReportLab


def pdf_documents() -> Iterator[None]:
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen import canvas

    for number in range(12):
        planted = plant(f"report-{number:02}.pdf", "ReportLab")
        page = canvas.Canvas(str(DOCUMENTS / planted.name), pagesize=A4, invariant=1)
        page.drawString(72, 780, f"First page {planted.show('first')}")
        if number % 2:
            form = page.acroForm
            page.drawString(72, 700, "Applicant:")
            form.textfield(name="a", value=planted.show("text"), x=200, y=690, width=200, height=20)
            form.textfield(name="h", value=planted.hide("hidden"), x=200, y=600, annotationFlags="hidden")
            form.choice(
                name="c",
                value=planted.show("choice"),
                options=[planted.shown[-1], "other"],
                x=200,
                y=500,
                width=200,
            )
            page.drawString(230, 455, "Agreed")
            form.checkbox(name="k", checked=True, x=200, y=450)
        if number % 3 == 0:
            table = [[planted.show(f"{line}{column}") for column in range(3)] for line in range(4)]
            for line, cells in enumerate(table):
                for column, word in enumerate(cells):
                    page.drawString(72 + 150 * column, 400 - 20 * line, word)
        if number % 4 == 0:
            page.freeTextAnnotation(planted.show("free"), DA="/Helv 12 Tf 0 g", Rect=[72, 200, 400, 240])
        page.showPage()
        page.drawString(72, 780, f"Second page {planted.show('second')}")
        page.save()
        yield


# E-mail, by Python's email package


def mails() -> Iterator[None]:
    for number, charset in enumerate(
        ("utf-8", "iso-8859-1", "windows-1252", "utf-8", "iso-2022-jp", "koi8-r", "gb2312", "utf-8")
    ):
        planted = plant(f"mail-{number}.eml", "Python's email")
        message = EmailMessage()
        message["From"] = f"Jürgen {planted.show('from')} <a@example.org>"
        message["To"] = "b@example.org"
        message["Subject"] = f"Straße {planted.show('subject')}"
        extra = {
            "iso-2022-jp": "日本",
            "koi8-r": "Привет",
            "gb2312": "中文",
            "utf-8": "ü €",
            "windows-1252": "€",
        }.get(charset, "ü")
        message.set_content(
            f"Text {extra} {planted.show('body')}\n", charset=charset, cte="base64" if number % 2 else None
        )
        if number % 2:
            message.add_alternative(
                f"<p>HTML {planted.hide('html')}</p><p style='display:none'>x</p>", subtype="html"
            )
        if number % 3 == 0:
            message.add_attachment(f"Attached {planted.show('attached')}\n", filename="nöte.txt")
        (DOCUMENTS / planted.name).write_bytes(message.as_bytes())
        yield


# Rows: workbooks of openpyxl, saved as CSV by LibreOffice; Parquet by Arrow

SHEETS = {
    "comma.csv": "44,34,76,1",
    "semicolon.csv": "59,34,76,1",
    "quoted.csv": "44,34,76,1,,0,true",
    "tabs.tsv": "9,34,76,1",
}


def rows() -> Iterator[None]:
    import openpyxl

    with tempfile.TemporaryDirectory() as folder:
        for name, options in SHEETS.items():
            planted = plant(name, "openpyxl and LibreOffice")
            book = openpyxl.Workbook()
            sheet = book.active
            assert sheet is not None
            sheet.append(["id", "text", "note"])
            for number in range(50):
                note = ['say "hi", twice', "two\nlines", "plain", "a; b", " spaces "][number % 5]
                if name == "tabs.tsv":
                    note = note.replace("\n", " ").replace('"', "'")
                sheet.append([f"r{number}", planted.show("text"), f"{note} {planted.show('note')}"])
            source = Path(folder) / f"{Path(name).stem}.xlsx"
            book.save(source)
            office(f"csv:Text - txt - csv (StarCalc):{options}", [source], Path(folder))
            shutil.move(source.with_suffix(".csv"), ROWS / name)
            yield
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    for name in ("arrow.parquet", "arrow.csv"):
        planted = plant(name, "Arrow")
        table = pa.table(
            {
                "id": [f"r{at}" for at in range(50)],
                "text": [f"Größe {planted.show('text')}" for _ in range(50)],
                "n": list(range(50)),
            }
        )
        if name.endswith(".csv"):
            pyarrow.csv.write_csv(table, ROWS / name)
        else:
            pq.write_table(table, ROWS / name)
        yield


def export() -> None:
    """LibreOffice's own text of the Word documents and pages."""
    for ending in ("docx", "html"):
        files = sorted(DOCUMENTS.glob(f"*.{ending}"))
        with tempfile.TemporaryDirectory() as folder:
            infilter = ("--infilter=HTML (StarWriter)",) if ending == "html" else ()
            office("txt:Text (encoded):UTF8", files, Path(folder), *infilter)
            for file in Path(folder).iterdir():
                shutil.move(file, EXPORTS / f"{file.stem}.{ending}.txt")


def main() -> None:
    """Make all files anew."""
    for folder in (DOCUMENTS, ROWS, EXPORTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for part in (word_documents, pandoc_documents, pdf_documents, mails, rows, office_documents):
        for _ in part():
            pass
        print(part.__name__, len(PLANTS), flush=True)
    plain = [
        {"file": one.name, "program": one.program, "shown": one.shown, "hidden": one.hidden} for one in PLANTS
    ]
    (HERE / "planted.json").write_text(json.dumps(plain, indent=1) + "\n")
    export()


if __name__ == "__main__":
    main()
