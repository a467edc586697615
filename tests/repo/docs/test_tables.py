"""Reference pages and tables that say what the code says."""

import sys

import jsonschema

from api_schemas.publish import schemas
from tests.repo.docs.pages import DOCS, place, table
from tests.repo.docs.tables import FILES, REWRITE, TABLES


def test_every_generated_table_is_what_the_code_makes_of_it() -> None:
    tables = {name: table(name) for name in TABLES}

    stale = [f"{place(page)}: {name}" for name, (page, text) in tables.items() if text != TABLES[name]()]

    assert not stale, f"out of date: {stale}; {REWRITE}"


def test_every_generated_page_is_what_the_code_makes_of_it() -> None:
    names = [name for name in FILES if "python_api" not in name or sys.version_info[:2] == (3, 11)]

    stale = [name for name in names if (DOCS / name).read_text(encoding="utf-8") != FILES[name]()]

    assert names
    assert not stale, (
        f"out of date: {stale}; {REWRITE}"
    )  # signatures are printed differently by other Pythons


def test_the_published_schemas_are_schemas() -> None:
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)
