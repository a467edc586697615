"""Tables that say what the code says."""

import pytest

from tests.repo.docs.pages import read, table
from tests.repo.docs.tables import REWRITE, TABLES


@pytest.mark.parametrize(("page", "name"), TABLES, ids=lambda part: str(part))
def test_a_table_of_the_documents_says_what_the_code_says(page: str, name: str) -> None:
    made = TABLES[page, name]()

    assert table(page, name) == made, f"docs/{page} is out of date; {REWRITE}"


@pytest.mark.parametrize("page", sorted({page for page, _ in TABLES}))
def test_a_page_with_a_table_says_more_than_the_table(page: str) -> None:
    lines = [line for line in read(page).splitlines() if line and not line.startswith(("|", "<!--", "#"))]

    assert len(lines) > 5
