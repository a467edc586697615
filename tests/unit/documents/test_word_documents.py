# ruff: noqa: E501  lines of XML
"""What Word shows of a document with all changes accepted, one shape of XML a test."""

import pytest

from tests.made_documents import word_package
from worker.documents.formats.docx import read_docx
from worker.documents.formats.limits import Refused


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{f"<w:rPr>{properties}</w:rPr>" if properties else ""}<w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(inner: str, properties: str = "") -> str:
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{inner}</w:p>"


def text_of(body: str, **parts: str) -> str:
    return str(read_docx(word_package(body, parts), None)["text"])


BEGIN, SEPARATE, END = (
    f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end")
)
BOX = f"<w:txbxContent>{paragraph(run('in the box'))}</w:txbxContent>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (paragraph(run("old ") + f"<w:ins>{run('inserted')}</w:ins>"), "old inserted\n"),
        (paragraph(f"<w:del>{run('gone').replace('w:t', 'w:delText')}</w:del>" + run("kept")), "kept\n"),
        (paragraph(f"<w:moveFrom>{run('here')}</w:moveFrom>" + f"<w:moveTo>{run('there')}</w:moveTo>"), "there\n"),
        (paragraph(f"<w:sdt><w:sdtPr/><w:sdtContent>{run('control')}</w:sdtContent></w:sdt>"), "control\n"),
        (f"<w:sdt><w:sdtContent>{paragraph(run('block'))}</w:sdtContent></w:sdt>", "block\n"),
        (f"<w:customXml>{paragraph(run('wrapped'))}</w:customXml>", "wrapped\n"),
        (paragraph(f"<w:smartTag>{run('tag')}</w:smartTag><w:hyperlink>{run(' link')}</w:hyperlink>"), "tag link\n"),
        (paragraph(f"<w:fldSimple w:instr='DATE'>{run('1 May')}</w:fldSimple>"), "1 May\n"),
        (paragraph(f"{BEGIN}<w:r><w:instrText>PAGE</w:instrText></w:r>{SEPARATE}{run('7')}{END}{run(' of 9')}"), "7 of 9\n"),
        (paragraph(f"{BEGIN}{BEGIN}{run('no')}{SEPARATE}{run('no')}{END}{SEPARATE}{run('yes')}{END}"), "yes\n"),
        (paragraph(f"{BEGIN}{run('a field that never ends hides nothing')}"), "a field that never ends hides nothing\n"),
        (paragraph(run("before") + f"<w:r><w:pict><v:shape><v:textbox>{BOX}</v:textbox></v:shape></w:pict></w:r>"), "before\n\nin the box\n"),
        (
            paragraph(f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'>{BOX}</mc:Choice><mc:Fallback><w:pict>{BOX}"
                      "</w:pict></mc:Fallback></mc:AlternateContent></w:r>"),
            "in the box\n",
        ),
        (
            paragraph(f"<w:r><mc:AlternateContent><mc:Choice Requires='unheard'>{BOX}</mc:Choice>"
                      f"<mc:Fallback>{run('fallback')}</mc:Fallback></mc:AlternateContent></w:r>"),
            "fallback\n",
        ),
        (paragraph("<w:r><w:pict><v:shape><v:textpath string='WordArt'/></v:shape></w:pict></w:r>" + run("!")), "WordArt!\n"),
        (paragraph(run("secret", "<w:vanish/>") + run("shown", '<w:vanish w:val="0"/>')), "shown\n"),
        (paragraph("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:softHyphen/><w:t>d</w:t></w:r>"), "a\tb\nc\u2011d\n"),
        (paragraph("<w:r><w:sym w:font='Wingdings' w:char='F0FE'/><w:sym w:font='Symbol' w:char='F061'/></w:r>"), "☑α\n"),
        (paragraph("<w:r><w:ruby><w:rt><w:r><w:t>かん</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢</w:t></w:r></w:rubyBase></w:ruby></w:r>"), "漢(かん)\n"),
        (paragraph("<m:oMath><m:r><m:t>x=1</m:t></m:r></m:oMath>"), "x=1\n"),
        (paragraph("<m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>"), "1/2\n"),
        (paragraph("<m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>"), "(a+b)/2\n"),
        (paragraph("<m:oMath><m:sSup><m:e><m:r><m:t>10</m:t></m:r></m:e><m:sup><m:r><m:t>6</m:t></m:r></m:sup></m:sSup><m:sSub><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sub><m:r><m:t>1</m:t></m:r></m:sub></m:sSub></m:oMath>"), "10^6x_1\n"),
        (paragraph(run("joined "), "<w:rPr><w:del/></w:rPr>") + paragraph(run("here")), "joined here\n"),
        (paragraph(f"<w:del>{run('x')}</w:del>", "<w:rPr><w:del/></w:rPr>") + paragraph(run("here")), "here\n"),
        (paragraph(run("Head"), "<w:outlineLvl w:val='1'/>"), "## Head\n"),
        (paragraph(f"<w:r><w:fldChar w:fldCharType='begin'><w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData></w:fldChar></w:r>{END}{run(' agreed')}"), "[x] agreed\n"),
        (paragraph("<w:r><w:fldChar w:fldCharType='begin'><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='A'/>"
                   f"<w:listEntry w:val='B'/></w:ddList></w:ffData></w:fldChar></w:r>{END}"), "B\n"),
    ],
)  # fmt: skip
def test_text_is_read_as_word_shows_it(body: str, text: str) -> None:
    assert text_of(body) == text


