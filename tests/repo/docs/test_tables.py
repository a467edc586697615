"""Tables that say what the code says."""

from tests.repo.docs.pages import place, table
from tests.repo.docs.tables import REWRITE, TABLES


def test_every_generated_table_is_what_the_code_makes_of_it() -> None:
    tables = {name: table(name) for name in TABLES}

    stale = [f"{place(page)}: {name}" for name, (page, text) in tables.items() if text != TABLES[name]()]

    assert not stale, f"out of date: {stale}; {REWRITE}"
