"""Running lines of a PDF are read once, and what only looks like one stays."""

import pytest

from worker.documents.formats.pdf_repeats import without_repeats


def pages(footer: str) -> list[str]:
    return [
        f"The text of a page says {word}.\n{footer.format(n=n)}" for n, word in enumerate("abcd", start=1)
    ]


@pytest.mark.parametrize(
    "footer",
    ["Confidential    Page {n} of 4", "Page {n} – ACME", "Seite {n} von 4 Entwurf", "ACME | {n}", "{n}"],
)
def test_a_footer_with_the_number_of_its_page_is_read_once(footer: str) -> None:
    first, *others = without_repeats(pages(footer))

    assert first.startswith("The text of a page says a.")
    assert others == [f"The text of a page says {word}." for word in "bcd"]


@pytest.mark.parametrize("line", ["Question {n}", "Step {n} of 4", "See the page {n} steps ahead"])
def test_a_line_that_counts_something_else_stays(line: str) -> None:
    assert without_repeats(pages(line)) == pages(line)


@pytest.mark.parametrize("numbers", [(1520, 873, 94, 12), (2021, 2022, 2023, 2024), (25, 50, 75, 100)])
def test_a_number_that_does_not_count_the_pages_stays(numbers: tuple[int, ...]) -> None:
    for written in ("{n}\nThe text says {word}.", "The text says {word}.\n{n}"):
        with_totals = [
            written.format(n=n, word=word) for n, word in zip(numbers, ("a", "b", "c", "d"), strict=True)
        ]
        assert without_repeats(with_totals) == with_totals


def test_the_numbers_of_the_pages_of_an_extract_go() -> None:
    assert without_repeats([f"{n}\nPage of {n} words" for n in range(117, 121)]) == [
        f"Page of {n} words" for n in range(117, 121)
    ]
