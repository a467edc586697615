# ruff: noqa: E501  lines of XML
"""Powers, formulas and struck text of Word and PowerPoint are no digits of what stands before them."""

import pytest

from tests.made_documents import word_package
from tests.made_office import pptx
from worker.documents.formats.docx import read_docx
from worker.documents.formats.pptx import read_pptx


def run(text: str, properties: str = "") -> str:
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t xml:space='preserve'>{text}</w:t></w:r>"


def shown(*runs: str) -> str:
    content = read_docx(word_package(f"<w:p>{''.join(runs)}</w:p>", {}), None)
    return str(content["text"]).strip()


HIGH, LOW = '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ((run("10"), run("6", HIGH)), "10^6"),
        ((run("10"), run("1", HIGH), run("2", HIGH), run(" m")), "10^12 m"),
        ((run("10"), run("6", '<w:position w:val="6"/>')), "10^6"),
        ((run("1"), run("st", HIGH), run(" of "), run("H"), run("2", LOW), run("O")), "1st of H2O"),
        ((run("$10", "<w:strike/>"), run(" $8", '<w:strike w:val="0"/>')), "~~$10~~ $8"),
        ((run("no", '<w:position w:val="1"/>'), run("thing", '<w:vertAlign w:val="baseline"/>')), "nothing"),
    ],
)
def test_a_run_of_word_that_is_set_high_or_low_says_so(runs: tuple[str, ...], text: str) -> None:
    assert shown(*runs) == text


def part(tag: str, text: str) -> str:
    return f"<m:{tag}><m:r><m:t>{text}</m:t></m:r></m:{tag}>"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (f"<m:rad><m:deg/>{part('e', 'x+1')}</m:rad>", "√(x+1)"),
        (f"<m:rad>{part('deg', '3')}{part('e', '8')}</m:rad>", "root(3, 8)"),
        (f"<m:sSubSup>{part('e', 'x')}{part('sub', '1')}{part('sup', '2')}</m:sSubSup>", "x_1^2"),
        (
            f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr>{part('sub', 'i=1')}{part('sup', 'n')}{part('e', 'i')}</m:nary>",
            "∑_(i=1)^n i",
        ),
        (
            f"<m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=']'/><m:sepChr m:val=','/></m:dPr>{part('e', '1')}{part('e', '2')}</m:d>",
            "[1,2]",
        ),
        (
            f"<m:m><m:mr>{part('e', '1')}{part('e', '0')}</m:mr><m:mr>{part('e', '2')}{part('e', '3')}</m:mr></m:m>",
            "[1, 0; 2, 3]",
        ),
    ],
)
def test_a_formula_of_word_keeps_its_shape(inner: str, text: str) -> None:
    assert shown(f"<m:oMath>{inner}</m:oMath>") == text


def test_cells_behind_a_merged_one_stay_in_their_columns() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p>{run(text)}</w:p></w:tc>"

    wide, last = cell("wide", '<w:gridSpan w:val="2"/>'), cell("c")
    rows = f"<w:tr>{wide}{last}</w:tr><w:tr>{cell('1')}{cell('2')}{cell('3')}</w:tr><w:tr>{last}{wide}</w:tr>"
    text = read_docx(word_package(f"<w:tbl>{rows}</w:tbl>", {}), None)["text"]
    assert text.splitlines() == ["wide |  | c", "1 | 2 | 3", "c | wide"]


def test_a_run_of_a_slide_that_is_set_high_says_so() -> None:
    runs = "".join(
        f"<a:r><a:rPr {about}/><a:t>{text}</a:t></a:r>"
        for text, about in (("6", 'baseline="30000"'), (" old", 'strike="sngStrike"'))
    )
    slide = pptx(("Title", "10</a:t></a:r>" + runs + "<a:r><a:t>"))
    assert "10^6 ~~old~~" in read_pptx(slide)["text"]
