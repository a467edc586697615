"""Words of a PDF that were drawn apart, such as the cells of a table, stay apart, and each row on its line."""

import pytest

from tests.made_documents import pdf_drawn
from worker.documents.formats.reading import read_bytes

Drawn = tuple[float, float, str, float]


def shown(*texts: tuple[float, float, str] | Drawn) -> str:
    drawn = [(x, y, text, size[0] if size else 11.0) for x, y, text, *size in texts]
    return str(read_bytes(pdf_drawn(drawn), "a.pdf")["text"])


@pytest.mark.parametrize(
    "rows",
    [
        [("Item", "Price", "Left"), ("Apple", "5", "12"), ("Pear", "x", "1")],
        [("A", "n/a", "500"), ("A", "x", "500"), ("12", "5", "1"), ("A", "1", "500")],
        [("Total amount", "1", "5"), ("12", "5", "1,000.00"), ("1000", "1", "500")],
    ],
)
def test_cells_of_a_table_are_words_of_their_own(rows: list[tuple[str, ...]]) -> None:
    drawn = [
        (122.0 + 120 * column, 780.0 - 16 * line, text)
        for line, row in enumerate(rows)
        for column, text in enumerate(row)
    ]
    assert shown(*drawn).splitlines() == [" ".join(row) for row in rows]


def test_a_power_is_no_digit_of_its_base() -> None:
    assert shown((72, 700, "10"), (84.3, 704, "6", 7), (90, 700, "units")) == "10^6 units"


def test_a_number_set_low_in_a_formula_of_chemistry_needs_no_sign() -> None:
    assert shown((72, 700, "H"), (80.0, 697, "2", 7), (84, 700, "O")) == "H2O"


def test_a_number_in_smaller_letters_beside_a_word_is_a_word() -> None:
    assert shown((72, 700, "Price"), (160, 700, "5", 7)) == "Price 5"
