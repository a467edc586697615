"""Headings and columns of a PDF, by the size and the place of its letters."""

import io
from collections.abc import Sequence

import pytest

from tests.made_documents import pdf_of
from worker.documents.formats.pdf import read_pdf
from worker.documents.split import split

Placed = tuple[float, float, float, str]
"""Size, left, bottom, words."""


def drawn(*pages: Sequence[Placed]) -> bytes:
    """A PDF of pages with words at their places, drawn in this order."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import NameObject, StreamObject

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_of(["x"] * len(pages)))))
    for page, words in zip(writer.pages, pages, strict=True):
        stream = StreamObject()
        stream.set_data(
            "\n".join(
                f"BT /F1 1 Tf {size} 0 0 {size} {left} {bottom} Tm ({text}) Tj ET"
                for size, left, bottom, text in words
            ).encode("latin-1")
        )
        page[NameObject("/Contents")] = writer._add_object(stream)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def prose(column: str, count: int) -> list[str]:
    """Lines that fill a column of 230 points, each naming its column and number."""
    return [f"{column} {n} goes on with words that fill the line" for n in range(count)]


def two_columns(left: list[str], right: list[str], *, top: float = 700, edge: float = 310) -> list[Placed]:
    """Lines of both columns in turn, as some programs draw them."""
    placed: list[Placed] = []
    for n, (one, other) in enumerate(zip(left, right, strict=True)):
        placed += [(11, 60, top - 14 * n, one), (11, edge, top - 14 * n, other)]
    return placed


def test_lines_in_larger_letters_are_headings_by_their_size() -> None:
    text = [f"A sentence of the text, number {n}, which is of no size of its own." for n in range(12)]
    page: list[Placed] = [
        (24, 60, 780, "Annual report"),
        (16, 60, 740, "The year in"),
        (16, 60, 722, "numbers"),
    ]
    page += [(11, 60, 700 - 14 * n, line) for n, line in enumerate(text)]

    found = read_pdf(drawn(page, [(16, 60, 780, "Outlook"), (11, 60, 760, "It rises.")]), None)

    assert found["pages"][0].startswith(
        "# Annual report\n\n## The year in numbers\n\nA sentence of the text, number 0"
    )
    assert found["pages"][1] == "## Outlook\n\nIt rises."
    assert split(found["text"], 100)[-1].headings == ("Annual report", "The year in numbers")


@pytest.mark.parametrize(
    "page",
    [
        [(11.0, 60.0, 700.0 - 14 * n, f"Line {n} of a plain page.") for n in range(12)],
        [
            (30.0, 60.0, 700.0, "A poster shouts"),
            (28.0, 60.0, 600.0, "all of"),
            (11.0, 60.0, 500.0, "its words"),
        ],
        [
            (14.0, 60.0, 700.0, "1"),
            *((11.0, 60.0, 600.0 - 14 * n, f"Line {n} of the page.") for n in range(9)),
        ],
    ],
    ids=["one size", "poster", "a number"],
)
def test_a_page_whose_sizes_tell_no_headings_is_left_as_it_is(page: list[Placed]) -> None:
    assert "#" not in read_pdf(drawn(page), None)["text"]


def test_two_columns_that_were_drawn_line_by_line_are_read_one_after_the_other() -> None:
    page: list[Placed] = [
        (11, 60, 740, "A line over both columns, which stands above them and says what they are about.")
    ]
    page += two_columns(prose("alpha", 8), prose("beta", 8))
    page += [
        (11, 60, 570, "A line over both columns, which parts them from those below it, as a heading does.")
    ]
    page += two_columns(prose("gamma", 8), prose("delta", 8), top=550)

    text = read_pdf(drawn(page), None)["text"]

    words = [line.split()[0] for line in text.splitlines()]
    assert words == ["A", *["alpha"] * 8, *["beta"] * 8, "A", *["gamma"] * 8, *["delta"] * 8]
    assert [line.split()[1] for line in text.splitlines()[1:9]] == list("01234567")


def test_no_word_of_woven_columns_is_lost_or_doubled() -> None:
    page = two_columns(prose("alpha", 20), prose("beta", 20))

    text = read_pdf(drawn(page), None)["text"]

    assert sorted(text.split()) == sorted(" ".join(words for *_, words in page).split())


@pytest.mark.parametrize(
    "page",
    [
        two_columns([f"item {n}" for n in range(12)], [f"{n} EUR" for n in range(12)]),
        two_columns([f"item {n}" for n in range(12)], prose("a note", 12)),
        [*((11, 60, 700 - 14 * n, one) for n, one in enumerate(prose("alpha", 12))),
         *((11, 310, 700 - 14 * n, one) for n, one in enumerate(prose("beta", 12)))],
        [(11, 60, 700 - 14 * n, one * 2) for n, one in enumerate(prose("alpha", 30))],
    ],
    ids=["table", "table with notes", "column after column", "one column"],
)  # fmt: skip
def test_a_table_and_columns_in_their_order_are_read_as_they_were_drawn(page: list[Placed]) -> None:
    lines = [line for line in read_pdf(drawn(page), None)["text"].splitlines() if line]
    first = page[0][3]

    assert lines[0].startswith(first)
    assert (page[1][3] in lines[0]) == (page[1][2] == page[0][2])


def test_what_runs_over_all_pages_is_read_once_and_the_numbers_of_pages_are_not() -> None:
    pages: list[list[Placed]] = [
        [
            (9, 60, 800, f"ACME annual report | {n}"),
            (11, 60, 760, f"What happened in part {n}."),
            (11, 60, 740, f"And more of {n}."),
            (9, 300, 30, f"Page {n} of 4"),
        ]
        for n in range(1, 5)
    ]

    found = read_pdf(drawn(*pages), None)["pages"]

    assert found[0] == "ACME annual report | 1\nWhat happened in part 1.\nAnd more of 1."
    assert found[1:] == [f"What happened in part {n}.\nAnd more of {n}." for n in (2, 3, 4)]