def cell(inner: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{inner}</w:tc>"


def row(*cells: str, properties: str = "") -> str:
    return f"<w:tr><w:trPr>{properties}</w:trPr>{''.join(cells)}</w:tr>"


def test_a_table_has_merged_cells_once_nested_tables_and_no_deleted_rows() -> None:
    nested = f"<w:tbl>{row(cell(paragraph(run('nested'))))}</w:tbl>"
    control = f"<w:sdt><w:sdtContent>{row(cell(paragraph(run('row in a control'))))}</w:sdtContent></w:sdt>"
    table = "".join(
        [
            row(cell(paragraph(run("wide")), "<w:gridSpan w:val='2'/>")),
            row(cell(paragraph(run("tall")), "<w:vMerge w:val='restart'/>"), cell(paragraph(run("1")))),
            row(cell(paragraph(run("")), "<w:vMerge/>"), cell(nested + "<w:p/>")),
            row(cell(paragraph(run("gone"))), properties="<w:del/>"),
            row(
                f"<w:sdt><w:sdtContent>{cell(paragraph(run('c')))}</w:sdtContent></w:sdt>",
                cell(paragraph(run("d"))),
            ),
            control,
        ]
    )

    assert text_of(f"<w:tbl>{table}</w:tbl>") == "wide\ntall | 1\n| nested\nc | d\nrow in a control\n"


def test_notes_stand_behind_the_text_and_comments_do_not() -> None:
    body = paragraph(
        run("text") + "<w:r><w:footnoteReference w:id='2'/></w:r><w:r><w:endnoteReference w:id='3'/></w:r>"
        "<w:r><w:commentReference w:id='1'/></w:r>"
    )
    notes = f"<w:footnote w:id='2'>{paragraph(run('the note'))}</w:footnote>"
    ends = f"<w:endnote w:id='3'>{paragraph(run('the end'))}</w:endnote>"

    text = text_of(
        body,
        footnotes=f"<w:footnotes>{notes}</w:footnotes>",
        endnotes=f"<w:endnotes>{ends}</w:endnotes>",
        comments=f"<w:comments><w:comment w:id='1'>{paragraph(run('a comment'))}</w:comment></w:comments>",
    )

    assert text == "text[^1][^e1]\n\n[^1]: the note\n\n[^e1]: the end\n"


def test_headers_and_footers_that_pages_show_are_read_once() -> None:
    first = "<w:headerReference w:type='first' r:id='header1'/>"
    body = paragraph(run("body"), f"<w:sectPr>{first}<w:headerReference r:id='header2'/></w:sectPr>") + (
        "<w:sectPr><w:headerReference r:id='header2'/><w:footerReference r:id='footer1'/></w:sectPr>"
    )

    text = text_of(
        body,
        header1=f"<w:hdr>{paragraph(run('not shown: no title page'))}</w:hdr>",
        header2=f"<w:hdr>{paragraph(run('top'))}</w:hdr>",
        footer1=f"<w:ftr>{paragraph(run('bottom'))}</w:ftr>",
    )

    assert text == "top\n\nbody\n\nbottom\n"


def numbered(text: str, list_id: int, level: int = 0) -> str:
    return paragraph(run(text), f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{list_id}'/></w:numPr>")


def test_lists_have_their_numbers_and_bullets() -> None:
    levels = (
        "<w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>"
        "<w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='%1.%2)'/></w:lvl>"
    )
    bullets = "<w:lvl w:ilvl='0'><w:numFmt w:val='bullet'/><w:lvlText w:val='o'/></w:lvl>"
    numbering = (
        f"<w:numbering><w:abstractNum w:abstractNumId='0'>{levels}</w:abstractNum>"
        f"<w:abstractNum w:abstractNumId='1'>{bullets}</w:abstractNum>"
        "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>"
        "<w:num w:numId='3'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='5'/>"
        "</w:lvlOverride></w:num></w:numbering>"
    )
    body = "".join([
        numbered("a", 1), numbered("b", 1, 1), numbered("c", 1, 1), numbered("d", 1), numbered("e", 1, 1),
        numbered("f", 2), numbered("g", 3),
    ])  # fmt: skip

    lines = [line for line in text_of(body, numbering=numbering).split("\n") if line]

    assert lines == ["1. a", "  1.a) b", "  1.b) c", "2. d", "  2.a) e", "- f", "5. g"]


def test_hidden_text_of_a_style_is_left_out_and_a_heading_is_one_in_any_language() -> None:
    styles = (
        "<w:styles><w:style w:type='paragraph' w:styleId='Ueb1'><w:name w:val='heading 1'/></w:style>"
        "<w:style w:type='paragraph' w:styleId='Eigene'><w:basedOn w:val='Ueb1'/><w:name w:val='Eigene'/></w:style>"
        "<w:style w:type='character' w:styleId='Hid'><w:rPr><w:vanish/></w:rPr></w:style></w:styles>"
    )
    body = paragraph(run("Kopf") + run("weg", "<w:rStyle w:val='Hid'/>"), "<w:pStyle w:val='Eigene'/>")

    assert text_of(body, styles=styles) == "# Kopf\n"


def test_embedded_pages_are_read_and_what_no_reader_knows_is_named() -> None:
    package = word_package(
        "<w:altChunk r:id='page.html'/><w:altChunk r:id='part.rtf'/>" + paragraph(run("end")),
        {},
        {"page.html": b"<p>from HTML</p>", "part.rtf": b"{\\rtf1 x}"},
    )

    content = read_docx(package, None)

    assert content["text"] == "from HTML\n\nend\n"
    assert content["metadata"]["parts_not_read"] == ["word/part.rtf"]


def test_the_strict_variant_is_read_alike() -> None:
    package = word_package(paragraph(f"<w:ins>{run('strict')}</w:ins>"), {}, strict=True)

    assert read_docx(package, None)["text"] == "strict\n"


def test_entities_are_refused() -> None:
    package = word_package(paragraph(run("&a;")), {}, doctype='<!DOCTYPE x [<!ENTITY a "aaaa">]>')

    with pytest.raises(Refused) as refused:
        read_docx(package, None)

    assert refused.value.code == "unreadable"
